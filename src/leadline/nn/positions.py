"""Positional encodings: sinusoidal, learned, rotary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

BASE = 10000.0  # ratio of the longest wavelength to the shortest, over 2 pi (Vaswani et al.)


def sinusoids(positions: Float[Tensor, " n"], width: int) -> Float[Tensor, "n width"]:
    """sin and cos of each position at width / 2 frequencies: channel 2k is sin(p / 10000^(2k / width)), 2k + 1 its cos.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
    """
    angles = _angles(positions, width)
    return torch.stack([torch.sin(angles), torch.cos(angles)], -1).flatten(1)


def sinusoids_2d(like: Float[Tensor, "b c h w"]) -> Float[Tensor, "1 c h w"]:
    """The same for a map: the first half of the channels tells the row, the second the column. c: multiple of 4.

    Source: Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020.
    """
    c, h, w = like.shape[1:]
    rows, columns = (torch.arange(n, device=like.device, dtype=torch.float32) for n in (h, w))
    down = sinusoids(rows, c // 2).T[None, :, :, None].expand(-1, -1, -1, w)
    across = sinusoids(columns, c // 2).T[None, :, None, :].expand(-1, -1, h, -1)
    return torch.cat([down, across], 1).to(like.dtype)


class LearnedPositions(nn.Module):
    """Adds a learned map, stretched bicubically to the size at hand.

    Shapes: (b, c, h, w) -> the same. Source: Dosovitskiy et al., "An Image Is Worth 16x16 Words", ICLR 2021.

    Args:
        size: (h, w) of the map that is learned.
    """

    def __init__(self, channels: int, size: tuple[int, int]):
        super().__init__()
        self.map = nn.Parameter(0.02 * torch.randn(1, channels, *size))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if x.shape[-2:] == self.map.shape[-2:]:
            return x + self.map
        return x + F.interpolate(self.map, size=x.shape[-2:], mode="bicubic", align_corners=False)


def rotation(positions: Float[Tensor, " n"], width: int) -> tuple[Float[Tensor, "n half"], Float[Tensor, "n half"]]:
    """cos and sin of the angles by which `rotate` turns each of the width / 2 channel pairs at these positions."""
    angles = _angles(positions, width)
    return torch.cos(angles), torch.sin(angles)


def rotate(
    x: Float[Tensor, "*b n width"], by: tuple[Float[Tensor, "n half"], Float[Tensor, "n half"]]
) -> Float[Tensor, "*b n width"]:
    """Rotary encoding: turns channels (2k, 2k + 1) of every token by position / 10000^(2k / width).

    The scalar product of two tokens that were turned depends on the difference of their positions alone.

    Source: Su et al., "RoFormer", 2021.
    """
    cos, sin = (part.to(x.dtype) for part in by)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def _angles(positions: Tensor, width: int) -> Tensor:
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    return positions[:, None] / BASE**exponents
