"""Images at another size inside a network, and maps of px back at theirs."""

from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Size, Tensor


def enlarge(images: Float[Tensor, "b c h w"], factor: Fraction, multiple: int) -> Float[Tensor, "b c h2 w2"]:
    """The images `factor` times as large, rounded down, then grey to the right and below to whole multiples.

    Exactly `factor` where its denominator divides h and w. Grey is 0.5; no target needs to know how to repeat a border.
    """
    height, width = enlarged_size(images.shape[-2:], factor)
    larger = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
    below, right = -height % multiple, -width % multiple
    if isinstance(below, int) and isinstance(right, int) and not below and not right:
        return larger
    return F.pad(larger, (0, right, 0, below), value=0.5)


def reduce_disparity(
    disparity: Float[Tensor, "b 1 h2 w2"], size: Size, factor: Fraction, multiple: int
) -> Float[Tensor, "b 1 h w"]:
    """What was found on images that `enlarge` made, for those of `size`: without the grey, and in their px.

    Where it can, by slices and products alone: what computes in bfloat16 would round disparities otherwise,
    as OpenVINO keeps only what comes after the last convolution, matrix product or resizing in float32.

    Args:
        multiple: of which h and w of `size` are multiples.
    """
    height, width = enlarged_size(size, factor)
    disparity = disparity[..., :height, :width] * (size[1] / width)
    if factor.numerator == factor.denominator + 1 and multiple % factor.denominator == 0:
        return _by_one_less(disparity, size, factor.numerator)
    return F.interpolate(disparity, size=tuple(size), mode="bilinear", align_corners=False)


def _by_one_less(x: Float[Tensor, "b 1 h2 w2"], size: Size, count: int) -> Float[Tensor, "b 1 h w"]:
    """Bilinear resizing that makes `count` - 1 of every `count` rows and columns: each from itself and the next."""
    less = count - 1
    part = (torch.arange(less, device=x.device, dtype=x.dtype) + 0.5) / less  # of the next
    height, width = size
    rows = x.reshape(-1, height // less, count, x.shape[-1])
    rows = rows[:, :, :less] + part[:, None] * (rows[:, :, 1:] - rows[:, :, :less])
    columns = rows.reshape(-1, height, width // less, count)
    columns = columns[..., :less] + part * (columns[..., 1:] - columns[..., :less])
    return columns.reshape(-1, 1, height, width)


def enlarged_size(size: Size, factor: Fraction) -> tuple[Any, ...]:
    """Rows and columns of images of `size` once they are enlarged: numbers, or symbols while a graph is traced."""
    return tuple(n * factor.numerator // factor.denominator for n in size)
