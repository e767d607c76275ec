"""Channel shuffle and the units built on it; pixel shuffle as a way up and down."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN


def channel_shuffle(x: Float[Tensor, "b c h w"], groups: int) -> Float[Tensor, "b c h w"]:
    """Deals channels from g consecutive groups round: channel i of group g becomes channel i * groups + g.

    Source: Zhang et al., "ShuffleNet", CVPR 2018.
    """
    b, c, h, w = x.shape
    # rows of the image ride along with the channels, so that no tensor has more than 4 axes
    return x.reshape(b, groups, c // groups, h * w).transpose(1, 2).reshape(b, c, h, w)


class ShuffledGroups(nn.Module):
    """A 3x3 convolution in groups, then a channel shuffle, so that the next one's groups hear of all of them.

    Shapes: (b, in, h, w) -> (b, out, ceil(h / stride), ceil(w / stride)). MACs: 9 * in * out / groups per output pixel.
    Source: Krizhevsky et al., NeurIPS 2012 (groups); Zhang et al., "ShuffleNet", CVPR 2018 (the shuffle between).
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int = 4, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False)

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co ho wo"]:
        return channel_shuffle(self.conv(x), self.conv.groups)


class ShuffleUnitV1(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1, beside an identity; ReLU after the sum.

    Shapes: (b, c, h, w) -> the same; c a multiple of 4 * groups.
    MACs: with n = c / 4: n * (2 * c / groups + 9) per pixel.
    Source: Zhang et al., "ShuffleNet", CVPR 2018 (figure 2 b).
    """

    def __init__(self, channels: int, groups: int = 2):
        super().__init__()
        self.groups, narrow = groups, channels // 4
        self.squeeze = ConvBN(channels, narrow, kernel=1, groups=groups)
        self.spatial = ConvBN(narrow, narrow, groups=narrow, relu=False)
        self.widen = ConvBN(narrow, channels, kernel=1, groups=groups, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        shuffled = channel_shuffle(self.squeeze(x), self.groups)
        return self.relu(x + self.widen(self.spatial(shuffled)))


class ShuffleUnitV2(nn.Module):
    """Half of the channels pass, the other half goes through 1x1, depthwise 3x3, 1x1; then both are shuffled.

    With stride 2 both halves are computed from all channels, and h and w are halved.

    Shapes: (b, c, h, w) -> (b, out, ceil(h / stride), ceil(w / stride)); out = c for stride 1; c and out even.
    MACs: stride 1, n = c / 2: n * (2 * n + 9) per pixel. Stride 2, n = out / 2: c * n per input pixel and
    c * (9 + n) + n * (9 + n) per output pixel.
    Source: Ma et al., "ShuffleNet V2", ECCV 2018.
    """

    def __init__(self, channels: int, out_channels: int | None = None, stride: int = 1):
        super().__init__()
        half = (out_channels or channels) // 2
        enter = channels if stride > 1 else half
        self.passing = None
        if stride > 1:
            self.passing = nn.Sequential(
                ConvBN(channels, channels, stride=stride, groups=channels, relu=False), ConvBN(channels, half, kernel=1)
            )
        self.branch = nn.Sequential(
            ConvBN(enter, half, kernel=1),
            ConvBN(half, half, stride=stride, groups=half, relu=False),
            ConvBN(half, half, kernel=1),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b co ho wo"]:
        passing, worked = x.chunk(2, 1) if self.passing is None else (self.passing(x), x)
        return channel_shuffle(torch.cat([passing, self.branch(worked)], 1), 2)


class PixelShuffleUp(nn.Sequential):
    """A 3x3 convolution to 4 times the channels, which become the four pixels of each 2x2 (sub-pixel convolution).

    Shapes: (b, in, h, w) -> (b, out, 2 h, 2 w). MACs: 36 * in * out per input pixel.
    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", CVPR 2016. The four are begun equal (Aitken et al., 2017), so that no checkerboard is there at
    first.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        conv = nn.Conv2d(in_channels, 4 * out_channels, 3, padding=1, bias=bias)
        with torch.no_grad():
            conv.weight.copy_(conv.weight[::4].repeat_interleave(4, 0))
            if conv.bias is not None:
                conv.bias.copy_(conv.bias[::4].repeat_interleave(4, 0))
        super().__init__(conv, nn.PixelShuffle(2))


class PixelUnshuffleDown(nn.Sequential):
    """The four pixels of each 2x2 become channels, then a 3x3 convolution: halves h and w, losing nothing.

    Shapes: (b, in, h, w) -> (b, out, h / 2, w / 2); h and w even. MACs: 36 * in * out per output pixel.
    Source: the inverse of Shi et al., CVPR 2016; as a way down: Ridnik et al., "TResNet", WACV 2021 (space to depth).
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(nn.PixelUnshuffle(2), nn.Conv2d(4 * in_channels, out_channels, 3, padding=1, bias=bias))
