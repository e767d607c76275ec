"""Sampling the other view where a disparity says that it shows the same point."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def warp_to_left(values: Float[Tensor, "b c h w"], disparity: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c h w"]:
    """The right view's values as the left view sees them: out(x) = values(x - d), interpolated linearly in x.

    Args:
        values: of the right view: an image, features, or its disparity.
        disparity: of the left view, px.

    Returns:
        0 where x - d lies outside the right view; see `inside`. Differentiable in both arguments.
    """
    height, width = values.shape[-2:]
    x = torch.arange(width, device=values.device, dtype=disparity.dtype) - disparity[:, 0]
    y = torch.arange(height, device=values.device, dtype=disparity.dtype)[:, None].expand_as(x)
    # With align_corners -1 and 1 are the centres of the first and the last pixel.
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)
    sampled = functional.grid_sample(values, grid.to(values.dtype), padding_mode="border", align_corners=True)
    return sampled * inside(disparity)


def inside(disparity: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """1 where x - d falls on the other view, else 0."""
    width = disparity.shape[-1]
    x = torch.arange(width, device=disparity.device, dtype=disparity.dtype) - disparity
    return ((x >= 0) & (x <= width - 1)).to(disparity.dtype)
