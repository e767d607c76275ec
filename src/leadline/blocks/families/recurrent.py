"""Recurrent blocks; those on feature maps take one step here."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.blocks.block import Block
from leadline.nn.recurrent import ConvGRU, ConvLSTM, RowRecurrent, SeparableConvGRU


class LSTMStep(nn.Module):
    """One step of a ConvLSTM from the same output and memory; gives both, joined."""

    def __init__(self, channels: int):
        super().__init__()
        self.cell = ConvLSTM(channels, channels)

    def forward(self, x: Float[Tensor, "b c h w"], state: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        return torch.cat(self.cell(x, (state, torch.tanh(state))), 1)


def _row(gates: int):
    return lambda c, h, w: 2 * gates * 2 * c * c * h * w


BLOCKS = [
    Block("rnn-rows", "recurrent", lambda c: RowRecurrent(c, c, "rnn"), _row(1), "Elman, 1990; Visin et al., 2015"),
    Block(
        "gru-rows", "recurrent", lambda c: RowRecurrent(c, c, "gru"), _row(3), "Cho et al., 2014; Visin et al., 2015"
    ),
    Block(
        "lstm-rows", "recurrent", lambda c: RowRecurrent(c, c, "lstm"), _row(4),
        "Hochreiter and Schmidhuber, 1997; Visin et al., 2015",
    ),
    Block(
        "conv-gru", "recurrent", lambda c: ConvGRU(c, c), lambda c, h, w: 54 * c * c * h * w,
        "Ballas et al., ICLR 2016", inputs=("map", "map"),
    ),
    Block(
        "separable-conv-gru", "recurrent", lambda c: SeparableConvGRU(c, c), lambda c, h, w: 60 * c * c * h * w,
        "Teed and Deng (RAFT), ECCV 2020", inputs=("map", "map"),
    ),
    Block(
        "conv-lstm", "recurrent", LSTMStep, lambda c, h, w: 72 * c * c * h * w, "Shi et al., NeurIPS 2015",
        inputs=("map", "map"),
    ),
]  # fmt: skip
