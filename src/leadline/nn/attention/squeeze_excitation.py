"""Attention over channels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Scales each channel by a factor in 0 .. 1 that two layers find from the means of all channels.

    The mean of the whole map makes the answer depend on the size of the image or tile.

    Shapes: (b, c, h, w) -> the same. MACs: 2 * c^2 / squeeze per image.
    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.
    """

    def __init__(self, channels: int, squeeze: int = 4):
        super().__init__()
        narrow = max(channels // squeeze, 1)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.layers(x.mean((2, 3), keepdim=True))
