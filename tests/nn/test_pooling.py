"""Pooling against kornia, scipy and closed forms."""

import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import convolve

from leadline.nn.pooling.blur import BlurPool
from leadline.nn.pooling.generalized_mean import GeneralizedMean
from leadline.nn.pooling.pyramid import PyramidPooling
from leadline.nn.pooling.soft import SoftPool, StochasticPool
from leadline.nn.pooling.strip import StripPooling
from leadline.nn.pooling.unpooling import MaxPool, MaxUnpool


@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_unpooling_puts_maxima_back(size):
    x = torch.randn(2, 3, *size)
    most, places = MaxPool()(x)
    back = MaxUnpool()(most, places, x)
    assert back.shape == x.shape
    assert torch.equal(back[back != 0], x[back != 0])
    torch.testing.assert_close(F.max_pool2d(back.abs(), 2), most.abs())
    assert (back != 0).sum() == most.numel()


@pytest.mark.parametrize("taps", [3, 5])
def test_blur_pool_is_scipys_filter_and_korniass(taps):
    x = torch.randn(1, 2, 9, 12, dtype=torch.double)
    result = BlurPool(2, taps)(x)
    row = {3: [1, 2, 1], 5: [1, 4, 6, 4, 1]}[taps]
    kernel = np.outer(row, row) / np.sum(row) ** 2
    for c in range(2):
        expected = convolve(x[0, c].numpy(), kernel, mode="nearest")[::2, ::2]
        np.testing.assert_allclose(result[0, c].numpy(), expected, atol=1e-6)
    theirs = kornia.filters.blur_pool2d(x, taps, stride=2)
    inside = slice(1 + taps // 4, -1 - taps // 4)
    torch.testing.assert_close(result[..., inside, inside], theirs[..., inside, inside], atol=1e-6, rtol=1e-5)


def test_blur_pool_hears_no_frequency_that_the_coarse_grid_cannot_hold():
    alternating = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    assert BlurPool(1)(alternating)[..., 1:-1, 1:-1].abs().max() < 1e-6
    assert F.max_pool2d(alternating[..., ::2], 2).abs().max() == 1  # what aliasing would say


def test_generalised_mean_lies_between_mean_and_maximum():
    x = torch.rand(2, 3, 6, 8) + 0.5  # far from where its 60th power would be 0
    torch.testing.assert_close(GeneralizedMean(2, p=1.0)(x), F.avg_pool2d(x, 2))
    torch.testing.assert_close(GeneralizedMean(None, p=1.0)(x), x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(GeneralizedMean(2, p=60.0)(x), F.max_pool2d(x, 2), atol=0.03, rtol=0.03)
    norm = torch.linalg.vector_norm(x[..., :2, :2], 3, dim=(2, 3)) / 4 ** (1 / 3)
    torch.testing.assert_close(GeneralizedMean(2)(x)[..., 0, 0], norm)


def test_soft_pool_is_a_softmax_weighted_mean_and_stays_finite():
    x = torch.randn(2, 3, 6, 8)
    window = x[..., 2:4, 4:6].flatten(2)
    expected = (torch.softmax(window, -1) * window).sum(-1)
    torch.testing.assert_close(SoftPool()(x)[..., 1, 2], expected)
    assert SoftPool()(x * 50).isfinite().all()


def test_stochastic_pool_draws_in_proportion_and_answers_with_the_expectation():
    torch.manual_seed(0)
    x = torch.tensor([[1.0, 2.0], [0.0, 5.0]]).expand(1, 20000, 2, 2)
    drawn = StochasticPool().train()(x).flatten()
    shares = [(drawn == value).float().mean().item() for value in (1.0, 2.0, 0.0, 5.0)]
    assert shares == pytest.approx([1 / 8, 2 / 8, 0, 5 / 8], abs=0.015)
    assert StochasticPool().eval()(x)[0, 0, 0, 0].item() == pytest.approx((1 + 4 + 25) / 8)
    assert torch.equal(StochasticPool().train()(torch.zeros(1, 1, 4, 4)), torch.zeros(1, 1, 2, 2))


def test_pyramid_pooling_stretches_means_of_cells():
    block, x = PyramidPooling(4, 6, bins=(1, 2)), torch.randn(2, 4, 8, 12)
    first = F.conv2d(x.mean((2, 3), keepdim=True), block.branches[0][0].weight, block.branches[0][0].bias).relu()
    cells = x.reshape(2, 4, 2, 4, 2, 6).mean((3, 5))
    second = F.conv2d(cells, block.branches[1][0].weight, block.branches[1][0].bias).relu()
    second = F.interpolate(second, size=(8, 12), mode="bilinear", align_corners=False)
    expected = block.join(torch.cat([x, first.expand(-1, -1, 8, 12), second], 1))
    torch.testing.assert_close(block(x), expected)


def test_strip_pooling_hears_of_its_row_and_column_alone():
    block, x = StripPooling(16), torch.randn(1, 16, 9, 11)
    changed = x.clone()
    changed[..., 2, 3] += 1
    moved = ((block(changed) / changed) - (block(x) / x)).abs().sum(1)[0] > 1e-6
    assert moved[1:4].all()  # the row, and its neighbours through the 3-tap convolution
    assert moved[:, 2:5].all()
    outside = moved.clone()
    outside[1:4] = False
    outside[:, 2:5] = False
    assert not outside.any()
