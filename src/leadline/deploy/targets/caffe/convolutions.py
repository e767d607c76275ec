"""Lowerings of convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from leadline.deploy.targets.caffe.layers import Blob, Layers
from leadline.deploy.targets.caffe.refusal import CannotLower


def convolution(
    layers: Layers,
    x: Blob,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_pad: Sequence[int],
    groups: int,
) -> Blob:
    if not isinstance(weight, Tensor) or (bias is not None and not isinstance(bias, Tensor)):
        raise CannotLower("weights that the images decide")
    if weight.dim() != 4:
        raise CannotLower(f"a convolution of {weight.dim() - 2} dimensions")
    kernel = weight.detach().double().numpy()
    if any(output_pad):  # rows of zeros below and right of the kernel make the output as much larger
        if tuple(dilation) != (1, 1):
            raise CannotLower("output_padding together with dilation")
        kernel = np.pad(kernel, ((0, 0), (0, 0), (0, output_pad[0]), (0, output_pad[1])))
    return layers.convolution(
        x, kernel, None if bias is None else bias.detach().double().numpy(), stride=(stride[0], stride[1]),
        pad=(pad[0], pad[1]), dilation=(dilation[0], dilation[1]), groups=groups, transposed=transposed,
    )  # fmt: skip


def max_pool(
    layers: Layers,
    x: Blob,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    pad: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil: bool = False,
) -> Blob:
    if any(entry != 1 for entry in _pair(dilation)):
        raise CannotLower("pooling with dilation")
    return _pool(layers, x, "MAX", _pair(kernel), _pair(stride or kernel), _pair(pad), ceil)


def max_pool_with_indices(layers: Layers, x: Blob, *arguments) -> list[Blob]:
    return [max_pool(layers, x, *arguments)]


def average_pool(
    layers: Layers,
    x: Blob,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    pad: Sequence[int] = (0,),
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Blob:
    if divisor is not None or (any(pad) and not count_padding):
        raise CannotLower("averages that do not count the padding")
    return _pool(layers, x, "AVE", _pair(kernel), _pair(stride or kernel), _pair(pad), ceil)


def adaptive_average_pool(layers: Layers, x: Blob, size: Sequence[int]) -> Blob:
    (h, w), (to_h, to_w) = x.shape[2:], _pair(size)
    if h % to_h or w % to_w:
        raise CannotLower(f"{h}x{w} is no multiple of the {to_h}x{to_w} to pool to")
    kernel = h // to_h, w // to_w
    return _pool(layers, x, "AVE", kernel, kernel, (0, 0), False)


def _pool(
    layers: Layers,
    x: Blob,
    kind: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    ceil: bool,
) -> Blob:
    """Caffe rounds sizes up; where PyTorch rounds down, the last row or column is cut off."""
    caffe, torch_ = [], []
    for n, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True):
        up = -(-(n + 2 * p - k) // s) + 1
        up -= bool(p) and (up - 1) * s >= n + p  # a window that sees padding alone
        caffe.append(up)
        torch_.append(up if ceil else (n + 2 * p - k) // s + 1)
    out = layers.add(
        "Pooling", [x], (*x.shape[:2], *caffe), pool=kind, kernel_h=kernel[0], kernel_w=kernel[1], stride_h=stride[0],
        stride_w=stride[1], pad_h=pad[0], pad_w=pad[1],
    )  # fmt: skip
    for axis, length in enumerate(torch_, start=2):
        out = layers.window(out, axis, 0, length)
    return out


def _pair(value: Sequence[int] | int) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return values[0], values[-1]


LOWERINGS = {
    "convolution": convolution,
    "max_pool2d": max_pool,
    "max_pool2d_with_indices": max_pool_with_indices,
    "avg_pool2d": average_pool,
    "adaptive_avg_pool2d": adaptive_average_pool,
    "_adaptive_avg_pool2d": adaptive_average_pool,
}
