"""Quantised tensors as graphs are exported with them: quantise and dequantise nodes, weights as stored integers.

`torch.ops.quantized_decomposed` is the vocabulary that both torch.onnx and litert-torch translate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.ao.quantization.fx._decomposed  # registers the operators
from torch import Tensor

from leadline.nn.quantize.affine import from_codes, to_codes
from leadline.nn.quantize.fake import Quantizer

if TYPE_CHECKING:
    from leadline.nn.quantize.layers import QuantizedLayer

ops = torch.ops.quantized_decomposed


def through(quantizer: Quantizer, x: Tensor) -> Tensor:
    """x quantised and dequantised, as nodes; a range that is found in x itself is arithmetic."""
    grid = quantizer.grid
    if quantizer.dynamic:
        low, high = x.min().clamp(max=0), x.max().clamp(min=0)
        if grid.symmetric:
            scale = (torch.maximum(-low, high) / grid.high).clamp(min=torch.finfo(torch.float32).tiny)
            zero_point = torch.zeros_like(scale)
        else:
            scale = ((high - low) / (grid.high - grid.low)).clamp(min=torch.finfo(torch.float32).tiny)
            zero_point = (grid.low - low / scale).round().clamp(grid.low, grid.high)
        return from_codes(to_codes(x, scale, zero_point, grid), scale, zero_point)
    assert quantizer.fixed is not None, "freeze the layer before it is exported"
    scale, zero_point = quantizer.fixed
    codes = ops.quantize_per_tensor(x, scale, zero_point, grid.low, grid.high, torch.int8)
    return ops.dequantize_per_tensor(codes, scale, zero_point, grid.low, grid.high, torch.int8)


def dequantized_channels(codes: Tensor, scale: Tensor) -> Tensor:
    """Stored int8 codes times a scale per output channel, the first axis."""
    zero_points = torch.zeros(scale.shape, dtype=torch.int32, device=scale.device)
    return ops.dequantize_per_channel(codes, scale, zero_points, 0, -127, 127, torch.int8)


def dequantized_weight(layer: QuantizedLayer) -> Tensor:
    """The layer's integers, dequantised."""
    quantizer = layer.weight_quantizer
    grid, scale, zero_point = quantizer.grid, quantizer.scale, quantizer.zero_point
    if layer.grouped:  # written out: per-channel nodes know one axis
        assert layer.codes is not None, "freeze the layer before it is exported"
        return from_codes(layer.codes.float(), layer.spread(scale), layer.spread(zero_point).float())
    ends = grid.low, grid.high, torch.int8
    if quantizer.fixed is not None:
        codes = layer.codes
        if codes is None:
            codes = ops.quantize_per_tensor(layer.weight, *quantizer.fixed, *ends)
        return ops.dequantize_per_tensor(codes, *quantizer.fixed, *ends)
    channels = layer.flat_scale, layer.flat_zero, layer.out_axis
    codes = layer.codes if layer.codes is not None else ops.quantize_per_channel(layer.weight, *channels, *ends)
    return ops.dequantize_per_channel(codes, *channels, *ends)
