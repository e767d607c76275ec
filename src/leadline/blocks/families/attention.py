"""Attention."""

from __future__ import annotations

from leadline.blocks.block import Block
from leadline.nn.attention.cbam import CBAM
from leadline.nn.attention.multi_head import Attention, EpipolarAttention
from leadline.nn.attention.non_local import NonLocal
from leadline.nn.attention.squeeze_excitation import SqueezeExcitation
from leadline.nn.attention.windowed import WindowedAttention


def _windowed(c: int, h: int, w: int) -> float:
    return -(-h // 4) * -(-w // 4) * 16 * (4 * c * c + 2 * c * 16)


def _shifted(c: int, h: int, w: int) -> float:
    return _windowed(c, h + 2, w + 2)


BLOCKS = [
    Block("squeeze-excitation", "attention", SqueezeExcitation, lambda c, h, w: c * c / 2, "Hu et al., CVPR 2018"),
    Block("cbam", "attention", CBAM, lambda c, h, w: c * c + 98 * h * w, "Woo et al., ECCV 2018"),
    Block(
        "non-local", "attention", NonLocal,
        lambda c, h, w: 2 * c * c * h * w + h * w * (h // 2) * (w // 2) * c, "Wang et al., CVPR 2018", multiple=2,
    ),
    Block(
        "self-attention", "attention", lambda c: Attention(c, 4),
        lambda c, h, w: 4 * c * c * h * w + 2 * c * (h * w) ** 2, "Vaswani et al., NeurIPS 2017", inputs=("tokens",),
    ),
    Block(
        "cross-attention", "attention", lambda c: Attention(c, 4),
        lambda c, h, w: 4 * c * c * h * w + 2 * c * (h * w) ** 2, "Vaswani et al., NeurIPS 2017",
        inputs=("tokens", "tokens"),
    ),
    Block(
        "epipolar-attention", "attention", EpipolarAttention,
        lambda c, h, w: (4 * c * c + 2 * c * w) * h * w, "Li et al. (STTR), ICCV 2021", inputs=("map", "map"),
    ),
    Block(
        "windowed-attention", "attention", lambda c: WindowedAttention(c, 4, side=4), _windowed,
        "Liu et al. (Swin), ICCV 2021",
    ),
    Block(
        "shifted-windows", "attention", lambda c: WindowedAttention(c, 4, side=4, shift=True), _shifted,
        "Liu et al. (Swin), ICCV 2021",
    ),
]  # fmt: skip
