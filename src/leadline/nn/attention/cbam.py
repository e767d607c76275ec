"""Attention over channels, then over pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class CBAM(nn.Module):
    """A factor per channel, from its mean and its maximum; then a factor per pixel, from those over the channels.

    Shapes: (b, c, h, w) -> the same. MACs: 4 * c^2 / squeeze per image and 98 per pixel.
    Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018 (7x7 over pixels).
    """

    def __init__(self, channels: int, squeeze: int = 4):
        super().__init__()
        narrow = max(channels // squeeze, 1)
        self.channels = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), nn.ReLU(), nn.Conv2d(narrow, channels, 1, bias=False)
        )
        self.pixels = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self.channels(mean) + self.channels(most))
        means = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.pixels(means))
