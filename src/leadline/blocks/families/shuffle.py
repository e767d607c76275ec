"""Channels and pixels that change places."""

from __future__ import annotations

from leadline.blocks.adapters import Call
from leadline.blocks.block import Block
from leadline.nn.shuffle import PixelShuffleUp, PixelUnshuffleDown, ShuffleUnitV1, ShuffleUnitV2, channel_shuffle


def _down(c: int, h: int, w: int) -> float:
    n, fine, coarse = c / 2, h * w, -(-h // 2) * -(-w // 2)
    return c * n * fine + (c * (9 + n) + n * (9 + n)) * coarse


BLOCKS = [
    Block(
        "channel-shuffle", "shuffle", lambda c: Call(lambda x: channel_shuffle(x, 4)), lambda c, h, w: 0,
        "Zhang et al. (ShuffleNet), CVPR 2018",
    ),
    Block(
        "shuffle-v1", "shuffle", ShuffleUnitV1, lambda c, h, w: c / 4 * (c + 9) * h * w,
        "Zhang et al. (ShuffleNet), CVPR 2018",
    ),
    Block(
        "shuffle-v2", "shuffle", ShuffleUnitV2, lambda c, h, w: c / 2 * (c + 9) * h * w,
        "Ma et al. (ShuffleNet V2), ECCV 2018",
    ),
    Block(
        "shuffle-v2-down", "shuffle", lambda c: ShuffleUnitV2(c, c, stride=2), _down,
        "Ma et al. (ShuffleNet V2), ECCV 2018",
    ),
    Block(
        "pixel-shuffle", "shuffle", lambda c: PixelShuffleUp(c, c), lambda c, h, w: 36 * c * c * h * w,
        "Shi et al., CVPR 2016",
    ),
    Block(
        "pixel-unshuffle", "shuffle", lambda c: PixelUnshuffleDown(c, c), lambda c, h, w: 9 * c * c * h * w,
        "Ridnik et al. (TResNet), WACV 2021", multiple=2,
    ),
]  # fmt: skip
