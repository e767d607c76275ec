"""What a chip computes: a quantised layer in whole numbers, as the reference for everything else.

int8 codes in, products summed in int32, the bias as an int32 on the sum's grid, then requantisation:

    y = float32(sum) * float32(input scale * weight scale)      code = clamp(rint(y / output scale) + zero point)

in float32 and rounded half to even, as XNNPACK and ONNX Runtime do. NumPy alone: none of torch's kernels is trusted.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Int8, Int32

from leadline.nn.quantize.fake import Quantizer
from leadline.nn.quantize.layers import QuantizedConvTranspose2d, QuantizedLayer, QuantizedLinear


def codes_of(values: np.ndarray, quantizer: Quantizer) -> Int8[np.ndarray, "*shape"]:
    """The codes of float values under one fixed scale."""
    scale, zero_point = _fixed(quantizer)
    codes = np.rint(values.astype(np.float32) / scale) + zero_point
    return np.clip(codes, quantizer.grid.low, quantizer.grid.high).astype(np.int8)


def accumulate(layer: QuantizedLayer, codes: Int8[np.ndarray, "*shape"]) -> Int32[np.ndarray, "*made"]:
    """The sums of a layer with one scale per output channel or one in all, bias included.

    Raises:
        ValueError: a layer without fixed input scale, or with scales that change along its input channels.
    """
    if layer.input_quantizer is None or layer.input_quantizer.dynamic or layer.grouped:
        raise ValueError("only a layer with a fixed input scale and one scale per output channel has an integer form")
    given = codes.astype(np.int32) - np.int32(_fixed(layer.input_quantizer)[1])
    weight = layer.weight_codes().numpy().astype(np.int32)
    weight -= layer.weight_quantizer.zero_point.numpy().astype(np.int32)
    if isinstance(layer, QuantizedLinear):
        total = given @ weight.T
    elif isinstance(layer, QuantizedConvTranspose2d):
        total = _transposed(layer, given, weight)
    else:
        total = _convolution(layer, given, weight)
    return total if layer.bias is None else total + _per_output(layer, _bias(layer))


def requantise(layer: QuantizedLayer, total: Int32[np.ndarray, "*made"]) -> Int8[np.ndarray, "*made"]:
    """The output's codes. Raises ValueError where the layer's output is not quantised."""
    if layer.output_quantizer is None or layer.output_quantizer.dynamic:
        raise ValueError("the layer's output is not quantised")
    return codes_of(real(layer, total), layer.output_quantizer)


def real(layer: QuantizedLayer, total: Int32[np.ndarray, "*made"]) -> np.ndarray:
    """What the sums stand for, float32."""
    return total.astype(np.float32) * _per_output(layer, _step(layer))


def largest_sum(layer: QuantizedLayer, codes: Int8[np.ndarray, "*shape"]) -> int:
    """The largest sum of magnitudes: below 2^24 no order of summation in float32 can round."""
    assert layer.input_quantizer is not None
    zero_point = _fixed(layer.input_quantizer)[1]
    weight = np.abs(layer.weight_codes().numpy().astype(np.int64))
    given = np.abs(codes.astype(np.int64) - zero_point)
    kind = _transposed if isinstance(layer, QuantizedConvTranspose2d) else _convolution
    total = given @ weight.T if isinstance(layer, QuantizedLinear) else kind(layer, given, weight)
    bias = 0 if layer.bias is None else int(np.abs(_bias(layer)).max())
    return int(total.max()) + bias


def _fixed(quantizer: Quantizer) -> tuple[np.float32, int]:
    scale, zero_point = (t.detach() for t in quantizer.current(quantizer.scale))
    return np.float32(scale.item()), int(zero_point.item())


def _step(layer: QuantizedLayer) -> np.ndarray:
    assert layer.input_quantizer is not None
    weight_scale = layer.weight_quantizer.current(layer.weight)[0].detach().numpy().ravel()
    return _fixed(layer.input_quantizer)[0] * weight_scale


def _bias(layer: QuantizedLayer) -> np.ndarray:
    assert layer.bias is not None
    return np.rint(layer.bias.detach().numpy() / _step(layer)).astype(np.int32)


def _per_output(layer: QuantizedLayer, values: np.ndarray) -> np.ndarray:
    return values if layer.weight.ndim == 2 else values.reshape(1, -1, *[1] * (layer.weight.ndim - 2))


def _convolution(layer: Any, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    dims = len(layer.kernel_size)
    padded = np.pad(x, [(0, 0), (0, 0), *((side, side) for side in layer.padding)])
    size = [
        (padded.shape[2 + a] - layer.dilation[a] * (layer.kernel_size[a] - 1) - 1) // layer.stride[a] + 1
        for a in range(dims)
    ]
    groups, made = layer.groups, weight.shape[0] // layer.groups
    total = np.zeros((x.shape[0], weight.shape[0], *size), x.dtype)
    for taps in product(*(range(k) for k in layer.kernel_size)):
        window = tuple(
            slice(t * d, t * d + s * (n - 1) + 1, s)
            for t, d, s, n in zip(taps, layer.dilation, layer.stride, size, strict=True)
        )
        seen = padded[(slice(None), slice(None), *window)]
        for g in range(groups):
            mine = slice(g * made, (g + 1) * made)
            part = seen[:, g * weight.shape[1] : (g + 1) * weight.shape[1]]
            flat = part.reshape(*part.shape[:2], -1)
            factor = np.ascontiguousarray(weight[(mine, slice(None), *taps)])
            total[:, mine] += (factor @ flat).reshape(x.shape[0], made, *size)
    return total


def _transposed(layer: Any, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.stride, layer.dilation
    (ph, pw), (oh, ow) = layer.padding, layer.output_padding
    b, _, h, w = x.shape
    full = np.zeros((b, weight.shape[1], (h - 1) * sh + dh * (kh - 1) + 1 + oh, (w - 1) * sw + dw * (kw - 1) + 1 + ow),
                    x.dtype)  # fmt: skip
    flat = x.reshape(b, x.shape[1], -1)
    for i, j in product(range(kh), range(kw)):
        part = (np.ascontiguousarray(weight[:, :, i, j].T) @ flat).reshape(b, -1, h, w)
        full[:, :, i * dh : i * dh + sh * (h - 1) + 1 : sh, j * dw : j * dw + sw * (w - 1) + 1 : sw] += part
    return full[:, :, ph : full.shape[2] - ph, pw : full.shape[3] - pw]
