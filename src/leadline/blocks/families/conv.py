"""Convolutions in two dimensions."""

from __future__ import annotations

from torch import nn

from leadline.blocks.adapters import First
from leadline.blocks.block import Block
from leadline.nn.conv import ConvBN
from leadline.nn.deconv import Deconvolution, ResizeConv
from leadline.nn.deformable import DeformableConv2d
from leadline.nn.dilated import ASPP, HybridDilated
from leadline.nn.partial import PartialConv2d
from leadline.nn.separable import DepthwiseSeparable, FactorisedConv

BLOCKS = [
    Block("conv-1x1", "conv", lambda c: ConvBN(c, c, kernel=1), lambda c, h, w: c * c * h * w, "Lin et al., ICLR 2014"),
    Block("conv-3x3", "conv", lambda c: ConvBN(c, c), lambda c, h, w: 9 * c * c * h * w, "LeCun et al., 1989"),
    Block(
        "conv-3x3-stride2", "conv", lambda c: ConvBN(c, c, stride=2),
        lambda c, h, w: 9 * c * c * -(-h // 2) * -(-w // 2), "LeCun et al., 1989",
    ),
    Block(
        "grouped", "conv", lambda c: ConvBN(c, c, groups=4), lambda c, h, w: 9 * c * c / 4 * h * w,
        "Krizhevsky et al., NeurIPS 2012; Xie et al. (ResNeXt), CVPR 2017",
    ),
    Block(
        "dilated", "conv", lambda c: ConvBN(c, c, dilation=2), lambda c, h, w: 9 * c * c * h * w,
        "Yu and Koltun, ICLR 2016",
    ),
    Block(
        "hybrid-dilated", "conv", HybridDilated, lambda c, h, w: 27 * c * c * h * w, "Wang et al., WACV 2018"
    ),
    Block(
        "aspp", "conv", lambda c: ASPP(c, c, rates=(2, 4, 6)),
        lambda c, h, w: (28 + 5) * c * c * h * w + c * c, "Chen et al. (DeepLab v3), 2017",
    ),
    Block(
        "separable", "conv", lambda c: DepthwiseSeparable(c, c), lambda c, h, w: (9 * c + c * c) * h * w,
        "Howard et al. (MobileNets), 2017",
    ),
    Block(
        "factorised", "conv", lambda c: FactorisedConv(c, c), lambda c, h, w: 6 * c * c * h * w,
        "Romera et al. (ERFNet), 2017",
    ),
    Block(
        "deformable-v1", "conv", lambda c: DeformableConv2d(c, c, masks=False),
        lambda c, h, w: 9 * c * (c + 18) * h * w, "Dai et al., ICCV 2017",
    ),
    Block(
        "deformable-v2", "conv", lambda c: DeformableConv2d(c, c),
        lambda c, h, w: 9 * c * (c + 27) * h * w, "Zhu et al., CVPR 2019",
    ),
    Block(
        "partial", "conv", lambda c: First(PartialConv2d(c, c)), lambda c, h, w: 9 * (c * c + 1) * h * w,
        "Liu et al., ECCV 2018; Uhrig et al., 3DV 2017", inputs=("map", "mask"),
    ),
    Block(
        "deconvolution", "conv", lambda c: Deconvolution(c, c), lambda c, h, w: 16 * c * c * h * w,
        "Long et al., CVPR 2015",
    ),
    Block(
        "deconvolution-k3", "conv", lambda c: Deconvolution(c, c, kernel=3), lambda c, h, w: 9 * c * c * h * w,
        "Long et al., CVPR 2015",
    ),
    Block(
        "resize-conv", "conv", lambda c: ResizeConv(c, c), lambda c, h, w: 36 * c * c * h * w,
        "Odena et al., Distill 2016",
    ),
    Block(
        "conv-7x7-depthwise", "conv", lambda c: nn.Conv2d(c, c, 7, padding=3, groups=c),
        lambda c, h, w: 49 * c * h * w, "Liu et al. (ConvNeXt), CVPR 2022",
    ),
]  # fmt: skip
