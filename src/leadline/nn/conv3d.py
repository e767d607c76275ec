"""Convolutions over (disparity, row, column): plain, separable, factorised, and those that double the size."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Conv3dBN(nn.Sequential):
    """3x3x3 (or k x k x k) convolution, BatchNorm, and ReLU unless told otherwise.

    Shapes: (b, in, d, h, w) -> (b, out, d', h', w'), each ceil(. / stride).
    MACs: in * out * k^3 / groups per output voxel.
    Source: Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo Regression", ICCV 2017.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int, int] = 3,
        stride: int = 1,
        relu: bool = True,
        groups: int = 1,
    ):
        sides = (kernel, kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2, sides[2] // 2)
        super().__init__(
            nn.Conv3d(in_channels, out_channels, sides, stride, padding, groups=groups, bias=False),
            nn.BatchNorm3d(out_channels),
            *([nn.ReLU(inplace=True)] if relu else []),
        )


class SeparableConv3d(nn.Sequential):
    """A 3x3x3 convolution of each channel on its own, then 1x1x1; BatchNorm and ReLU after each.

    Shapes: as Conv3dBN. MACs: in * (27 + out) per output voxel.
    Source: Rahim et al., "Separable Convolutions for Optimizing 3D Stereo Networks", ICIP 2021; Shamsafar et al.,
    "MobileStereoNet", WACV 2022.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, relu: bool = True):
        super().__init__(
            Conv3dBN(in_channels, in_channels, stride=stride, groups=in_channels),
            Conv3dBN(in_channels, out_channels, kernel=1, relu=relu),
        )


class FactorisedConv3d(nn.Sequential):
    """3x3 over (row, column), then 3 along disparity; BatchNorm after both, ReLU between and after.

    Shapes: (b, in, d, h, w) -> (b, out, d, h, w). MACs: out * (9 * in + 3 * out) per voxel.
    Source: Qiu et al., "Pseudo-3D Residual Networks", ICCV 2017; Tran et al., "R(2+1)D", CVPR 2018.
    """

    def __init__(self, in_channels: int, out_channels: int, relu: bool = True):
        super().__init__(
            Conv3dBN(in_channels, out_channels, kernel=(1, 3, 3)),
            Conv3dBN(out_channels, out_channels, kernel=(3, 1, 1), relu=relu),
        )


class Deconvolution3d(nn.ConvTranspose3d):
    """Transposed convolution that doubles d, h and w, k = 4: 8 stamps on every voxel (see `nn.deconv`).

    Shapes: (b, in, d, h, w) -> (b, out, 2 d, 2 h, 2 w). MACs: 64 * in * out per input voxel.
    Source: as Conv3dBN.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)


class ResizeConv3d(nn.Module):
    """Trilinear doubling, then 3x3x3: the twin without a checkerboard, for targets without the transposed one.

    Shapes: as Deconvolution3d. MACs: 8 * 27 * in * out per input voxel.
    Source: Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016, in three dimensions.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, volume: Float[Tensor, "b ci d h w"]) -> Float[Tensor, "b co d2 h2 w2"]:
        return self.conv(F.interpolate(volume, scale_factor=2.0, mode="trilinear", align_corners=False))
