"""What quantisation is here: the one definition of ranges, scales, zero points, rounding and clamping.

    code = clamp(round(x / scale) + zero_point, low, high)        x' = (code - zero_point) * scale

- rounding is half to even, as in IEEE 754, ONNX and XNNPACK;
- codes are -2^(b-1) .. 2^(b-1) - 1; those of symmetric weights begin one higher, so that every value's negative is a
  value, as LiteRT asks of weights;
- symmetric: zero_point = 0 and scale = max |x| / high;
- asymmetric: zero_point and scale such that the range [min, max] just fits the codes;
- 0 is always represented exactly, as padding and ReLU produce it: a range that does not hold it is widened to it;
- scales are float32, and x / scale is a division, not a product with the reciprocal.

Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

BITS = (8, 4)  # of whole numbers; 1 bit is a sign: see `binary`


@dataclass(frozen=True)
class Grid:
    """The whole numbers that a value may become."""

    bits: int
    symmetric: bool
    narrow: bool = False  # without the lowest code

    @property
    def low(self) -> int:
        return -(2 ** (self.bits - 1)) + self.narrow

    @property
    def high(self) -> int:
        return 2 ** (self.bits - 1) - 1


def scale_and_zero(
    minimum: Float[Tensor, "*n"], maximum: Float[Tensor, "*n"], grid: Grid
) -> tuple[Float32[Tensor, "*n"], Int[Tensor, "*n"]]:
    """The scale and zero point under which [minimum, maximum], widened to hold 0, just fits the grid.

    Where the range is 0 alone, the scale is 1: every code is the zero point then.
    """
    minimum, maximum = minimum.float().clamp(max=0), maximum.float().clamp(min=0)
    if grid.symmetric:
        scale = torch.maximum(-minimum, maximum) / grid.high
        zero = torch.zeros_like(scale)
    else:
        scale = (maximum - minimum) / (grid.high - grid.low)
        zero = (grid.low - minimum / torch.where(scale > 0, scale, 1)).round().clamp(grid.low, grid.high)
    tiny = torch.finfo(torch.float32).tiny  # below it, x / scale would overflow
    return torch.where(scale > tiny, scale, 1.0), zero.to(torch.int32)


def to_codes(x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid) -> Tensor:
    """The codes of x as float32 whole numbers; scale and zero point must broadcast with x."""
    return ((x.float() / scale).round() + zero_point).clamp(grid.low, grid.high)


def from_codes(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """What the codes stand for."""
    return (codes - zero_point) * scale
