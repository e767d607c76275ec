"""The fake-quantised forward against whole numbers, and the reference in whole numbers against torch in float64."""

import numpy as np
import pytest
import torch
from compress.small import mixed, small_plummet
from shared import shared_data

import leadline
from leadline.compress import quantize
from leadline.compress.integer import accumulate, codes_of, largest_sum, real, requantise
from leadline.nn.quantize.layers import QuantizedConvTranspose2d, QuantizedLinear
from leadline.surgeries.quantize import quantized_layers

CALIBRATION = "procedural:2,seed=4,size=64x96"


def seen(network, images):
    """Input and output of each quantised layer."""
    found = {}

    def keep(name, x, y):  # copied: what comes after may work in place
        found[name] = x.numpy().copy(), y.numpy().copy()

    for name, layer in quantized_layers(network).items():
        layer.register_forward_hook(lambda _, x, y, name=name: keep(name, x[0], y))
    with torch.no_grad():
        network(*images)
    return found


def agree_in_every_layer(network, images):
    found = seen(network, images)
    layers = quantized_layers(network)
    layers = {name: layer for name, layer in layers.items() if layer.input_quantizer is not None}  # but what is unused
    assert found.keys() == layers.keys()
    for name, layer in layers.items():
        x, y = found[name]
        codes = codes_of(x, layer.input_quantizer)
        assert largest_sum(layer, codes) < 2**24, name  # so float32 cannot have rounded
        total = accumulate(layer, codes)
        assert total.dtype == np.int32
        if layer.output_quantizer is None:
            np.testing.assert_array_equal(real(layer, total), y, err_msg=name)
        else:
            scale, zero_point = float(layer.output_quantizer.scale), int(layer.output_quantizer.zero_point)
            integers = requantise(layer, total).astype(np.int32) - zero_point
            np.testing.assert_array_equal(integers, np.rint(y / np.float32(scale)).astype(np.int32), err_msg=name)


@pytest.mark.parametrize("options", [{}, {"scheme": "symmetric"}, {"outputs": "all"}, {"bits": 4}], ids=str)
@pytest.mark.parametrize("make", [small_plummet, mixed])
def test_fake_quantised_is_integer_to_the_last(make, options):
    images = torch.rand(2, 1, 3, 32, 64, generator=torch.Generator().manual_seed(1)).unbind()
    agree_in_every_layer(quantize(make(), data=CALIBRATION, **options), images)


@pytest.mark.parametrize("bits", [8, 4])
def test_plummet_s_on_a_real_pair(bits):
    sample = leadline.open_data(f"folder:{shared_data('samples')}")[0]
    images = [torch.from_numpy(image[:96, :160]).permute(2, 0, 1)[None] / 255 for image in sample.images]
    network = leadline.load("plummet-s", "cpu").network
    agree_in_every_layer(quantize(network, bits=bits, data="procedural:2,seed=4,size=64x128"), images)


def test_the_reference_against_float64():
    """Sums below 2^53 are exact there, whatever kernel torch takes."""
    network = quantize(mixed(), data=CALIBRATION)
    for layer in quantized_layers(network).values():
        if layer.input_quantizer is None:  # serves no prediction
            continue
        shape = (5, 8) if isinstance(layer, QuantizedLinear) else (2, layer.in_channels, *[6] * (layer.weight.ndim - 2))
        codes = np.random.default_rng(0).integers(-128, 128, shape, np.int8)
        x = torch.from_numpy(codes.astype(np.float64) - int(layer.input_quantizer.zero_point))
        weight = layer.weight_codes().double()
        expected = layer._linear_map(x, weight, None)
        step = float(layer.input_quantizer.scale) * layer.weight_quantizer.scale.flatten().double()
        bias = (layer.bias.double() / step).round()
        expected = expected + (bias if isinstance(layer, QuantizedLinear) else layer.per_output(bias))
        np.testing.assert_array_equal(accumulate(layer, codes), expected.detach().numpy().astype(np.int64))
    assert any(isinstance(layer, QuantizedConvTranspose2d) for layer in quantized_layers(network).values())


def test_only_fixed_scales_have_an_integer_form():
    layer = next(iter(quantized_layers(quantize(small_plummet(), mode="dynamic")).values()))
    with pytest.raises(ValueError, match="fixed input scale"):
        accumulate(layer, np.zeros((1, 3, 4, 4), np.int8))
