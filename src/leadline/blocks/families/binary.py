"""Convolutions of one bit."""

from __future__ import annotations

from leadline.blocks.block import Block
from leadline.nn.quantize.binary import BinaryConv2d, BinaryResidual

BLOCKS = [
    Block(
        "binary-conv", "binary", lambda c: BinaryConv2d(c, c, 3, padding=1), lambda c, h, w: 9 * c * c * h * w,
        "Rastegari et al. (XNOR-Net), ECCV 2016", smooth=False,
    ),
    Block(
        "binary-residual", "binary", BinaryResidual, lambda c, h, w: 18 * c * c * h * w,
        "Liu et al. (Bi-Real Net), ECCV 2018", smooth=False,
    ),
]  # fmt: skip
