"""Fake quantisation: the codes of a tensor inside a float network that trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from leadline.nn.quantize.affine import Grid, scale_and_zero, to_codes


class _Codes(torch.autograd.Function):
    """code - zero_point, with straight-through gradients.

    Rounding counts as the identity and clamping as what it is: within the range d/dx = 1 / scale and
    d/dscale = -x / scale^2, beyond it both are 0. Multiplied by the scale this is LSQ's gradient (Esser et al.,
    "Learned Step Size Quantization", ICLR 2020).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid) -> Tensor:
        codes = to_codes(x, scale, zero_point, grid)
        ctx.save_for_backward(x, scale, zero_point)
        ctx.grid = grid
        return codes - zero_point

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor):
        x, scale, zero_point = ctx.saved_tensors
        ratio = x.float() / scale
        place = ratio.round() + zero_point
        passed = gradients[0] * ((place >= ctx.grid.low) & (place <= ctx.grid.high)) / scale
        to_scale = None
        if ctx.needs_input_grad[1]:
            to_scale = (-passed * ratio).sum_to_size(scale.shape)
        return passed.to(x.dtype), to_scale, None, None


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def whole_numbers(x: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid) -> Tensor:
    """code - zero_point of each x, float32; straight-through gradients for x and the scale."""
    return _Codes.apply(x, scale, zero_point, grid)


def round_through(x: Tensor) -> Tensor:
    """x rounded half to even; its gradient is that of x."""
    return _Round.apply(x)


class Quantizer(nn.Module):
    """Scale and zero point of a tensor, fixed beforehand or, if `dynamic`, found in each tensor that passes.

    Args:
        grid: the codes.
        shape: of the scales, such that they broadcast with the tensor: (1,) for one scale, (o, 1, 1, 1) per channel.
        dynamic: the range is the least and greatest value of the tensor at hand.

    In training the scale is multiplied by 2^stretch, which is learned: a step of an optimizer then changes every scale
    by the same share, whatever its size, and weight decay pulls towards the calibrated scale. `merge` ends that.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, grid: Grid, shape: tuple[int, ...] = (1,), dynamic: bool = False):
        super().__init__()
        self.grid, self.dynamic = grid, dynamic
        self.fixed: tuple[float, int] | None = None
        if not dynamic:
            self.register_buffer("scale", torch.ones(shape))
            self.register_buffer("zero_point", torch.zeros(shape, dtype=torch.int32))
            self.stretch = nn.Parameter(torch.zeros(shape))

    def set(self, scale: Tensor, zero_point: Tensor) -> None:
        with torch.no_grad():
            self.scale.copy_(scale.reshape(self.scale.shape))
            self.zero_point.copy_(zero_point.reshape(self.scale.shape))
            self.stretch.zero_()

    @torch.no_grad()
    def merge(self) -> None:
        """Takes what was learned into the scale."""
        if not self.dynamic:
            self.scale.mul_(torch.exp2(self.stretch))
            self.stretch.zero_()

    def freeze(self) -> None:
        """Keeps a single scale and zero point as plain numbers too: what a graph is exported with."""
        self.merge()
        if not self.dynamic and self.scale.numel() == 1:
            self.fixed = float(self.scale), int(self.zero_point)

    def current(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The scale and zero point that `x` is quantised with."""
        if self.dynamic:
            with torch.no_grad():
                scale, zero_point = scale_and_zero(x.amin(), x.amax(), self.grid)
            return scale.reshape(1), zero_point.reshape(1)
        return self.scale * torch.exp2(self.stretch), self.zero_point

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """code - zero_point, float32 whole numbers of x's shape, and the scale; their product is the quantised x."""
        scale, zero_point = self.current(x)
        return whole_numbers(x, scale, zero_point, self.grid), scale

    def extra_repr(self) -> str:
        kind = "symmetric" if self.grid.symmetric else "asymmetric"
        return f"{self.grid.bits} bit, {kind}, {'dynamic' if self.dynamic else 'static'}"
