"""Convolutions by kind, with BatchNorm and ReLU."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN
from leadline.nn.deformable import DeformableConv2d
from leadline.nn.partial import PartialConv2d
from leadline.nn.quantize.binary import BinaryConv2d
from leadline.nn.separable import DepthwiseSeparable, FactorisedConv
from leadline.nn.shuffle import ShuffledGroups
from leadline.nn.units.parts import Parts
from leadline.nn.units.scale import halving

UNSTRIDED = ("factorised", "dilated", "binary")  # kinds whose strided convolutions are plain ones


class MaskedEdge(PartialConv2d):
    """A partial convolution of an image all of which is known: what lies beyond its edge is not."""

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co ho wo"]:
        return super().forward(x)[0]


def conv_unit(parts: Parts, in_channels: int, out_channels: int, stride: int = 1, relu: bool = True) -> nn.Module:
    """A 3x3 convolution of the kind `parts.conv`, BatchNorm, and ReLU unless told otherwise.

    With stride 2 the map is halved in the way of `parts.down`: "stride", or pooling first and a convolution after it
    (ShuffleNet's unit halves by itself). Kinds without a strided form take a plain convolution there.
    """
    if stride == 2 and parts.down != "stride":
        return halving(parts.down, in_channels, out_channels, relu)
    kind = "plain" if stride > 1 and parts.conv in UNSTRIDED else parts.conv
    if kind == "plain":
        return ConvBN(in_channels, out_channels, stride=stride, relu=relu)
    if kind == "dilated":
        return ConvBN(in_channels, out_channels, relu=relu, dilation=2)
    if kind == "separable":
        return DepthwiseSeparable(in_channels, out_channels, stride=stride, relu=relu)
    if kind == "factorised":
        return FactorisedConv(in_channels, out_channels, relu=relu)
    if kind == "grouped":
        conv: nn.Module = ShuffledGroups(in_channels, out_channels, math.gcd(in_channels, out_channels, 4), stride)
    elif kind == "partial":
        conv = MaskedEdge(in_channels, out_channels, stride=stride, bias=False)
    elif kind == "binary":
        conv = BinaryConv2d(in_channels, out_channels, 3, padding=1)
    else:
        conv = DeformableConv2d(in_channels, out_channels, stride=stride, masks=kind == "deformable", bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), *([nn.ReLU(inplace=True)] if relu else []))
