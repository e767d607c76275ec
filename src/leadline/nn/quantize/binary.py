"""Convolutions of one bit: signs of weights and of activations, trained through a straight-through estimator.

Sources: XNOR-Net (Rastegari et al., ECCV 2016): weights sign(W) scaled by the mean |W| of each output channel;
Bi-Real Net (Liu et al., ECCV 2018): a real-valued shortcut round every binary convolution, and the derivative
2 - 2 |x| for the sign of activations; ReActNet (Liu et al., ECCV 2020): a learned threshold per input channel, without
which everything after a ReLU would be +1.
Shapes: b batch, c channels, h w image.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.quantize.graph import dequantized_channels


class _SignBiReal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _plus_or_minus(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (2 - 2 * x.abs()).clamp(min=0)


class _SignClipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _plus_or_minus(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (x.abs() <= 1)


def _plus_or_minus(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def sign(x: Float[Tensor, "*shape"], bireal: bool = True) -> Float[Tensor, "*shape"]:
    """+1 where x >= 0, else -1.

    Args:
        bireal: the gradient is that of a piecewise quadratic (2 - 2 |x| within -1 .. 1: Bi-Real Net, for activations);
            else that of x itself within -1 .. 1 (XNOR-Net, for weights). Beyond, it is 0 in both.
    """
    if torch.compiler.is_exporting():
        return _plus_or_minus(x)
    return _SignBiReal.apply(x) if bireal else _SignClipped.apply(x)


def weight_scale(weight: Float[Tensor, "o ..."]) -> Float[Tensor, " o"]:
    """The factor by which signs come nearest to the weights of an output channel: the mean |W| (XNOR-Net, eq. 6)."""
    return weight.flatten(1).abs().mean(1)


class BinaryConv2d(nn.Conv2d):
    """A convolution of signs: scale * (sign(x - threshold) * sign(W)) + bias [+ x].

    Outside the image is 0, as in a float convolution: a tap there counts neither way, so every sum is a whole number.
    Multiply-accumulates are those of a convolution; packed, 64 of them are one XNOR and one popcount
    (`leadline.kernels`).

    Args:
        shortcut: adds the input to the output (Bi-Real Net), where both have the same shape.
        others: as of `nn.Conv2d`.

    `threshold` (c) is in the unit of the input; `scale` (o) begins as XNOR-Net's mean |W| (see `fit_scale`) and is
    trained from there.
    """

    threshold: nn.Parameter
    scale: nn.Parameter
    codes: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        shortcut: bool = False,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        if shortcut and (in_channels != out_channels or self.stride != (1, 1)):
            raise ValueError("a shortcut needs as many channels out as in, and stride 1")
        self.shortcut = shortcut
        self.threshold = nn.Parameter(torch.zeros(in_channels))
        self.scale = nn.Parameter(torch.ones(out_channels))
        self.fit_scale()
        self.register_buffer("codes", None, persistent=False)

    @torch.no_grad()
    def fit_scale(self) -> None:
        """Sets the scale from the weights as they are now."""
        self.scale.copy_(weight_scale(self.weight))

    def signs_of(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """What is convolved: +1 and -1."""
        return sign(x - self.threshold.view(-1, 1, 1))

    def count(self, signs: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        """The sums of products of signs, whole numbers."""
        weight = sign(self.weight, bireal=False)
        return F.conv2d(signs, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def freeze(self) -> None:
        """Keeps the signs as a buffer, for an export that stores them."""
        self.codes = _plus_or_minus(self.weight.detach()).to(torch.int8)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        if torch.compiler.is_exporting() and self.codes is not None:
            weight = dequantized_channels(self.codes, self.scale)
            signs = self.signs_of(input)
            out = F.conv2d(signs, weight, None, self.stride, self.padding, self.dilation, self.groups)
        else:
            out = self.count(self.signs_of(input)) * self.scale.view(-1, 1, 1)
        if self.bias is not None:
            out = out + self.bias.view(-1, 1, 1)
        return out + input if self.shortcut else out


class BinaryResidual(nn.Module):
    """Bi-Real Net's unit, twice: each binary 3x3 convolution and its BatchNorm has a real-valued identity beside it."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = BinaryConv2d(channels, channels, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = BinaryConv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = x + self.first_norm(self.first(x))
        return x + self.second_norm(self.second(x))
