"""Residual units by kind, with their dropout."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import Residual
from leadline.nn.dilated import HybridDilated
from leadline.nn.dropout import DropBlock, StochasticDepth
from leadline.nn.quantize.binary import BinaryResidual
from leadline.nn.residual import Bottleneck, PreActivation
from leadline.nn.separable import InvertedResidual
from leadline.nn.shuffle import ShuffleUnitV1, ShuffleUnitV2
from leadline.nn.units.convolution import conv_unit
from leadline.nn.units.parts import Parts


class ResidualOf(nn.Module):
    """`nn.conv.Residual` with convolutions of a kind."""

    def __init__(self, parts: Parts, channels: int):
        super().__init__()
        self.first = conv_unit(parts, channels, channels)
        self.second = conv_unit(parts, channels, channels, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.relu(x + self.second(self.first(x)))


class Beside(nn.Module):
    """x + what a module makes of it."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.module(x)


class Skippable(nn.Module):
    """A residual unit that is left out for a sample now and then while training."""

    def __init__(self, unit: nn.Module, p: float):
        super().__init__()
        self.unit, self.drop = unit, StochasticDepth(p)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.drop(self.unit(x) - x) if self.training else self.unit(x)


def residual_unit(parts: Parts, channels: int) -> nn.Module:
    """A unit of the kind `parts.residual` that keeps the shape, with dropout of the kind `parts.dropout`."""
    unit = _unit(parts, channels)
    if parts.dropout == "none":
        return unit
    if parts.dropout == "depth":
        return Skippable(unit, parts.drop)
    kinds = {"element": nn.Dropout, "spatial": nn.Dropout2d, "block": DropBlock}
    return nn.Sequential(unit, kinds[parts.dropout](parts.drop))


def _unit(parts: Parts, channels: int) -> nn.Module:
    if parts.residual == "basic":
        return Residual(channels) if parts.conv == "plain" else ResidualOf(parts, channels)
    kinds = {
        "bottleneck": lambda: Bottleneck(channels),
        "pre-activation": lambda: PreActivation(channels),
        "inverted": lambda: InvertedResidual(channels, channels),
        "shuffle-v1": lambda: ShuffleUnitV1(channels),
        "shuffle-v2": lambda: ShuffleUnitV2(channels),
        "dilated": lambda: Beside(HybridDilated(channels)),
        "binary": lambda: BinaryResidual(channels),
    }
    return kinds[parts.residual]()
