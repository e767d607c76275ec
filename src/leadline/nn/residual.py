"""Residual units beside the basic one (`nn.conv.Residual`)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN


class Bottleneck(nn.Module):
    """1x1 to c / squeeze channels, 3x3, 1x1 back, beside an identity; ReLU after the sum.

    Shapes: (b, c, h, w) -> the same. MACs: with n = c / squeeze: n * (2 * c + 9 * n) per pixel.
    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(self, channels: int, squeeze: int = 2):
        super().__init__()
        narrow = max(channels // squeeze, 1)
        self.layers = nn.Sequential(
            ConvBN(channels, narrow, kernel=1), ConvBN(narrow, narrow), ConvBN(narrow, channels, kernel=1, relu=False)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.relu(x + self.layers(x))


class PreActivation(nn.Module):
    """BatchNorm and ReLU before each of two 3x3 convolutions; nothing after the sum, so identities add up untouched.

    Shapes: (b, c, h, w) -> the same. MACs: 18 * c^2 per pixel.
    Source: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.layers(x)
