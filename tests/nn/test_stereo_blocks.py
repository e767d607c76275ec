"""plummet's blocks against closed forms and against torch's own 3-D convolution."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.correlation import correlation_volume
from leadline.nn.forms import few_operations, for_bfloat16
from leadline.nn.plane_conv import PlaneConv


@pytest.mark.parametrize("groups", [1, 4])
def test_correlation_is_the_mean_product_at_each_shift(groups):
    left, right = torch.randn(2, 8, 3, 11), torch.randn(2, 8, 3, 11)
    volume = correlation_volume(left, right, planes=5, groups=groups)
    assert volume.shape == (2, 5 * groups, 3, 11)
    for d in range(5):
        for g in range(groups):
            for x in range(11):
                expected = (left[:, g::groups, :, x] * right[:, g::groups, :, x - d]).mean(1) if x >= d else 0.0
                torch.testing.assert_close(volume[:, d * groups + g, :, x], torch.zeros(2, 3) + expected)


@pytest.mark.parametrize(("planes", "width"), [(5, 11), (24, 100), (48, 96), (20, 7), (1, 33)])
def test_both_forms_of_a_correlation_are_the_mean_product(planes, width):
    left, right = torch.randn(2, 6, 3, width), torch.randn(2, 6, 3, width)
    expected = torch.zeros(2, planes, 3, width)
    for d in range(min(planes, width)):
        expected[:, d, :, d:] = (left[..., d:] * right[..., : width - d]).mean(1)
    torch.testing.assert_close(correlation_volume(left, right, planes), expected)
    with few_operations():
        torch.testing.assert_close(correlation_volume(left, right, planes), expected)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("planes", "width"), [(5, 11), (24, 100), (6, 4)])
def test_what_the_right_view_does_not_reach_is_the_nearest_column_that_it_does(planes, width, groups):
    left, right = torch.randn(2, 8, 3, width), torch.randn(2, 8, 3, width)
    plain = correlation_volume(left, right, planes, groups)
    for form in (nullcontext, few_operations):
        with form():
            volume = correlation_volume(left, right, planes, groups, edge=True)
        for channel in range(planes * groups):
            first = min(channel // groups, width - 1)
            torch.testing.assert_close(volume[:, channel, :, first:], plain[:, channel, :, first:])
            known = plain[:, channel, :, first : first + 1].expand(-1, -1, first)
            torch.testing.assert_close(volume[:, channel, :, :first], known)


@pytest.mark.parametrize("edge", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_correlation_gradients(groups, edge):
    left = torch.randn(1, 6, 2, 7, dtype=torch.double, requires_grad=True)
    right = torch.randn(1, 6, 2, 7, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: correlation_volume(a, b, 4, groups, edge), (left, right))


def test_correlation_of_more_planes_than_columns():
    left = torch.randn(1, 4, 2, 3, requires_grad=True)
    volume = correlation_volume(left, torch.randn(1, 4, 2, 3), planes=6)
    volume.sum().backward()
    assert volume[:, 3:].abs().max() == 0


def test_plane_conv_is_a_3d_convolution():
    block = PlaneConv(planes=5, in_channels=2, out_channels=3, relu=False).eval()
    volume = torch.randn(2, 5 * 2, 6, 7)
    # The 2-D weights hold (disparity - 1, disparity, disparity + 1) one after the other along their input channels.
    weight = torch.stack(block.conv.weight.chunk(3, 1), 2)
    as_3d = F.conv3d(volume.reshape(2, 5, 2, 6, 7).transpose(1, 2), weight, padding=1)
    norm = block.norm
    expected = F.batch_norm(as_3d, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    result = block(volume).reshape(2, 5, 3, 6, 7).transpose(1, 2)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)


def test_convex_upsampling_against_unfold():
    coarse, weights = torch.rand(2, 1, 4, 5), torch.randn(2, 9 * 16, 4, 5)
    neighbours = F.unfold(F.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3).reshape(2, 9, 1, 4, 5)
    share = torch.softmax(weights.reshape(2, 9, 16, 4, 5), 1)
    expected = F.pixel_shuffle((share * neighbours).sum(1), 4)
    torch.testing.assert_close(convex_upsample(coarse, weights, 4), expected)
    with for_bfloat16():
        torch.testing.assert_close(convex_upsample(coarse, weights, 4), expected)


def test_convex_upsampling_stays_between_the_coarse_values():
    coarse, weights = torch.rand(1, 1, 4, 5), 30 * torch.randn(1, 9 * 4, 4, 5)
    fine = convex_upsample(coarse, weights, 2)
    assert fine.shape == (1, 1, 8, 10)
    assert coarse.min() - 1e-6 <= fine.min() <= fine.max() <= coarse.max() + 1e-6
