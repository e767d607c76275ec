"""Blocks that depth alone needs: cost volumes, looking them up, reading a disparity from them, upsampling, warping."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.blocks.adapters import Call
from leadline.blocks.block import PLANES, Block
from leadline.models._interlaced_volume import interlaced_volume
from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.correlation import correlation_volume
from leadline.nn.lookup import (
    all_pairs_correlation,
    correlation_pyramid,
    look_up,
    look_up_row,
    row_correlation,
    row_pyramid,
)
from leadline.nn.regression import local_soft_argmin, soft_argmin
from leadline.nn.uncertainty import disparity_entropy, disparity_spread
from leadline.nn.upsampled_soft_argmin import upsampled_soft_argmin
from leadline.nn.volumes import concatenation_volume, groupwise_correlation
from leadline.nn.warp import warp_by_flow, warp_to_left

LEVELS, RADIUS = 2, 2


def _none(c: int, h: int, w: int) -> int:
    return 0


def _products(c: int, h: int, w: int) -> int:
    return c * PLANES * h * w


def _look_up(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    h, w = flow.shape[-2:]
    rows, columns = torch.arange(h, dtype=flow.dtype), torch.arange(w, dtype=flow.dtype)
    grid = torch.stack([columns.expand(h, w), rows[:, None].expand(h, w)])
    return look_up(correlation_pyramid(all_pairs_correlation(first, second), LEVELS), grid + flow, RADIUS)


def _look_up_row(left: Tensor, right: Tensor, disparity: Tensor) -> Tensor:
    columns = torch.arange(disparity.shape[-1], dtype=disparity.dtype) - disparity
    return look_up_row(row_pyramid(row_correlation(left, right), LEVELS), columns, RADIUS)


class InterlacedVolume(nn.Module):
    """MobileStereoNet-2D's volume with its learned stages, for PLANES disparities."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for enter, leave, deep in ((1, 16, 8), (16, 32, 4), (32, 16, 2)):
            conv = nn.Conv3d(enter, leave, (deep, 3, 3), (deep, 1, 1), (0, 1, 1))
            layers += [conv, nn.BatchNorm3d(leave), nn.ReLU(inplace=True)]
        self.stages = nn.Sequential(*layers)
        self.last = nn.Sequential(nn.Conv2d(16, 1, 1, bias=False), nn.BatchNorm2d(1), nn.ReLU(inplace=True))

    def forward(self, left: Float[Tensor, "b 32 h w"], right: Float[Tensor, "b 32 h w"]) -> Float[Tensor, "b p h w"]:
        return interlaced_volume(left, right, PLANES, self.stages, self.last)


BLOCKS = [
    Block(
        "correlation-volume", "depth", lambda c: Call(lambda x, y: correlation_volume(x, y, PLANES)), _products,
        "Mayer et al. (DispNet), CVPR 2016", inputs=("map", "map"), elementwise=True,
    ),
    Block(
        "grouped-correlation-volume", "depth", lambda c: Call(lambda x, y: correlation_volume(x, y, PLANES, 4)),
        _products, "Guo et al. (GwcNet), CVPR 2019", inputs=("map", "map"), elementwise=True,
    ),
    Block(
        "groupwise-correlation", "depth", lambda c: Call(lambda x, y: groupwise_correlation(x, y, PLANES, 4)),
        _products, "Guo et al. (GwcNet), CVPR 2019", inputs=("map", "map"), elementwise=True,
    ),
    Block(
        "concatenation-volume", "depth", lambda c: Call(lambda x, y: concatenation_volume(x, y, PLANES)), _none,
        "Kendall et al. (GC-Net), ICCV 2017", inputs=("map", "map"),
    ),
    Block(
        "interlaced-volume", "depth", lambda c: InterlacedVolume(), lambda c, h, w: 55312 * PLANES * h * w,
        "Shamsafar et al. (MobileStereoNet), WACV 2022", inputs=("wide", "wide"), counted=False,
    ),
    Block(
        "all-pairs-look-up", "depth", lambda c: Call(_look_up), lambda c, h, w: c * (h * w) ** 2,
        "Teed and Deng (RAFT), ECCV 2020", inputs=("map", "map", "flow"),
    ),
    Block(
        "row-look-up", "depth", lambda c: Call(_look_up_row), lambda c, h, w: c * h * w * w,
        "Lipson et al. (RAFT-Stereo), 3DV 2021", inputs=("map", "map", "disparity"),
    ),
    Block(
        "soft-argmin", "depth", lambda c: Call(lambda x: soft_argmin(x, 1.0)), _none,
        "Kendall et al. (GC-Net), ICCV 2017", inputs=("scores",),
    ),
    Block(
        "local-soft-argmin", "depth", lambda c: Call(lambda x: local_soft_argmin(x, 1.0)), _none,
        "Chen et al., ICCV 2019", inputs=("scores",),
    ),
    Block(
        "upsampled-soft-argmin", "depth", lambda c: Call(lambda x: upsampled_soft_argmin(x, 4 * PLANES, 4)), _none,
        "Kendall et al. (GC-Net), ICCV 2017", inputs=("scores",),
    ),
    Block(
        "disparity-spread", "depth", lambda c: Call(lambda x: disparity_spread(x, 1.0)), _none,
        "the second moment of soft-argmin", inputs=("scores",),
    ),
    Block(
        "disparity-entropy", "depth", lambda c: Call(disparity_entropy), _none, "Hu and Mordohai, TPAMI 2012",
        inputs=("scores",),
    ),
    Block(
        "convex-upsampling", "depth", lambda c: Call(lambda x, weights: convex_upsample(x, weights, 2)), _none,
        "Teed and Deng (RAFT), ECCV 2020", inputs=("disparity", "logits"),
    ),
    Block(
        "bilinear-upsampling", "depth", lambda c: torch.nn.Upsample(scale_factor=2, mode="bilinear"), _none,
        "the plain way to double a map",
    ),
    Block(
        "warp-by-disparity", "depth", lambda c: Call(warp_to_left), _none,
        "Jaderberg et al. (spatial transformers), NeurIPS 2015; Godard et al., CVPR 2017", inputs=("map", "disparity"),
    ),
    Block(
        "warp-by-flow", "depth", lambda c: Call(warp_by_flow), _none,
        "Jaderberg et al. (spatial transformers), NeurIPS 2015", inputs=("map", "flow"),
    ),
]  # fmt: skip
