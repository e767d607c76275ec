"""Ways to halve and to double a map."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN
from leadline.nn.deconv import Deconvolution, ResizeConv
from leadline.nn.pooling.blur import BlurPool
from leadline.nn.pooling.generalized_mean import GeneralizedMean
from leadline.nn.pooling.soft import SoftPool, StochasticPool
from leadline.nn.pooling.unpooling import MaxPool, MaxUnpool
from leadline.nn.shuffle import PixelShuffleUp, ShuffleUnitV2
from leadline.nn.units.parts import Parts


def halving(kind: str, in_channels: int, out_channels: int, relu: bool) -> nn.Module:
    """Pooling of a kind, then a 3x3 convolution; for even h and w."""
    if kind == "shuffle-v2":
        even = out_channels + out_channels % 2
        unit = ShuffleUnitV2(in_channels, even, stride=2)
        return unit if relu and even == out_channels else nn.Sequential(unit, ConvBN(even, out_channels, 1, relu=relu))
    pools = {
        "max": lambda: nn.MaxPool2d(2),
        "average": lambda: nn.AvgPool2d(2),
        "blur": lambda: BlurPool(in_channels),
        "soft": lambda: SoftPool(2),
        "stochastic": lambda: StochasticPool(2),
        "generalised-mean": lambda: GeneralizedMean(2),
        "unshuffle": lambda: nn.PixelUnshuffle(2),
    }
    channels = 4 * in_channels if kind == "unshuffle" else in_channels
    return nn.Sequential(pools[kind](), ConvBN(channels, out_channels, relu=relu))


class Bilinear(nn.Module):
    """Doubles a map by interpolation."""

    def forward(self, x: Float[Tensor, "b c h w"], fine: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Learned(nn.Module):
    """Doubles a map with weights, and BatchNorm after them."""

    def __init__(self, up: nn.Module, channels: int):
        super().__init__()
        self.up, self.norm = up, nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"], fine: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
        return self.norm(self.up(x))


class Unpooled(nn.Module):
    """Puts each value where the finer map, which it will be added to, has its maximum of four."""

    def __init__(self):
        super().__init__()
        self.pool, self.unpool = MaxPool(), MaxUnpool()

    def forward(self, x: Float[Tensor, "b c h w"], fine: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
        return self.unpool(x, self.pool(fine)[1], fine)


def doubling(parts: Parts, channels: int) -> nn.Module:
    """`doubling(x, fine)` of the kind `parts.up`: x at the size of `fine`, the map that it is going to be added to."""
    if parts.up == "bilinear":
        return Bilinear()
    if parts.up == "unpool":
        return Unpooled()
    kinds = {"deconvolution": Deconvolution, "resize-conv": ResizeConv, "pixel-shuffle": PixelShuffleUp}
    return Learned(kinds[parts.up](channels, channels, bias=False), channels)
