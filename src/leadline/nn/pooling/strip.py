"""Means over whole rows and whole columns."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class StripPooling(nn.Module):
    """Scales each pixel by what the means of its row and of its column say together.

    A row is an epipolar line, a column a line from near ground to far: both are long and thin, unlike a window.

    Shapes: (b, c, h, w) -> the same. MACs: 3 * c^2 * (h + w) + c^2 * h * w per image.
    Source: Hou et al., "Strip Pooling: Rethinking Spatial Pooling for Scene Parsing", CVPR 2020, without its
    BatchNorms.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.along_rows = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))  # over the rows' means
        self.along_columns = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.join = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        rows = self.along_rows(x.mean(3, keepdim=True))
        columns = self.along_columns(x.mean(2, keepdim=True))
        return x * torch.sigmoid(self.join(torch.relu(rows + columns)))
