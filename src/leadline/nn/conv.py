"""Convolution with its normalisation, and the residual unit made of two."""

from jaxtyping import Float
from torch import Tensor, nn


class ConvBN(nn.Sequential):
    """3x3 (or k x k) convolution, BatchNorm, and ReLU unless told otherwise.

    Shapes: (b, in, h, w) -> (b, out, ceil(h / stride), ceil(w / stride)).
    MACs: in * out * k^2 / groups per output pixel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        relu: bool = True,
        dilation: int = 1,
        groups: int = 1,
    ):
        padding = dilation * (kernel // 2)
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        if relu:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


def silent(branch: ConvBN) -> ConvBN:
    """The same with scales of 0: a branch that adds nothing until it has learned something worth adding.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1.
    """
    norm = branch[1]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    return branch


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity, ReLU after the sum (He et al., "Deep Residual Learning", CVPR 2016).

    Shapes: (b, c, h, w) -> the same. MACs: 18 * c^2 per pixel.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.first = ConvBN(channels, channels)
        self.second = ConvBN(channels, channels, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.relu(x + self.second(self.first(x)))
