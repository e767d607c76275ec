"""Losses that need no truth: the right view, moved by the disparity, is to look like the left one.

After C. Godard et al., "Unsupervised Monocular Depth Estimation with Left-Right Consistency", CVPR 2017. Points that
the right view does not show have no match; those beyond its border are left out.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import Tensor
from torch.nn import functional

from leadline.nn.warp import inside, warp_to_left
from leadline.training.losses.registry import Kind, loss

Disparity = Float[Tensor, "b 1 h w"]
Images = Float[Tensor, "b 3 h w"]
Scalar = Float[Tensor, ""]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def odd(value: int) -> int:
    """A window has a middle."""
    if value % 2 == 0:
        raise PydanticCustomError("odd", "should be odd")
    return value


Window = Annotated[int, Field(ge=3, le=31), AfterValidator(odd)]  # px


@loss("photometric", Kind.IMAGES)
def photometric(prediction: Disparity, left: Images, right: Images, alpha: Share = 0.85) -> Scalar:
    """alpha (1 - SSIM) / 2 + (1 - alpha) |difference|, left against the moved right view.

    Args:
        prediction: px.
        left, right: RGB in [0, 1].
        alpha: share of the structural part; 0.85 in Godard et al.
    """
    moved = warp_to_left(right, prediction)
    mask = shrink_mask(inside(prediction.detach()), 1)
    structure = (1 - ssim(left, moved)).clamp(0, 2).mean(1, keepdim=True) / 2
    difference = (left - moved).abs().mean(1, keepdim=True)
    return _mean(alpha * structure + (1 - alpha) * difference, mask)


@loss("census", Kind.IMAGES)
def census(prediction: Disparity, left: Images, right: Images, window: Window = 7, epsilon: Positive = 0.1) -> Scalar:
    """A soft Hamming distance between the census transforms of left and moved right view; blind to exposure.

    R. Zabih, J. Woodfill, "Non-parametric Local Transforms", ECCV 1994, made differentiable as in S. Meister et al.,
    "UnFlow", AAAI 2018: sign(x) becomes x / sqrt(0.81 + x²) with grey values in 0 ... 255, and the distance of a bit
    pair δ² / (epsilon + δ²).

    Args:
        prediction: px.
        left, right: RGB in [0, 1].
        window: odd, px, at least 3.
        epsilon: where the distance saturates.
    """
    moved = warp_to_left(right, prediction)
    border = window // 2
    mask = shrink_mask(inside(prediction.detach()), border)
    mask[..., :border, :] = mask[..., -border:, :] = 0  # a window over the image's edge compares with nothing
    mask[..., :border] = mask[..., -border:] = 0
    return _mean(census_distance(left, moved, window, epsilon), mask)


def census_distance(one: Images, two: Images, window: int, epsilon: float) -> Disparity:
    """Per pixel in [0, 1): the soft Hamming distance of two images' census transforms; see `census`."""
    distance = (_census(one, window) - _census(two, window)).square()
    return (distance / (epsilon + distance)).mean(1, keepdim=True)


@loss("smoothness", Kind.IMAGES)
def smoothness(
    prediction: Disparity, left: Images, right: Images, edge: Annotated[float, Field(ge=0)] = 10.0
) -> Scalar:
    """|dx d| exp(-edge |dx I|) + |dy d| exp(-edge |dy I|), with d in units of its mean so that it cannot shrink.

    P. Heise et al., "PM-Huber", ICCV 2013; the mean as in C. Wang et al., CVPR 2018.

    Args:
        prediction: px.
        left: RGB in [0, 1]; its edges allow those of the disparity.
        right: not looked at.
        edge: how strongly.
    """
    disparity = prediction / (prediction.mean((2, 3), keepdim=True).abs() + 1e-6)
    total = prediction.new_zeros(())
    for axis in (2, 3):
        slope = disparity.diff(dim=axis).abs()
        contrast = left.diff(dim=axis).abs().mean(1, keepdim=True)
        total = total + (slope * torch.exp(-edge * contrast)).mean()
    return total


@loss("left_right", Kind.BOTH_VIEWS)
def left_right(prediction: Disparity, right: Disparity) -> Scalar:
    """|d_left(x) - d_right(x - d_left(x))|, px, where x - d_left falls on the right view.

    Args:
        prediction: of the left view, px.
        right: of the right view, px: found by the same network on the mirrored pair, which costs a second pass.
    """
    return _mean((prediction - warp_to_left(right, prediction)).abs(), inside(prediction.detach()))


def ssim(one: Images, two: Images) -> Images:
    """Structural similarity in windows of 3x3, uniform weights, per pixel and channel, in [-1, 1].

    Z. Wang et al., "Image Quality Assessment", 2004, with C1 = 0.01², C2 = 0.03²; the border is reflected.
    """
    mean_one, mean_two = _box(one), _box(two)
    variance_one = _box(one.square()) - mean_one.square()
    variance_two = _box(two.square()) - mean_two.square()
    covariance = _box(one * two) - mean_one * mean_two
    luminance = (2 * mean_one * mean_two + 0.01**2) / (mean_one.square() + mean_two.square() + 0.01**2)
    return luminance * (2 * covariance + 0.03**2) / (variance_one + variance_two + 0.03**2)


def _box(values: Images) -> Images:
    return functional.avg_pool2d(functional.pad(values, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def _census(image: Images, window: int) -> Float[Tensor, "b bits h w"]:
    """Soft signs of each neighbour's grey value against the pixel's own."""
    grey = 255 * (image * image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    height, width = grey.shape[-2:]
    around = functional.unfold(grey, window, padding=window // 2).view(len(grey), -1, height, width)
    difference = around - grey
    return difference / torch.sqrt(0.81 + difference.square())


def shrink_mask(mask: Disparity, radius: int) -> Disparity:
    """Takes away what lies within `radius` px of a hole, so that windows of that radius see nothing of it."""
    return -functional.max_pool2d(-mask, 2 * radius + 1, stride=1, padding=radius)


def _mean(values: Disparity, mask: Disparity) -> Scalar:
    return (values * mask).sum() / mask.sum().clamp(min=1)
