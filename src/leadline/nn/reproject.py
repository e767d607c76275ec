"""Seeing another frame from here, by the depth here and the camera's motion."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

NEAREST = 0.01  # m in front of the other camera; what comes nearer or behind it is not seen


def reproject(
    other: Float[Tensor, "b c h w"],
    depth: Float[Tensor, "b 1 h w"],
    intrinsics: Float[Tensor, "b 4"],
    pose: Float[Tensor, "b 4 4"],
) -> tuple[Float[Tensor, "b c h w"], Bool[Tensor, "b 1 h w"]]:
    """The other frame's values where this frame's points lie in it, interpolated linearly.

    Args:
        other: of the other frame, taken by the same camera.
        depth: of this frame, m along the optical axis.
        intrinsics: fx, fy, cx, cy, px; pixel centres have whole coordinates.
        pose: takes points of this camera's frame to the other's, m.

    Returns:
        The values, border values outside; and where the point lies within the other frame. Differentiable in `other`,
        `depth` and `pose`.

    Source: the view synthesis of T. Zhou et al., "Unsupervised Learning of Depth and Ego-Motion from Video", CVPR 2017.
    """
    x, y, z = project(depth, intrinsics, pose)
    height, width = depth.shape[-2:]
    # With align_corners -1 and 1 are the centres of the first and the last pixel.
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)
    # Far outside coordinates must stay finite: the gradient of a border value is zero anyway.
    moved = functional.grid_sample(other, grid.clamp(-4, 4).to(other.dtype), padding_mode="border", align_corners=True)
    seen = (z > NEAREST) & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return moved, seen[:, None]


def project(
    depth: Float[Tensor, "b 1 h w"], intrinsics: Float[Tensor, "b 4"], pose: Float[Tensor, "b 4 4"]
) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"], Float[Tensor, "b h w"]]:
    """Where every pixel's point lies in the other frame: x, y, px, and its depth there, m."""
    height, width = depth.shape[-2:]
    fx, fy, cx, cy = (value[:, None, None] for value in intrinsics.to(depth.dtype).unbind(1))
    rows = torch.arange(height, device=depth.device, dtype=depth.dtype)[None, :, None]
    columns = torch.arange(width, device=depth.device, dtype=depth.dtype)[None, None, :]
    z = depth[:, 0]
    points = torch.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z], 1)
    pose = pose.to(depth.dtype)
    moved = torch.einsum("bij,bjhw->bihw", pose[:, :3, :3], points) + pose[:, :3, 3, None, None]
    ahead = moved[:, 2].clamp(min=NEAREST)
    return fx * moved[:, 0] / ahead + cx, fy * moved[:, 1] / ahead + cy, moved[:, 2]
