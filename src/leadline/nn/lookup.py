"""All-pairs correlation, its pyramid, and looking it up round a current estimate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leadline.nn.warp import sample_at


def all_pairs_correlation(
    first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h2 w2"]
) -> Float[Tensor, "b h w h2 w2"]:
    """Scalar product of every pixel's features with every pixel's of the other frame, over sqrt(c).

    MACs: c * (h * w) * (h2 * w2). Source: Teed and Deng, "RAFT", ECCV 2020.
    """
    h, w = first.shape[-2:]
    product = first.flatten(2).transpose(1, 2) @ second.flatten(2)
    return product.unflatten(2, second.shape[-2:]).unflatten(1, (h, w)) / first.shape[1] ** 0.5


def row_correlation(left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w2"]) -> Float[Tensor, "b h w w2"]:
    """The same along epipolar lines alone: every pixel with every pixel of its row in the right view.

    MACs: c * h * w * w2. Source: Lipson et al., "RAFT-Stereo", 3DV 2021.
    """
    return left.permute(0, 2, 3, 1) @ right.permute(0, 2, 1, 3) / left.shape[1] ** 0.5


def correlation_pyramid(volume: Float[Tensor, "b h w h2 w2"], levels: int) -> list[Float[Tensor, "b h w _ _"]]:
    """The volume and its halvings over the second frame by 2x2 means; level k has h2 >> k rows and w2 >> k columns."""
    b, h, w = volume.shape[:3]
    level = volume.flatten(0, 2).unsqueeze(1)
    pyramid = [volume]
    for _ in range(levels - 1):
        level = F.avg_pool2d(level, 2)
        pyramid.append(level.reshape(b, h, w, *level.shape[-2:]))
    return pyramid


def row_pyramid(volume: Float[Tensor, "b h w w2"], levels: int) -> list[Float[Tensor, "b h w _"]]:
    """The same for `row_correlation`: means of 2 columns."""
    pyramid = [volume]
    for _ in range(levels - 1):
        level = F.avg_pool1d(pyramid[-1].flatten(0, 2).unsqueeze(1), 2).squeeze(1)
        pyramid.append(level.unflatten(0, volume.shape[:3]))
    return pyramid


def look_up(
    pyramid: list[Float[Tensor, "b h w _ _"]], coordinates: Float[Tensor, "b 2 h w"], radius: int
) -> Float[Tensor, "b n h w"]:
    """Correlations in a square round where each pixel is thought to be, bilinear, at every level.

    Args:
        pyramid: of `correlation_pyramid`.
        coordinates: (x, y) in the second frame, px of level 0: the pixel grid plus the flow.
        radius: pixels of each level to either side.

    Returns:
        (b, levels * (2 radius + 1)^2, h, w), level by level, within a level row by row (RAFT's own code goes column
        by column); 0 beyond the frame's edge.
    """
    b, _, h, w = coordinates.shape
    side = 2 * radius + 1
    offset = torch.arange(-radius, radius + 1, device=coordinates.device, dtype=coordinates.dtype)
    x, y = (coordinates[:, i].reshape(-1, 1, 1) for i in range(2))
    found = []
    for k, level in enumerate(pyramid):
        columns = (x / 2**k + offset).expand(-1, side, -1)
        rows = (y / 2**k + offset[:, None]).expand(-1, -1, side)
        window = sample_at(level.flatten(0, 2).unsqueeze(1), columns, rows, padding="zeros")
        found.append(window.reshape(b, h, w, side * side))
    return torch.cat(found, -1).permute(0, 3, 1, 2)


def look_up_row(
    pyramid: list[Float[Tensor, "b h w _"]], x: Float[Tensor, "b 1 h w"], radius: int
) -> Float[Tensor, "b n h w"]:
    """The same along rows: `x` is the column in the right view, px of level 0: the pixel's own less the disparity.

    Level k, of half the width each, holds means of columns; column 0 of it has its centre at (2^k - 1) / 2 of level
    0, which is left out as in RAFT-Stereo: what is looked up is a neighbourhood, not a position.
    """
    b, _, h, w = x.shape
    offset = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    centre = x.reshape(-1, 1, 1)
    found = []
    for k, level in enumerate(pyramid):
        columns = centre / 2**k + offset
        row = level.flatten(0, 2)[:, None, None]
        found.append(sample_at(row, columns, torch.zeros_like(columns), padding="zeros").reshape(b, h, w, -1))
    return torch.cat(found, -1).permute(0, 3, 1, 2)
