"""Convolutions taken apart: along the channels, and along rows and columns."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN


class DepthwiseSeparable(nn.Sequential):
    """A k x k convolution of each channel on its own, then a 1x1 that mixes them; BatchNorm and ReLU after each.

    Shapes: (b, in, h, w) -> (b, out, ceil(h / stride), ceil(w / stride)). MACs: in * (k^2 + out) per output pixel.
    Source: Howard et al., "MobileNets", 2017.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, relu: bool = True):
        super().__init__(
            ConvBN(in_channels, in_channels, kernel, stride, groups=in_channels),
            ConvBN(in_channels, out_channels, kernel=1, relu=relu),
        )


class InvertedResidual(nn.Module):
    """1x1 to `expand` times the channels, depthwise 3x3, 1x1 back without ReLU; beside an identity where shapes agree.

    The wide part is where it computes, the narrow one what is stored: little memory for much capacity.

    Shapes: (b, in, h, w) -> (b, out, ceil(h / stride), ceil(w / stride)).
    MACs: with e = expand * in: in * e per input pixel, e * (9 + out) per output pixel.
    Source: Sandler et al., "MobileNetV2", CVPR 2018.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, expand: int = 4):
        super().__init__()
        wide = expand * in_channels
        self.layers = nn.Sequential(
            ConvBN(in_channels, wide, kernel=1),
            ConvBN(wide, wide, stride=stride, groups=wide),
            ConvBN(wide, out_channels, kernel=1, relu=False),
        )
        self.beside = stride == 1 and in_channels == out_channels

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co ho wo"]:
        return x + self.layers(x) if self.beside else self.layers(x)


class FactorisedConv(nn.Sequential):
    """A k x 1 convolution, then 1 x k: the reach of k x k; BatchNorm after both, ReLU between and after.

    Shapes: (b, in, h, w) -> (b, out, h, w). MACs: k * out * (in + out) per pixel.
    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016; Romera et al., "ERFNet", 2017.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, relu: bool = True):
        reach = kernel // 2
        super().__init__(
            nn.Conv2d(in_channels, out_channels, (kernel, 1), padding=(reach, 0), bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, (1, kernel), padding=(0, reach), bias=False),
            nn.BatchNorm2d(out_channels),
            *([nn.ReLU(inplace=True)] if relu else []),
        )
