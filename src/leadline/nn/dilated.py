"""Dilated (atrous) convolutions: far sight without more weights, and without holes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN


class HybridDilated(nn.Sequential):
    """3x3 convolutions of different dilation one after the other, with BatchNorm and ReLU.

    Equal rates r > 1 look at a grid of every r-th pixel alone and lose what lies between ("gridding"). Rates without
    a common divisor, as 1, 2, 5, together see every pixel within their reach; see `seen`.

    Shapes: (b, c, h, w) -> the same. MACs: 9 * c^2 * len(rates) per pixel. Reach: 1 + 2 * sum(rates) px.
    Source: Wang et al., "Understanding Convolution for Semantic Segmentation" (hybrid dilated convolution), WACV 2018.
    """

    def __init__(self, channels: int, rates: Sequence[int] = (1, 2, 5)):
        super().__init__(*(ConvBN(channels, channels, dilation=rate) for rate in rates))


def seen(rates: Sequence[int]) -> list[int]:
    """The offsets along one axis, px, that 3-tap convolutions of these rates one after the other look at."""
    offsets = {0}
    for rate in rates:
        offsets = {offset + tap * rate for offset in offsets for tap in (-1, 0, 1)}
    return sorted(offsets)


class ASPP(nn.Module):
    """Atrous spatial pyramid: the same map through 1x1, three dilated 3x3 and the mean of the whole, joined by 1x1.

    Shapes: (b, in, h, w) -> (b, out, h, w), any size.
    MACs: in * out * (1 + 9 * n) + (n + 2) * out^2 per pixel for n rates, and in * out for the mean.
    Source: Chen et al., "Rethinking Atrous Convolution" (DeepLab v3), 2017. The mean's branch has no BatchNorm, which
    a batch of one image could not train.

    Args:
        rates: dilations, px of the map. A rate near the map's size leaves only the kernel's middle inside.
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int] = (6, 12, 18)):
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvBN(in_channels, out_channels, kernel=1)]
            + [ConvBN(in_channels, out_channels, dilation=rate) for rate in rates]
        )
        self.whole = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.ReLU())
        self.join = ConvBN((len(rates) + 2) * out_channels, out_channels, kernel=1)

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co h w"]:
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.join(torch.cat([*(branch(x) for branch in self.branches), whole], 1))
