"""The packed convolution against torch's float convolution of signs: the same integers, compiled or not."""

import numpy as np
import pytest
import torch

from leadline.kernels.xnor import PackedConvolution, has_compiled_kernel, pack_channels
from leadline.nn.quantize.binary import BinaryConv2d

SHAPES = [  # channels in and out, kernel, stride, padding, shortcut
    (64, 64, 3, 1, 1, True),
    (70, 9, 3, 2, 1, False),
    (5, 3, (3, 1), 1, (2, 0), False),
    (130, 7, 1, 1, 0, False),
]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_packed_and_float_agree_exactly(shape, compiled):
    if compiled and not has_compiled_kernel():
        pytest.skip("numba is not installed")
    c, o, kernel, stride, padding, shortcut = shape
    torch.manual_seed(0)
    layer = BinaryConv2d(c, o, kernel, stride, padding, bias=True, shortcut=shortcut)
    layer.threshold.data.normal_()
    x = torch.randn(2, c, 9, 11)
    packed = PackedConvolution(layer, compiled, threads=1)
    with torch.no_grad():
        signs = layer.signs_of(x)
        np.testing.assert_array_equal(packed.count((signs > 0).numpy()), layer.count(signs).numpy())
        torch.testing.assert_close(packed(x), layer(x), rtol=0, atol=1e-6)


def test_channels_are_packed_with_the_first_in_the_lowest_bit():
    positive = np.zeros((1, 66, 1, 1), bool)
    positive[0, [0, 5, 65]] = True
    first, second = pack_channels(positive).ravel().tolist()
    assert first == 1 | 1 << 5
    assert second == (2**64 - 1) & ~1  # channel 64 is 0, 65 is 1, and so is what fills the word up


def test_what_it_does_not_know_is_refused():
    with pytest.raises(ValueError, match="one group"):
        PackedConvolution(BinaryConv2d(4, 4, 3, groups=2))
