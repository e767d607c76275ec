"""Convolutions over a cost volume."""

from __future__ import annotations

from leadline.blocks.block import PLANES, Block
from leadline.nn.conv3d import Conv3dBN, Deconvolution3d, FactorisedConv3d, ResizeConv3d, SeparableConv3d
from leadline.nn.plane_conv import PlaneConv

BLOCKS = [
    Block(
        "conv3d", "conv3d", lambda c: Conv3dBN(c, c), lambda c, h, w: 27 * c * c * PLANES * h * w,
        "Kendall et al. (GC-Net), ICCV 2017", inputs=("volume",),
    ),
    Block(
        "conv3d-separable", "conv3d", lambda c: SeparableConv3d(c, c),
        lambda c, h, w: c * (27 + c) * PLANES * h * w, "Rahim et al., ICIP 2021", inputs=("volume",),
    ),
    Block(
        "conv3d-factorised", "conv3d", lambda c: FactorisedConv3d(c, c),
        lambda c, h, w: 12 * c * c * PLANES * h * w, "Qiu et al. (P3D), ICCV 2017", inputs=("volume",),
    ),
    Block(
        "deconvolution-3d", "conv3d", lambda c: Deconvolution3d(c, c), lambda c, h, w: 64 * c * c * PLANES * h * w,
        "Kendall et al. (GC-Net), ICCV 2017", inputs=("volume",),
    ),
    Block(
        "resize-conv-3d", "conv3d", lambda c: ResizeConv3d(c, c), lambda c, h, w: 8 * 27 * c * c * PLANES * h * w,
        "Odena et al., Distill 2016, in three dimensions", inputs=("volume",),
    ),
    Block(
        "plane-conv", "conv3d", lambda c: PlaneConv(PLANES, c, c), lambda c, h, w: 27 * c * c * PLANES * h * w,
        "a 3-D convolution in 2-D operators", inputs=("planes",),
    ),
]  # fmt: skip
