"""Sampling another image where a disparity or a flow says that it shows the same point."""

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
    return sample_at(values, x, y) * inside(disparity)


def inside(disparity: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """1 where x - d falls on the other view, else 0."""
    width = disparity.shape[-1]
    x = torch.arange(width, device=disparity.device, dtype=disparity.dtype) - disparity
    return ((x >= 0) & (x <= width - 1)).to(disparity.dtype)


def warp_by_flow(values: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b c h w"]:
    """Frame 1's values as frame 0 sees them (backward warping): out(x, y) = values(x + u, y + v), bilinear.

    Args:
        values: of frame 1: an image, features, or its flow back.
        flow: (u, v) from frame 0 to frame 1, px.

    Returns:
        0 where (x + u, y + v) lies outside frame 1; see `inside_by_flow`. Differentiable in both arguments.
    """
    x, y = _targets(flow)
    return sample_at(values, x, y) * inside_by_flow(flow).to(values.dtype)


def warp_clamped(values: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b c h w"]:
    """As `warp_by_flow`, but beyond the edge stands the edge's value. Half-precision flows are widened first."""
    x, y = _targets(flow if flow.dtype == torch.float64 else flow.float())
    return sample_at(values, x, y)


def inside_by_flow(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 1 h w"]:
    """1 where (x + u, y + v) falls on the other frame, else 0."""
    height, width = flow.shape[-2:]
    x, y = _targets(flow)
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).to(flow.dtype).unsqueeze(1)


def sample_at(
    values: Float[Tensor, "b c h w"], x: Float[Tensor, "b oh ow"], y: Float[Tensor, "b oh ow"], padding: str = "border"
) -> Float[Tensor, "b c oh ow"]:
    """Bilinear values at pixel coordinates, 0 being the centre of the first pixel.

    Args:
        padding: "border": beyond the edge stands the edge's value; "zeros": 0.
    """
    height, width = values.shape[-2:]
    # With align_corners -1 and 1 are the centres of the first and the last pixel.
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)
    exact = torch.promote_types(values.dtype, grid.dtype)  # half precision could not tell columns beyond 256 apart
    sampled = functional.grid_sample(values.to(exact), grid.to(exact), padding_mode=padding, align_corners=True)
    return sampled.to(values.dtype)


def _targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where frame 0's pixels are in frame 1: x and y, (b, h, w) each."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return x, y
