"""Halving without aliasing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BlurPool(nn.Module):
    """A binomial low-pass filter, then every second pixel: a shift of the input by 1 px changes the output little.

    A strided convolution or pooling keeps frequencies that the coarser grid cannot hold and folds them into others;
    for matching, the two views' features then differ by where the grid happens to lie.

    Shapes: (b, c, h, w) -> (b, c, ceil(h / 2), ceil(w / 2)). MACs: taps^2 * c per output pixel.
    Source: Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019.

    Args:
        taps: 3 for (1, 2, 1) / 4, 5 for (1, 4, 6, 4, 1) / 16 along each axis.
    """

    kernel: Tensor

    def __init__(self, channels: int, taps: int = 3):
        super().__init__()
        row = torch.ones(1)
        for _ in range(taps - 1):  # Pascal's triangle
            row = F.pad(row, (0, 1)) + F.pad(row, (1, 0))
        kernel = torch.outer(row, row) / row.sum() ** 2
        self.register_buffer("kernel", kernel.expand(channels, 1, taps, taps).contiguous(), persistent=False)
        self.channels, self.reach = channels, taps // 2

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c ho wo"]:
        padded = F.pad(x, (self.reach,) * 4, mode="replicate")
        return F.conv2d(padded, self.kernel.to(x.dtype), stride=2, groups=self.channels)
