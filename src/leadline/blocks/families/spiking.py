"""Spiking neurons; the example has its time steps in the batch."""

from __future__ import annotations

from leadline.blocks.block import STEPS, Block
from leadline.nn.spiking import IntegrateAndFire, LeakyIntegrateAndFire

BLOCKS = [
    Block(
        "leaky-integrate-and-fire", "spiking", lambda c: LeakyIntegrateAndFire(STEPS), lambda c, h, w: 0,
        "Eshraghian et al. (snnTorch), Proc. IEEE 2023", inputs=("steps",), smooth=False,
    ),
    Block(
        "integrate-and-fire", "spiking", lambda c: IntegrateAndFire(STEPS), lambda c, h, w: 0,
        "Rueckauer et al., 2017; Bu et al., ICLR 2022", inputs=("steps",), smooth=False,
    ),
]  # fmt: skip
