"""Convolutions and linear layers of whole numbers.

A layer's weights have codes of a scale per channel (or one, or one per group of input channels); its input and, where
wanted, its output are quantised too. The forward in float computes with the codes themselves,

    y = (sum of input codes * weight codes + round(bias / s)) * s,     s = input scale * weight scale

(codes less their zero points; with ranges found as the network runs, the bias is added in float). A sum of whole
numbers below 2^24 is exact in float32: it is the integer network's accumulator, not an approximation of it. While a
graph is exported the same is written as quantise and dequantise nodes, as runtimes want to see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from leadline.nn.quantize.affine import Grid, from_codes, scale_and_zero, to_codes
from leadline.nn.quantize.fake import Quantizer, round_through, whole_numbers

TENSOR, CHANNEL = 0, -1  # granularities, beside a number of input channels per group


@dataclass(frozen=True)
class Numbers:
    """How a tensor is quantised."""

    bits: int
    symmetric: bool
    dynamic: bool = False
    granularity: int = TENSOR

    @property
    def grid(self) -> Grid:
        return Grid(self.bits, self.symmetric)


class QuantizedLayer(nn.Module):
    """Base of the quantised layers; each is also the torch layer whose weight and bias it keeps in float."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    codes: Tensor | None
    flat_scale: Tensor
    flat_zero: Tensor
    out_axis = 0  # of the weight
    in_axis = 1

    def prepare(self, weight: Numbers, input: Numbers | None, output: Numbers | None) -> None:
        """Gives the layer its quantisers, whose scales are still 1."""
        self.numbers = weight
        self.weight_quantizer = Quantizer(
            Grid(weight.bits, weight.symmetric, narrow=weight.symmetric), self._scale_shape(weight.granularity)
        )
        self.input_quantizer = None if input is None else Quantizer(input.grid, dynamic=input.dynamic)
        self.output_quantizer = None if output is None else Quantizer(output.grid, dynamic=output.dynamic)
        self.borrows_input = False
        self.keeps_zeros = False  # of pruned weights: no gradient there, so training does not bring them back
        for name in ("codes", "flat_scale", "flat_zero"):
            self.register_buffer(name, None, persistent=False)

    def borrow_input(self, quantizer: Quantizer) -> None:
        """Takes another layer's quantiser for the input: one tensor has one scale, however it is trained."""
        self.input_quantizer = quantizer
        self.borrows_input = True

    def _scale_shape(self, granularity: int) -> tuple[int, ...]:
        ones = [1] * self.weight.ndim
        if granularity == TENSOR:
            return tuple(ones)
        ones[self.out_axis] = self.weight.shape[self.out_axis]
        if granularity > 0:
            channels = self.weight.shape[self.in_axis]
            if channels % granularity:
                raise ValueError(f"{channels} input channels are no multiple of the group of {granularity}")
            ones[self.in_axis] = channels // granularity
        return tuple(ones)

    @property
    def grouped(self) -> bool:
        """Whether scales change along the input channels, so that no single accumulator exists."""
        return self.numbers.granularity > 0

    def spread(self, scale: Tensor) -> Tensor:
        """The scales so that they broadcast with the weight."""
        if not self.grouped:
            return scale
        return scale.repeat_interleave(self.numbers.granularity, self.in_axis)

    def per_output(self, scale: Tensor) -> Tensor:
        """A scale per output channel (or one), so that it broadcasts with the output."""
        return scale.reshape(1, -1, *[1] * (self.weight.ndim - 2)) if self.weight.ndim > 2 else scale.reshape(-1)

    def fit_weight(self, ratio: Tensor | float = 1.0) -> None:
        """Sets the weight's scales from its extremes, times `ratio`."""
        weight = self.weight.detach().float()
        shape = self.weight_quantizer.scale.shape
        if self.grouped:
            split = weight.unflatten(self.in_axis, (-1, self.numbers.granularity))
            axes = [a for a in range(split.ndim) if a not in (self.out_axis, self.in_axis)]
            low, high = split.amin(axes), split.amax(axes)
        else:
            axes = [a for a in range(weight.ndim) if shape[a] == 1]
            low, high = weight.amin(axes), weight.amax(axes)
        low, high = low.reshape(shape) * ratio, high.reshape(shape) * ratio
        self.weight_quantizer.set(*scale_and_zero(low, high, self.weight_quantizer.grid))

    def weight_codes(self) -> Tensor:
        """The weight's codes, int8 of its shape."""
        scale, zero_point = self.weight_quantizer.current(self.weight)
        codes = to_codes(self.weight.detach(), self.spread(scale), self.spread(zero_point), self.weight_quantizer.grid)
        return codes.detach().to(torch.int8)

    def set_weight_codes(self, codes: Tensor) -> None:
        """Moves the weight onto the values that the codes stand for."""
        scale, zero_point = self.weight_quantizer.current(self.weight)
        with torch.no_grad():
            self.weight.copy_(from_codes(codes.float(), self.spread(scale), self.spread(zero_point)))

    def freeze(self, stored: bool = True) -> None:
        """Keeps what an export needs: rounded bias, scales as plain numbers, and if `stored` the codes themselves.

        Else the graph quantises the weight, a constant, and it is for the converter to do that once.
        """
        for quantizer in (self.weight_quantizer, self.input_quantizer, self.output_quantizer):
            if quantizer is not None:
                quantizer.freeze()
        self.codes = self.weight_codes() if stored else None
        # litert-torch looks for scales among the buffers of the graph, not among what is computed from them.
        self.flat_scale = self.weight_quantizer.scale.flatten()
        self.flat_zero = self.weight_quantizer.zero_point.flatten().long()
        given = self.input_quantizer
        if self.bias is not None and given is not None and not given.dynamic and not self.grouped:
            step = given.scale * self.weight_quantizer.scale.flatten()
            self.bias.data = (self.bias.detach() / step).round() * step

    def forward(self, input: Tensor, *rest: Any) -> Tensor:
        if torch.compiler.is_exporting():
            return self._exported(input, *rest)
        if self.input_quantizer is None:
            whole, scale = self.whole_weight()
            y = self._linear_map(input, whole * self.spread(scale), self.bias, *rest)
        else:
            y = self._integers(input, *rest)
        if self.output_quantizer is not None:
            whole, scale = self.output_quantizer(y)
            y = whole * scale
        return y

    def whole_weight(self) -> tuple[Tensor, Tensor]:
        weight: Tensor = self.weight
        if self.keeps_zeros:
            weight = torch.where(weight != 0, weight, 0.0)  # the same, with no gradient at 0
        if not self.grouped:
            return self.weight_quantizer(weight)
        scale, zero_point = self.weight_quantizer.current(weight)
        whole = whole_numbers(weight, self.spread(scale), self.spread(zero_point), self.weight_quantizer.grid)
        return whole, scale

    def _integers(self, input: Tensor, *rest: Any) -> Tensor:
        assert self.input_quantizer is not None
        whole, scale = self.input_quantizer(input)
        weight, weight_scale = self.whole_weight()
        if self.grouped:
            y = self._linear_map(whole, weight * self.spread(weight_scale), None, *rest) * scale
            return y if self.bias is None else y + self.per_output(self.bias)
        total = self._linear_map(whole, weight, None, *rest).float()
        step = self.per_output(scale * weight_scale.flatten())
        if self.bias is None:
            return total * step
        bias = self.per_output(self.bias)
        if self.input_quantizer.dynamic:  # runtimes add it in float then, as the step changes with each image
            return total * step + bias
        return (total + round_through(bias / step)) * step

    def _exported(self, input: Tensor, *rest: Any) -> Tensor:
        from leadline.nn.quantize.graph import dequantized_weight, through

        x = input if self.input_quantizer is None else through(self.input_quantizer, input)
        y = self._linear_map(x, dequantized_weight(self), self.bias, *rest)
        return y if self.output_quantizer is None else through(self.output_quantizer, y)

    def _linear_map(self, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        raise NotImplementedError


class QuantizedConv2d(QuantizedLayer, nn.Conv2d):
    def _linear_map(self, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        return self._conv_forward(x, weight, bias)


class QuantizedConv3d(QuantizedLayer, nn.Conv3d):
    def _linear_map(self, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        return self._conv_forward(x, weight, bias)


class QuantizedConvTranspose2d(QuantizedLayer, nn.ConvTranspose2d):
    out_axis, in_axis = 1, 0

    def _linear_map(self, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        assert not isinstance(self.padding, str)
        return F.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class QuantizedLinear(QuantizedLayer, nn.Linear):
    def _linear_map(self, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        return F.linear(x, weight, bias)


KINDS: dict[type[nn.Module], type[QuantizedLayer]] = {
    nn.Conv2d: QuantizedConv2d,
    nn.Conv3d: QuantizedConv3d,
    nn.ConvTranspose2d: QuantizedConvTranspose2d,
    nn.Linear: QuantizedLinear,
}


def quantizable(layer: nn.Module) -> bool:
    """Whether there is a quantised form of the layer."""
    kind = type_before_parametrizations(layer)  # a pruned or shared layer is what it was before
    if kind is nn.ConvTranspose2d and layer.groups > 1:  # type: ignore[operator]
        return False  # its output channels are spread over two axes of the weight
    plain = getattr(layer, "padding_mode", "zeros") == "zeros"
    return kind in KINDS and plain


def quantized(layer: nn.Module, weight: Numbers, input: Numbers | None, output: Numbers | None) -> QuantizedLayer:
    """The layer in its quantised form, sharing weight and bias, with scales that are still 1."""
    new = KINDS[type(layer)].__new__(KINDS[type(layer)])
    new.__dict__.update({k: (v.copy() if isinstance(v, dict) else v) for k, v in layer.__dict__.items()})
    new.prepare(weight, input, output)
    return new.to(layer.weight.device)  # type: ignore[arg-type]
