"""Doubling a map's size with learned weights: transposed convolution, and its twin without a checkerboard."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Deconvolution(nn.ConvTranspose2d):
    """Transposed convolution that doubles h and w: every input pixel adds its k x k stamp to the output.

    Where k is no multiple of 2, outputs get unequally many stamps, and a checkerboard of period 2 shows at
    initialisation and often after training (see `contributions`). k = 4 has 4 stamps everywhere; its weights can
    still learn a checkerboard, those of `ResizeConv` cannot.

    Shapes: (b, in, h, w) -> (b, out, 2 h, 2 w). MACs: in * out * k^2 per input pixel.
    Source: Long et al., "Fully Convolutional Networks", CVPR 2015; Odena et al., "Deconvolution and Checkerboard
    Artifacts", Distill 2016.

    Args:
        kernel: k, 2 or more.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 4, bias: bool = True):
        padding, extra = (kernel - 1) // 2, kernel % 2
        super().__init__(in_channels, out_channels, kernel, 2, padding, output_padding=extra, bias=bias)


class ResizeConv(nn.Module):
    """Bilinear doubling, then a k x k convolution: all outputs are made alike.

    Shapes: (b, in, h, w) -> (b, out, 2 h, 2 w). MACs: 4 * in * out * k^2 per input pixel.
    Source: Odena et al., Distill 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, bias: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co h2 w2"]:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))


def contributions(kernel: int, stride: int, count: int) -> Float[Tensor, " n"]:
    """How many of `count` inputs in a row add to each output of a transposed convolution, without padding.

    Away from the ends it is kernel / stride where that is whole; else it alternates: the checkerboard.
    """
    return F.conv_transpose1d(torch.ones(1, 1, count), torch.ones(1, 1, kernel), stride=stride)[0, 0]
