"""Recurrent cells on feature maps, and PyTorch's recurrent layers along the rows of an image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """A GRU whose matrix products are convolutions. The state is a map; None begins with zeros.

        z = sigmoid(conv([h, x]))      r = sigmoid(conv([h, x]))
        q = tanh(conv([r * h, x]))     h' = (1 - z) * h + z * q

    Shapes: (b, in, h, w), (b, hidden, h, w) -> (b, hidden, h, w).
    MACs: 3 * k^2 * (in + hidden) * hidden per pixel.
    Source: Ballas et al., "Delving Deeper into Convolutional Networks for Learning Video Representations", ICLR 2016;
    gate convention of RAFT (Teed and Deng, ECCV 2020).

    Args:
        kernel: k, odd, or (rows, columns).
    """

    def __init__(self, in_channels: int, hidden: int, kernel: int | tuple[int, int] = 3):
        super().__init__()
        self.hidden = hidden
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (rows // 2, columns // 2)
        self.gates = nn.Conv2d(in_channels + hidden, 2 * hidden, (rows, columns), padding=padding)  # update, reset
        self.candidate = nn.Conv2d(in_channels + hidden, hidden, (rows, columns), padding=padding)

    def forward(
        self, x: Float[Tensor, "b ci h w"], state: Float[Tensor, "b ch h w"] | None = None
    ) -> Float[Tensor, "b ch h w"]:
        if state is None:
            state = x.new_zeros(x.shape[0], self.hidden, *x.shape[-2:])
        update, reset = torch.sigmoid(self.gates(torch.cat([state, x], 1))).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([reset * state, x], 1)))
        return (1 - update) * state + update * candidate


class SeparableConvGRU(nn.Module):
    """A ConvGRU along rows (1 x k) followed by one along columns (k x 1), as in RAFT: the reach of k x k for less.

    Shapes: as ConvGRU. MACs: 6 * k * (in + hidden) * hidden per pixel.
    Source: Teed and Deng, "RAFT", ECCV 2020 (k = 5).
    """

    def __init__(self, in_channels: int, hidden: int, kernel: int = 5):
        super().__init__()
        self.along_rows = ConvGRU(in_channels, hidden, (1, kernel))
        self.along_columns = ConvGRU(in_channels, hidden, (kernel, 1))

    def forward(
        self, x: Float[Tensor, "b ci h w"], state: Float[Tensor, "b ch h w"] | None = None
    ) -> Float[Tensor, "b ch h w"]:
        return self.along_columns(x, self.along_rows(x, state))


class ConvLSTM(nn.Module):
    """An LSTM whose matrix products are convolutions, without peepholes. None begins with zeros.

        i, f, o = sigmoid(conv([h, x]))    g = tanh(conv([h, x]))
        c' = f * c + i * g                 h' = o * tanh(c')

    Shapes: (b, in, h, w), two of (b, hidden, h, w) -> output h' and memory c', (b, hidden, h, w) each.
    MACs: 4 * k^2 * (in + hidden) * hidden per pixel.
    Source: Shi et al., "Convolutional LSTM Network", NeurIPS 2015.
    """

    def __init__(self, in_channels: int, hidden: int, kernel: int = 3):
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(in_channels + hidden, 4 * hidden, kernel, padding=kernel // 2)  # in, forget, cell, out
        with torch.no_grad():  # a memory that is kept at first learns longer dependences (Jozefowicz et al., 2015)
            assert self.gates.bias is not None
            self.gates.bias[hidden : 2 * hidden] = 1.0

    def forward(
        self,
        x: Float[Tensor, "b ci h w"],
        state: tuple[Float[Tensor, "b ch h w"], Float[Tensor, "b ch h w"]] | None = None,
    ) -> tuple[Float[Tensor, "b ch h w"], Float[Tensor, "b ch h w"]]:
        if state is None:
            zeros = x.new_zeros(x.shape[0], self.hidden, *x.shape[-2:])
            state = (zeros, zeros)
        output, memory = state
        enter, forget, cell, leave = self.gates(torch.cat([output, x], 1)).chunk(4, 1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(cell)
        return torch.sigmoid(leave) * torch.tanh(memory), memory


class RowRecurrent(nn.Module):
    """PyTorch's RNN, LSTM or GRU along every row of a map, in both directions: along epipolar lines for stereo.

    Each row is one sequence of w steps, so every pixel hears of its whole row. Steps follow one another: on parallel
    hardware w steps take w times as long.

    Shapes: (b, in, h, w) -> (b, 2 * hidden, h, w): the forward direction's states, then the backward one's.
    MACs: 2 * gates * (in + hidden) * hidden per pixel; gates 1 (rnn), 3 (gru) or 4 (lstm).
    Source: Visin et al., "ReNet", 2015 (its sweep in one direction of the image).
    """

    def __init__(self, in_channels: int, hidden: int, kind: str = "gru"):
        super().__init__()
        layers = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
        self.sweep = layers[kind](in_channels, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co h w"]:
        h = x.shape[2]
        states, _ = self.sweep(x.permute(0, 2, 3, 1).flatten(0, 1))
        return states.unflatten(0, (-1, h)).permute(0, 3, 1, 2)
