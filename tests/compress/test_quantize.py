"""Quantised networks: what each word means, that files keep them, and what is refused."""

import copy
import json
from dataclasses import asdict

import pytest
import torch
from compress.small import mixed, small_plummet
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import leadline
from leadline import UserError
from leadline.checkpoint import load_network
from leadline.compress import quantize, write_scales
from leadline.compress.flow import watch
from leadline.compress.scale_file import fixed_quantizers
from leadline.nn.quantize.layers import Numbers
from leadline.surgeries.quantize import binary_layers, quantized_layers

CALIBRATION = "procedural:2,seed=4,size=64x96"


@pytest.fixture(scope="module")
def plummet():
    return small_plummet()


@pytest.fixture(scope="module")
def pair():
    return torch.rand(2, 1, 3, 64, 96, generator=torch.Generator().manual_seed(8)).unbind()


def predict(network, images):
    with torch.no_grad():
        return network(*images)


def test_the_flow_of_plummet_is_seen(plummet):
    flow = watch(plummet)
    norms = [m for m in plummet.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(flow.folded) == len(norms) == len(flow.order)
    assert flow.first == {"encoder.stem.0"}
    assert {"aggregation.score.0", "upsample_weights.0"} <= flow.last
    assert "aggregation.enter.0" not in flow.last
    assert flow.source["encoder.quarter.0.0"] == "encoder.stem.0"  # through a ReLU
    assert "encoder.fuse.0" not in flow.source  # its input is a sum
    assert flow.same_input["encoder.match_eighth.0"] == "encoder.down_to_quarter.0"


def test_folding_changes_nothing(pair):
    network = small_plummet()
    made = quantize(network, bits={"encoder.stem.0": 8}, weights_only=True, skip=["encoder.stem.0"])
    assert not quantized_layers(made)
    for each in (network, mixed()):
        before = predict(each, pair)
        from leadline.surgeries.quantize import fold_batchnorm

        folded = copy.deepcopy(each)
        for conv, norm in watch(folded).folded:
            fold_batchnorm(folded, conv, norm)
        assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
        torch.testing.assert_close(predict(folded, pair), before, rtol=1e-3, atol=1e-3)


CASES = {
    "static": {},
    "symmetric": {"scheme": "symmetric"},
    "all outputs": {"outputs": "all"},
    "no outputs": {"outputs": "none"},
    "dynamic": {"mode": "dynamic"},
    "weights": {"weights_only": True},
    "weights asymmetric": {"weights_only": True, "scheme": "symmetric", "granularity": "tensor"},
    "w4a8": {"bits": 4},
    "w4a4": {"bits": 4, "activation_bits": 4, "rounding": "nearest"},
    "groups": {"bits": 4, "granularity": 4, "weights_only": True},
    "mixed": {"bits": {"*": 8, "aggregation": 4, "encoder.stem.0": 32, "mix": 4}},
    "1 bit": {"bits": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("make", [small_plummet, mixed])
def test_a_checkpoint_keeps_a_quantised_network_to_the_bit(make, case, pair, tmp_path):
    options = dict(CASES[case])
    network = make()
    if isinstance(options.get("bits"), dict):
        names = " ".join(watch(network).order)
        options["bits"] = {k: v for k, v in options["bits"].items() if k == "*" or k in names}
    made = quantize(network, data=CALIBRATION, **options)
    path = leadline.save(made, tmp_path / "small.safetensors")
    loaded = load_network(path)
    assert torch.equal(predict(made, pair), predict(loaded, pair))
    again = leadline.save(loaded, tmp_path / "again.safetensors")
    assert again.read_bytes() == path.read_bytes()


def test_bytes_on_disk_are_those_of_the_bits(tmp_path):
    network = leadline.create("plummet-s")
    sizes = {}
    for bits in (8, 4, 1):
        made = quantize(network, bits=bits, data=CALIBRATION, rounding="nearest")
        path = leadline.save(made, tmp_path / f"{bits}.safetensors")
        with safe_open(path, "pt") as file:
            sizes[bits] = file.get_tensor("aggregation.at_sixteenth.0.first.0.weight").nbytes
    assert sizes == {8: 82944, 4: 82944 // 2, 1: 82944 // 8}


def test_of_unused_layers_the_weights_alone_get_bits():
    network = mixed()
    used = {"enter.0", "depthwise.0", "deep", "mix", "up", "out"}
    for options, bits in (({}, 8), ({"bits": 4}, 4), ({"bits": 1}, 4), ({"bits": {"*": 8, "mix": 4}}, 8)):
        layer = quantize(network, data=CALIBRATION, **options).unused
        assert layer.numbers.bits == bits
        assert layer.input_quantizer is None
        assert layer.output_quantizer is None
        step = network.unused.weight.abs().amax((1, 2, 3), keepdim=True) / (2 ** (bits - 1) - 1)
        assert ((layer.weight - network.unused.weight).abs() <= 0.51 * step).all()
    some = quantize(network, data=CALIBRATION, bits={"mix": 8})
    assert set(quantized_layers(some)) == {"mix"}
    assert set(quantized_layers(quantize(network, data=CALIBRATION))) == used | {"unused"}


def test_weights_that_are_used_without_their_layer_stay_as_they_are():
    """The volume of MobileStereoNet-2D reads its first convolution's weights itself."""
    network = leadline.create("mobilestereonet-2d")
    heads = {f"classif{head}.{layer}" for head in (0, 1, 2) for layer in ("0.0", "2")}
    assert watch(network).idle == heads
    made = quantize(network, bits=4, rounding="nearest", weights_only=True)
    assert heads < quantized_layers(made).keys()
    assert torch.equal(made.conv3d[0].weight, network.conv3d[0].weight)


def test_a_file_of_before_0_9_is_read(pair, tmp_path):
    """There each layer's scales and bias had tensors of their own, and defaults were written out."""
    made = quantize(small_plummet(), data=CALIBRATION)
    path = leadline.save(made, tmp_path / "new.safetensors")
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    for joined in ("quantizers.channel_scale", "quantizers.bias"):
        del tensors[joined]
    for name, layer in quantized_layers(made).items():
        tensors[f"{name}.bias"] = layer.bias.detach()
        if layer.weight_quantizer.scale.numel() > 1:
            tensors[f"{name}.weight_quantizer.scale"] = layer.weight_quantizer.scale
    about = json.loads(metadata["leadline"])
    for how in about["surgeries"][-1]["layers"].values():
        for part in how.keys() & {"weight", "input", "output"}:
            how[part] = asdict(Numbers(**how[part]))
    save_file(tensors, tmp_path / "old.safetensors", metadata | {"leadline": json.dumps(about)})
    assert torch.equal(predict(load_network(tmp_path / "old.safetensors"), pair), predict(made, pair))


def test_eight_bits_come_near_and_four_less_so(plummet, pair):
    expected = predict(plummet, pair)
    errors = {}
    for name, options in {"8": {}, "dynamic": {"mode": "dynamic"}, "4": {"bits": 4, "activation_bits": 4}}.items():
        errors[name] = (predict(quantize(plummet, data=CALIBRATION, **options), pair) - expected).abs().mean().item()
    assert errors["8"] < 0.2 * expected.std().item()
    assert errors["dynamic"] < 0.2 * expected.std().item()
    assert errors["4"] > 2 * errors["8"]


def test_symmetric_zero_points_are_zero_and_asymmetric_ones_are_not(plummet):
    for scheme in ("symmetric", "asymmetric"):
        layers = quantized_layers(quantize(plummet, scheme=scheme, data=CALIBRATION)).values()
        zeros = [int(layer.input_quantizer.zero_point) for layer in layers]
        assert any(zeros) == (scheme == "asymmetric")
        assert not any(layer.weight_quantizer.zero_point.any() for layer in layers)


def test_compensated_rounding_is_nearer_in_the_layers_output():
    from leadline.compress.calibration import InputStatistics
    from leadline.compress.rounding import compensated_codes
    from leadline.nn.quantize.layers import CHANNEL, Numbers, quantized

    torch.manual_seed(0)
    conv = nn.Conv2d(6, 5, 3, padding=1, groups=1)
    base = torch.randn(1, 1, 20, 30)
    x = base + 0.3 * torch.randn(1, 6, 20, 30)  # channels that resemble each other: errors can make up for errors
    layer = quantized(conv, Numbers(4, True, granularity=CHANNEL), None, None)
    layer.fit_weight()
    statistics = InputStatistics(conv)
    statistics.add(x)
    expected = conv(x)
    nearest = (layer(x) - expected).square().mean().item()
    layer.set_weight_codes(compensated_codes(layer, statistics.moments))
    assert (layer(x) - expected).square().mean().item() < 0.7 * nearest


def test_patches_are_what_weights_are_multiplied_with():
    from leadline.compress.calibration import InputStatistics

    torch.manual_seed(0)
    for conv, x in [
        (nn.Conv2d(4, 6, 3, 2, 1, groups=2, bias=False), torch.randn(2, 4, 7, 8)),
        (nn.Conv3d(2, 3, (3, 1, 2), 1, (1, 0, 1), bias=False), torch.randn(1, 2, 4, 5, 6)),
    ]:
        statistics = InputStatistics(conv)
        statistics.add(x, most=10**6)
        weight = conv.weight.reshape(conv.groups, -1, statistics.moments.shape[-1])
        energy = torch.einsum("gok,gkl,gol->go", weight, statistics.moments, weight).flatten()
        expected = conv(x).square().transpose(0, 1).flatten(1).sum(1)
        torch.testing.assert_close(energy, expected, rtol=1e-4, atol=1e-4)


def test_scales_are_written_edited_and_read(plummet, pair, tmp_path):
    made = quantize(plummet, data=CALIBRATION)
    path = write_scales(made, tmp_path / "scales.yaml")
    same = quantize(plummet, scale_zero_point=path)
    assert torch.equal(predict(made, pair), predict(same, pair))
    text = path.read_text().replace("encoder.stem.0.input: {scale: 0.0", "encoder.stem.0.input: {scale: 0.1", 1)
    assert text != path.read_text()
    path.write_text(text)
    other = quantize(plummet, scale_zero_point=path)
    assert float(other.get_submodule("encoder.stem.0").input_quantizer.scale) > 0.1
    assert not torch.equal(predict(made, pair), predict(other, pair))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("network: plummet-s", "network: plummet-m", "not of plummet-s"),
        ("encoder.stem.0.input", "encoder.stem.9.input", "names 'encoder.stem.9.input'"),
        ("encoder.stem.0.input: {scale: ", "encoder.stem.0.input: {scale: -", "a scale is a number above 0"),
        ("encoder.stem.0.input: {scale: ", "encoder.stem.0.input: {scale: 0, old: ", "scale 0: a scale is"),
        ("encoder.stem.0.input: {scale: ", "encoder.stem.0.input: {scale: .nan, old: ", "a scale is a number above 0"),
        ("zero_point: ", "zero_point: 7", "whole number from -128 to 127"),
    ],
)
def test_a_wrong_file_of_scales_is_told_in_a_line(plummet, tmp_path, old, new, told):
    path = write_scales(quantize(plummet, data=CALIBRATION), tmp_path / "scales.yaml")
    text = path.read_text()
    if new == "zero_point: 7":
        import re

        text = re.sub(r"zero_point: -?\d+", "zero_point: 700", text, count=1)
    else:
        text = text.replace(old, new, 1)
    path.write_text(text)
    with pytest.raises(UserError, match=told) as error:
        quantize(plummet, scale_zero_point=path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bits": 3}, "3 bits are not offered"),
        ({"activation_bits": 2}, "2 bits are not offered"),
        ({"observer": "mean"}, "observer"),
        ({"mode": "sometimes"}, "mode"),
        ({"skip": "decoder"}, "decoder"),
        ({"bits": "auto"}, "budget"),
        ({"budget": "2%"}, "budget"),
        ({"mode": "qat"}, "recipe"),
        ({"data": []}, "no images to calibrate on"),
        ({"granularity": "row"}, "granularity"),
        ({"weights_only": True, "mode": "dynamic"}, "dynamic"),
        ({"scale_zero_point": "/nowhere.yaml"}, "no readable file of scales"),
    ],
)
def test_what_is_not_offered_is_told_in_a_line(plummet, options, told):
    with pytest.raises(UserError, match=told):
        quantize(plummet, **{"data": CALIBRATION, **options})


def test_a_quantised_network_is_not_quantised_again(plummet):
    with pytest.raises(UserError, match="quantised already"):
        quantize(quantize(plummet, data=CALIBRATION))


def test_constant_and_broken_activations_are_told(plummet):
    dead = copy.deepcopy(plummet)
    dead.encoder.stem[1].weight.data.zero_()
    dead.encoder.stem[1].bias.data.fill_(-1)  # the ReLU after it gives nothing but 0
    with pytest.raises(UserError, match=r"encoder\.quarter\.0\.0\.input is 0 everywhere"):
        quantize(dead, data=CALIBRATION)
    dead.encoder.stem[1].bias.data[0] = float("nan")
    with pytest.raises(UserError, match="NaN"):
        quantize(dead, data=CALIBRATION)


def test_training_goes_on_from_a_quantised_network(tmp_path):
    from training.tiny import recipe

    network = leadline.create("tiny").eval()
    content = recipe(steps=4, init=None)
    made = quantize(network, bits=4, mode="qat", finetune=content, folder=tmp_path / "run", data=CALIBRATION)
    layers = quantized_layers(made)
    assert len(layers) == 3
    assert (tmp_path / "run" / "tiny.safetensors").is_file()
    start = load_network(tmp_path / "run" / "start.safetensors")
    before = quantized_layers(start)
    moved = [name for name in layers if not torch.equal(layers[name].weight, before[name].weight)]
    assert moved
    for name, layer in layers.items():  # what is stored lies on the grid
        codes = layer.weight_codes()
        kept = layer.weight.detach().clone()
        layer.set_weight_codes(codes)
        assert torch.equal(kept, layer.weight), name


def test_one_tensor_has_one_scale_however_it_is_trained(plummet, pair, tmp_path):
    made = quantize(plummet, data=CALIBRATION)
    layers = quantized_layers(made)
    stem, first = layers["encoder.stem.0"], layers["encoder.quarter.0.0"]
    beside, other = layers["encoder.down_to_quarter.0"], layers["encoder.match_eighth.0"]
    assert first.input_quantizer is stem.output_quantizer
    assert other.input_quantizer is beside.input_quantizer
    moved = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 0.1
    for quantizer, by in zip(fixed_quantizers(made).values(), moved, strict=False):
        quantizer.stretch.data += by
    loaded = load_network(leadline.save(made, tmp_path / "trained.safetensors"))
    torch.testing.assert_close(predict(loaded, pair), predict(made, pair), rtol=0, atol=1e-4)
    layers = quantized_layers(loaded)
    assert layers["encoder.quarter.0.0"].input_quantizer is layers["encoder.stem.0"].output_quantizer
    assert "encoder.quarter.0.0.input" not in fixed_quantizers(loaded)


def test_layers_of_one_bit_are_where_they_can_be(plummet):
    made = quantize(plummet, bits=1, data=CALIBRATION)
    flow = watch(small_plummet())
    binary, eight = set(binary_layers(made)), set(quantized_layers(made))
    assert eight == flow.first | flow.last
    assert binary == set(flow.order) - eight
    assert "encoder.stem.0" in eight


def test_bits_are_chosen_to_a_budget(plummet):
    from leadline.compress.sensitivities import choose_bits, parse_budget

    assert parse_budget("400kB").bytes == 400e3
    assert parse_budget("2%").share == pytest.approx(0.02)
    for wrong in ("400", "-3%", "0MB", "much"):
        with pytest.raises(UserError, match="write a size"):
            parse_budget(wrong)
    sizes = {name: plummet.get_submodule(name).weight.numel() for name in watch(plummet).order}
    chosen = choose_bits(plummet, "20kB", data=CALIBRATION)
    taken = sum(sizes[name] * bits / 8 for name, bits in chosen.items())
    assert taken <= 20e3 < sum(sizes.values()) * 4
    assert set(chosen.values()) <= {32, 8, 4}
    with pytest.raises(UserError, match="give more"):
        choose_bits(plummet, "10B", data=CALIBRATION)
