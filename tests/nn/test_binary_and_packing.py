"""Signs and packed integers, against NumPy's bit operations, closed forms and autograd of float functions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from leadline.nn.quantize.binary import BinaryConv2d, sign, weight_scale
from leadline.nn.quantize.pack import pack_bits, pack_nibbles, unpack_bits, unpack_nibbles


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 64])
def test_bits_are_packed_as_numpy_packs_them(count):
    bits = torch.rand(count, generator=torch.Generator().manual_seed(count)) > 0.5
    packed = pack_bits(bits)
    np.testing.assert_array_equal(packed.numpy(), np.packbits(bits.numpy(), bitorder="little"))
    assert torch.equal(unpack_bits(packed, (count,)), bits)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (4, 2, 3, 3)])
def test_nibbles_come_back_and_take_half_the_bytes(shape):
    codes = torch.randint(-8, 8, shape, dtype=torch.int8, generator=torch.Generator().manual_seed(1))
    packed = pack_nibbles(codes)
    assert packed.numel() == (codes.numel() + 1) // 2
    assert torch.equal(unpack_nibbles(packed, shape), codes)


def test_nibbles_lie_as_onnx_wants_them():
    helper = pytest.importorskip("onnx.numpy_helper")
    onnx = pytest.importorskip("onnx")
    codes = torch.tensor([-8, 7, 0, -1, 3], dtype=torch.int8)
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.INT4, dims=[5], raw_data=pack_nibbles(codes).numpy().tobytes())
    np.testing.assert_array_equal(helper.to_array(tensor).astype(np.int8), codes.numpy())


def test_damaged_packs_are_refused():
    with pytest.raises(ValueError, match="do not hold"):
        unpack_nibbles(torch.zeros(3, dtype=torch.uint8), (4,))
    with pytest.raises(ValueError, match="do not hold"):
        unpack_bits(torch.zeros(3, dtype=torch.uint8), (9999,))


def test_the_gradients_of_signs_are_the_published_ones():
    x = torch.tensor([-1.5, -0.5, 0.0, 0.25, 2.0], requires_grad=True)
    assert sign(x).tolist() == [-1, -1, 1, 1, 1]
    (quadratic,) = torch.autograd.grad(sign(x).sum(), x)
    torch.testing.assert_close(quadratic, torch.tensor([0, 1.0, 2.0, 1.5, 0]))
    (clipped,) = torch.autograd.grad(sign(x, bireal=False).sum(), x)
    torch.testing.assert_close(clipped, torch.tensor([0.0, 1, 1, 1, 0]))


def test_the_scale_is_the_best_in_least_squares():
    weight = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for channel, scale in zip(weight, weight_scale(weight), strict=True):
        best = np.linalg.lstsq(np.sign(channel.numpy()).reshape(-1, 1), channel.numpy().ravel(), rcond=None)[0]
        assert scale.item() == pytest.approx(best.item(), rel=1e-5)


def test_a_binary_convolution_is_a_scaled_convolution_of_signs():
    torch.manual_seed(0)
    conv = BinaryConv2d(6, 6, 3, padding=1, bias=True, shortcut=True)
    with torch.no_grad():
        conv.threshold.copy_(torch.randn(6))
    x = torch.randn(2, 6, 5, 7)
    signs = (x >= conv.threshold.view(-1, 1, 1)) * 2.0 - 1
    weight = (conv.weight >= 0) * 2.0 - 1
    counts = functional.conv2d(signs, weight, padding=1)
    assert torch.equal(counts, counts.round())
    expected = counts * conv.scale.view(-1, 1, 1) + conv.bias.view(-1, 1, 1) + x
    torch.testing.assert_close(conv(x), expected)
    conv(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in conv.parameters())
