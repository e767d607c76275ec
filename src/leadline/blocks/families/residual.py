"""Residual units."""

from __future__ import annotations

from leadline.blocks.block import Block
from leadline.nn.conv import Residual
from leadline.nn.residual import Bottleneck, PreActivation
from leadline.nn.separable import InvertedResidual

BLOCKS = [
    Block("residual", "residual", Residual, lambda c, h, w: 18 * c * c * h * w, "He et al., CVPR 2016"),
    Block("bottleneck", "residual", Bottleneck, lambda c, h, w: c / 2 * (2 * c + 9 * c / 2) * h * w,
          "He et al., CVPR 2016"),
    Block("pre-activation", "residual", PreActivation, lambda c, h, w: 18 * c * c * h * w, "He et al., ECCV 2016"),
    Block(
        "inverted", "residual", lambda c: InvertedResidual(c, c), lambda c, h, w: 4 * c * (2 * c + 9) * h * w,
        "Sandler et al. (MobileNetV2), CVPR 2018",
    ),
]  # fmt: skip
