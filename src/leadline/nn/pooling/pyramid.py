"""Means over coarser and coarser grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PyramidPooling(nn.Module):
    """Means over n x n cells of the map for several n, 1x1 to c / len(bins) channels, stretched back and joined to x.

    Shapes: (b, c, h, w) -> (b, out, h, w), any size; c a multiple of the number of bins.
    MACs: 2 * c * out per pixel, and c^2 / len(bins) * n^2 for each n.
    Source: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017; in stereo Chang and Chen, "PSMNet", CVPR 2018.
    The cells' branches have no BatchNorm, which one value per image and channel could not train.

    Args:
        bins: n of each grid.
    """

    def __init__(self, channels: int, out_channels: int, bins: Sequence[int] = (1, 2, 3, 6)):
        super().__init__()
        self.bins = tuple(bins)
        narrow = channels // len(self.bins)
        self.branches = nn.ModuleList(nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.ReLU()) for _ in self.bins)
        self.join = nn.Conv2d(channels + narrow * len(self.bins), out_channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b co h w"]:
        size = x.shape[-2:]
        means = [branch(F.adaptive_avg_pool2d(x, n)) for n, branch in zip(self.bins, self.branches, strict=True)]
        stretched = [F.interpolate(mean, size=size, mode="bilinear", align_corners=False) for mean in means]
        return self.join(torch.cat([x, *stretched], 1))
