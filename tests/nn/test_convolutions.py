"""Convolutions against scipy, against closed forms, and against PyTorch's plain ones."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates
from torch import nn

from leadline.nn.conv3d import Deconvolution3d, FactorisedConv3d, ResizeConv3d, SeparableConv3d
from leadline.nn.deconv import Deconvolution, ResizeConv, contributions
from leadline.nn.deformable import DeformableConv2d, deformable_conv
from leadline.nn.dilated import ASPP, HybridDilated, seen
from leadline.nn.partial import PartialConv2d
from leadline.nn.residual import Bottleneck, PreActivation
from leadline.nn.separable import DepthwiseSeparable, FactorisedConv, InvertedResidual
from leadline.nn.shuffle import PixelShuffleUp, PixelUnshuffleDown, ShuffleUnitV2, channel_shuffle


def receptive_field(module, side=33, channels=4):
    """(rows, columns) that one output pixel's gradient reaches, weights all positive so that nothing cancels."""
    module = module.eval()
    for parameter in module.parameters():
        parameter.data = parameter.data.abs() + 0.1
    x = torch.rand(1, channels, side, side, requires_grad=True)
    out = module(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    return x.grad.abs().sum((0, 1)) > 0


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_deconvolution_is_a_convolution_of_the_map_with_zeros_between(kernel):
    block, x = Deconvolution(3, 2, kernel), torch.randn(2, 3, 5, 6)
    stuffed = torch.zeros(2, 3, 10, 12)
    stuffed[..., ::2, ::2] = x
    edge = kernel - 1 - (kernel - 1) // 2
    padded = F.pad(stuffed, (edge, kernel // 2, edge, kernel // 2))
    expected = F.conv2d(padded, block.weight.flip(2, 3).transpose(0, 1), block.bias)[..., :10, :12]
    assert block(x).shape == (2, 2, 10, 12)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-4)


def test_the_checkerboard_is_in_the_count_of_stamps():
    np.testing.assert_array_equal(contributions(3, 2, 4), np.convolve([1, 0, 1, 0, 1, 0, 1], [1, 1, 1]))
    assert set(contributions(3, 2, 10)[2:-2].tolist()) == {1, 2}
    assert set(contributions(4, 2, 10)[2:-2].tolist()) == {2}


def test_resize_conv_of_a_constant_has_no_checkerboard_and_deconvolution_has():
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    flat = torch.ones(1, 4, 8, 8)
    assert ResizeConv(4, 4)(flat)[inside].std((2, 3)).max() < 1e-6
    assert Deconvolution(4, 4, kernel=3)(flat)[inside].std((2, 3)).min() > 1e-3


def test_hybrid_rates_see_every_pixel_of_their_reach_and_equal_ones_do_not():
    assert seen((1, 2, 5)) == list(range(-8, 9))
    assert seen((2, 2, 2)) == list(range(-6, 7, 2))
    for rates in ((1, 2, 5), (2, 2, 2)):
        field = receptive_field(HybridDilated(4, rates))
        rows = field.any(1).nonzero().flatten() - 16
        assert rows.tolist() == seen(rates)


def test_aspp_joins_its_branches():
    block, x = ASPP(4, 6, rates=(2, 3)).eval(), torch.randn(2, 4, 7, 9)
    parts = [branch[1](branch[0](x)).relu() for branch in block.branches]
    dilations = [branch[0].dilation[0] for branch in block.branches]
    assert dilations == [1, 2, 3]
    weight, bias = block.whole[0].weight[..., 0, 0], block.whole[0].bias
    mean = (x.flatten(2).mean(2) @ weight.T + bias).relu()
    joined = torch.cat([*parts, mean[..., None, None].expand(-1, -1, 7, 9)], 1)
    torch.testing.assert_close(block(x), block.join(joined))


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_deformable_begins_as_a_plain_convolution(masks, stride):
    block, x = DeformableConv2d(3, 5, stride=stride, masks=masks), torch.randn(2, 3, 7, 10)
    torch.testing.assert_close(block(x), F.conv2d(x, block.weight, block.bias, stride, 1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_deformable_is_scipys_interpolation_summed(stride):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 8, 9, dtype=torch.double, generator=generator)
    rows, columns = -(-8 // stride), -(-9 // stride)
    down, right, mask = (
        2 * torch.randn(1, 9, rows, columns, dtype=torch.double, generator=generator) for _ in range(3)
    )
    weight, bias = torch.randn(3, 2, 3, 3, dtype=torch.double), torch.randn(3, dtype=torch.double)
    taps = torch.cartesian_prod(torch.arange(-1.0, 2), torch.arange(-1.0, 2))
    result = deformable_conv(x, down, right, mask, weight, bias, taps, stride)[0].numpy()
    padded = np.pad(x[0].numpy(), ((0, 0), (20, 20), (20, 20)))  # zeros begin at the edge
    expected = np.zeros((3, rows, columns)) + bias[:, None, None].numpy()
    for k, (dy, dx) in enumerate((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
        y = np.arange(rows)[:, None] * stride + dy + down[0, k].numpy() + 20
        across = np.arange(columns) * stride + dx + right[0, k].numpy() + 20
        for c in range(2):
            read = map_coordinates(padded[c], [y, across], order=1) * mask[0, k].numpy()
            expected += weight[:, c, dy + 1, dx + 1].numpy()[:, None, None] * read
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_separable_convolution_is_a_plain_one_of_low_rank():
    block, x = DepthwiseSeparable(3, 5, relu=False).eval(), torch.randn(2, 3, 6, 7)
    block[0][2] = nn.Identity()
    depthwise, pointwise = block[0][0].weight[:, 0], block[1][0].weight[..., 0, 0]
    scale = (1 + 1e-5) ** -1  # two BatchNorms that have seen nothing
    expected = F.conv2d(x, torch.einsum("oi,ikl->oikl", pointwise, depthwise), padding=1) * scale
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-4)


def test_factorised_convolution_is_an_outer_product():
    block, x = FactorisedConv(1, 1, kernel=5, relu=False).eval(), torch.randn(2, 1, 9, 8)
    block[2] = nn.Identity()
    kernel = block[0].weight[0, 0] * block[3].weight[0, 0]
    torch.testing.assert_close(block(x), F.conv2d(x, kernel[None, None], padding=2) / (1 + 1e-5), atol=1e-5, rtol=1e-4)


def test_factors_of_a_3d_convolution():
    x = torch.randn(2, 3, 4, 5, 6)
    block = FactorisedConv3d(3, 3, relu=False).eval()
    block[0][2] = nn.Identity()
    space, along = block[0][0].weight[:, :, 0], block[1][0].weight[..., 0, 0]
    kernel = torch.einsum("omd,mikl->oidkl", along, space)
    torch.testing.assert_close(block(x), F.conv3d(x, kernel, padding=1) / (1 + 1e-5), atol=1e-5, rtol=1e-4)
    block = SeparableConv3d(3, 5, relu=False).eval()
    block[0][2] = nn.Identity()
    kernel = torch.einsum("oi,idkl->oidkl", block[1][0].weight[..., 0, 0, 0], block[0][0].weight[:, 0])
    torch.testing.assert_close(block(x), F.conv3d(x, kernel, padding=1) / (1 + 1e-5), atol=1e-5, rtol=1e-4)


def test_doubling_in_3d():
    x = torch.randn(1, 2, 3, 4, 5)
    block = Deconvolution3d(2, 3)
    stuffed = torch.zeros(1, 2, 6, 8, 10)
    stuffed[..., ::2, ::2, ::2] = x
    padded = F.pad(stuffed, (2, 2) * 3)
    expected = F.conv3d(padded, block.weight.flip(2, 3, 4).transpose(0, 1), block.bias)[..., :6, :8, :10]
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-4)
    assert ResizeConv3d(2, 3)(x).shape == (1, 3, 6, 8, 10)


def test_partial_convolution_of_a_constant_is_constant_whatever_is_missing():
    block = PartialConv2d(1, 1, bias=False)
    nn.init.constant_(block.conv.weight, 1 / 9)
    mask = (torch.rand(2, 1, 12, 15) < 0.3).float()
    out, seen_now = block(torch.full((2, 1, 12, 15), 7.0), mask)
    torch.testing.assert_close(out, 7.0 * seen_now)
    assert torch.equal(seen_now, F.max_pool2d(mask, 3, 1, 1))


def test_partial_convolution_by_a_loop_and_holes_do_not_leak():
    block = PartialConv2d(2, 3, stride=2)
    nn.init.normal_(block.bias)
    x, mask = torch.randn(1, 2, 7, 8), (torch.rand(1, 1, 7, 8) < 0.4).float()
    out, seen_now = block(x, mask)
    poisoned, _ = block(torch.where(mask > 0, x, 1e6), mask)
    torch.testing.assert_close(out, poisoned)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            total, known = torch.zeros(3), 0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    y, across = 2 * i + dy, 2 * j + dx
                    if 0 <= y < 7 and 0 <= across < 8 and mask[0, 0, y, across]:
                        known += 1
                        total = total + block.conv.weight[:, :, dy + 1, dx + 1] @ x[0, :, y, across]
            expected = total * 9 / known + block.bias if known else torch.zeros(3)
            torch.testing.assert_close(out[0, :, i, j], expected, atol=1e-4, rtol=1e-4)
            assert bool(seen_now[0, 0, i, j]) == (known > 0)


def test_residual_units_are_identities_where_their_branches_are_silent():
    x = torch.rand(2, 8, 5, 6)  # positive, so ReLU passes it
    for block in (Bottleneck(8), PreActivation(8), InvertedResidual(8, 8)):
        silent = [m for m in block.modules() if isinstance(m, nn.Conv2d)][-1]
        nn.init.zeros_(silent.weight)
        torch.testing.assert_close(block.eval()(x), x)
        nn.init.normal_(silent.weight)
        assert (block(x) - x).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("block", "side"),
    [(Bottleneck(4), 3), (PreActivation(4), 5), (InvertedResidual(4, 4), 3), (FactorisedConv(4, 4), 3)],
)
def test_receptive_fields(block, side):
    field = receptive_field(block).nonzero()
    assert (field.amax(0) - field.amin(0) + 1).tolist() == [side, side]


def test_channel_shuffle_deals_round_and_back():
    x = torch.arange(6.0).view(1, 6, 1, 1).expand(1, 6, 2, 3)
    assert channel_shuffle(x, 2)[0, :, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
    image = torch.randn(2, 12, 4, 5)
    torch.testing.assert_close(channel_shuffle(image, 3), nn.ChannelShuffle(3)(image))
    assert torch.equal(channel_shuffle(channel_shuffle(image, 3), 4), image)


def test_shuffle_v2_passes_half_of_the_channels_untouched():
    block, x = ShuffleUnitV2(8).eval(), torch.randn(1, 8, 4, 5)
    torch.testing.assert_close(block(x)[:, ::2], x[:, :4])
    assert ShuffleUnitV2(8, 12, stride=2)(torch.randn(2, 8, 5, 7)).shape == (2, 12, 3, 4)


def test_pixel_shuffle_begins_without_a_checkerboard_and_unshuffle_loses_nothing():
    block = PixelShuffleUp(4, 3)
    fine = block(torch.randn(1, 4, 5, 6))
    for cell in (fine[..., ::2, 1::2], fine[..., 1::2, ::2], fine[..., 1::2, 1::2]):
        torch.testing.assert_close(cell, fine[..., ::2, ::2])
    x = torch.randn(2, 3, 6, 8)
    assert torch.equal(F.pixel_shuffle(PixelUnshuffleDown(3, 5)[0](x), 2), x)
