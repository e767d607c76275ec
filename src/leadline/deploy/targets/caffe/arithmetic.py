"""Lowerings of what is done element by element, and of sums and means."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leadline.deploy.targets.caffe.layers import Blob, Layers
from leadline.deploy.targets.caffe.refusal import CannotLower

Operand = Blob | Tensor | float | int


def add(layers: Layers, a: Operand, b: Operand, alpha: float = 1) -> Blob:
    if not isinstance(b, Blob):
        return _affine(layers, a, 1.0, torch.as_tensor(b) * alpha)
    if not isinstance(a, Blob):
        return _affine(layers, b, float(alpha), a)
    a, b = _same_shape(layers, a, b)
    if abs(alpha) != 1:  # as coefficients the one reader knows signs alone
        b, alpha = layers.affine(b, float(alpha), 0.0), 1
    signs = {} if alpha == 1 else {"coeff": [1.0, -1.0]}
    return layers.elementwise("Eltwise", [a, b], operation="SUM", **signs)


def sub(layers: Layers, a: Operand, b: Operand, alpha: float = 1) -> Blob:
    return add(layers, a, b, alpha=-alpha)


def rsub(layers: Layers, a: Operand, b: Operand, alpha: float = 1) -> Blob:
    return add(layers, b, a, alpha=-alpha)


def mul(layers: Layers, a: Operand, b: Operand) -> Blob:
    if not isinstance(b, Blob):
        return _affine(layers, a, b, 0.0)
    if not isinstance(a, Blob):
        return _affine(layers, b, a, 0.0)
    a, b = _same_shape(layers, a, b)
    return layers.elementwise("Eltwise", [a, b], operation="PROD")


def div(layers: Layers, a: Operand, b: Operand) -> Blob:
    if not isinstance(b, Blob):
        return _affine(layers, a, 1.0 / torch.as_tensor(b, dtype=torch.float64), 0.0)
    return mul(layers, a, reciprocal(layers, b))


def reciprocal(layers: Layers, x: Blob) -> Blob:
    return power(layers, x, -1.0)


def power(layers: Layers, x: Blob, exponent: float) -> Blob:
    if not isinstance(exponent, int | float):
        raise CannotLower("the exponent is no constant")
    if exponent == 2:
        return mul(layers, x, x)
    return layers.elementwise("Power", [x], power=float(exponent))


def maximum(layers: Layers, a: Operand, b: Operand) -> Blob:
    if isinstance(a, Blob) and isinstance(b, Blob):
        a, b = _same_shape(layers, a, b)
        return layers.elementwise("Eltwise", [a, b], operation="MAX")
    x, bound = (a, b) if isinstance(a, Blob) else (b, a)
    return clamp(layers, x, low=_scalar(bound))


def minimum(layers: Layers, a: Operand, b: Operand) -> Blob:
    if isinstance(a, Blob) and isinstance(b, Blob):
        return neg(layers, maximum(layers, neg(layers, a), neg(layers, b)))
    x, bound = (a, b) if isinstance(a, Blob) else (b, a)
    return clamp(layers, x, high=_scalar(bound))


def clamp(layers: Layers, x: Operand, low: float | None = None, high: float | None = None) -> Blob:
    """max(x, low) = relu(x - low) + low; min(x, high) = high - relu(high - x)."""
    assert isinstance(x, Blob)
    if low is not None:
        x = relu(layers, layers.affine(x, 1.0, -low) if low else x)
        x = layers.affine(x, 1.0, low) if low else x
    if high is not None:
        x = layers.affine(relu(layers, layers.affine(x, -1.0, high)), -1.0, high)
    return x


def neg(layers: Layers, x: Blob) -> Blob:
    return layers.affine(x, -1.0, 0.0)


def relu(layers: Layers, x: Blob) -> Blob:
    return layers.elementwise("ReLU", [x])


def leaky_relu(layers: Layers, x: Blob, slope: float = 0.01) -> Blob:
    return layers.elementwise("ReLU", [x], negative_slope=float(slope))


def elu(layers: Layers, x: Blob, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Blob:
    if (scale, input_scale) != (1, 1):
        raise CannotLower("ELU with a scale (SELU)")
    return layers.elementwise("ELU", [x], alpha=float(alpha))


def prelu(layers: Layers, x: Blob, slope: Tensor) -> Blob:
    slopes = np.broadcast_to(slope.detach().double().numpy().ravel(), x.shape[1:2]).copy()
    return layers.add("PReLU", [x], x.shape, [slopes], channel_shared=False)


def softmax(layers: Layers, x: Blob, axis: int, half_to_float: bool = False) -> Blob:
    return layers.add("Softmax", [x], x.shape, axis=axis % len(x.shape))


def batch_norm(layers: Layers, x: Blob, weight, bias, mean, var, momentum: float, eps: float) -> list[Blob]:
    """One affine step per channel, which `simplify` folds into the convolution before it."""
    scale = 1.0 / np.sqrt(var.double().numpy() + eps)
    if weight is not None:
        scale = scale * weight.double().numpy()
    shift = -mean.double().numpy() * scale
    if bias is not None:
        shift = shift + bias.double().numpy()
    return [layers.affine(x, scale, shift)]


def total(layers: Layers, x: Blob, axes: Sequence[int] | int | None = None, keep: bool = False) -> Blob:
    axes = _axes(x, axes)
    return layers.affine(mean(layers, x, axes, keep), float(prod(x.shape[axis] for axis in axes)), 0.0)


def mean(layers: Layers, x: Blob, axes: Sequence[int] | int | None = None, keep: bool = False) -> Blob:
    """Over channels by a 1x1 convolution, over rows and columns by pooling."""
    axes = _axes(x, axes)
    out = x
    if set(axes) <= {2, 3} and len(x.shape) == 4:
        out = _pool_all(layers, x, axes, "AVE")
    elif len(axes) == 1:
        out = _mean_of_axis(layers, x, axes[0])
    else:
        for axis in axes:
            out = mean(layers, out, [axis], True)
    return layers.reshape(out, _reduced(x, axes, keep))


def amax(layers: Layers, x: Blob, axes: Sequence[int] | int = (), keep: bool = False) -> Blob:
    """By pooling, with an axis that is not rows or columns seen as rows."""
    axes = _axes(x, axes)
    out = x
    if set(axes) <= {2, 3} and len(x.shape) == 4:
        out = _pool_all(layers, x, axes, "MAX")
    else:
        for axis in axes:
            shape = _reduced(out, [axis], True)
            out = _pool_all(layers, layers.reshape(out, _around(out, axis, middle_third=True)), [2], "MAX")
            out = layers.reshape(out, shape)
    return layers.reshape(out, _reduced(x, axes, keep))


def amin(layers: Layers, x: Blob, axes: Sequence[int] | int = (), keep: bool = False) -> Blob:
    return neg(layers, amax(layers, neg(layers, x), axes, keep))


def constant(layers: Layers, value: Tensor, like: Blob) -> Blob:
    """Any constant: Caffe has no tensor that comes from nowhere, but one pixel that is 1, painted with a kernel that
    holds the values, is one. The pixel is taken from `like`."""
    pixel = like
    for axis in range(len(like.shape)):
        pixel = layers.window(pixel, axis, 0, 1)
    one = layers.affine(layers.reshape(pixel, (1, 1, 1, 1)), 0.0, 1.0)
    kernel = value.detach().double().numpy().reshape(1, 1, -1, value.shape[-1])
    return layers.reshape(layers.convolution(one, kernel, transposed=True), tuple(value.shape))


def _affine(layers: Layers, x: Operand, scale: Any, shift: Any) -> Blob:
    """scale * x + shift with constants that are the same for all, or per channel; x has one channel or as many."""
    assert isinstance(x, Blob)
    constants = [torch.as_tensor(value).detach().double() for value in (scale, shift)]
    shape = torch.broadcast_shapes(x.shape, *(value.shape for value in constants))
    if all(value.numel() == 1 for value in constants) and len(shape) == len(x.shape):
        return layers.affine(x, float(constants[0]), float(constants[1]))
    if not constants[1].any() and bool((constants[0] == 1).all()):  # adds zeros, multiplies with ones
        return broadcast(layers, x, shape)
    per_channel = []
    for value in constants:
        value = value.reshape((1,) * (len(shape) - value.dim()) + tuple(value.shape))
        if value.numel() > 1:
            first = value[:1, :, *([slice(0, 1)] * (len(shape) - 2))]
            if not bool((value == first).all()):
                return _by_patterns(layers, x, *constants)
            value = first
        per_channel.append(value.reshape(-1).expand(shape[1] if value.numel() == 1 else value.numel()).numpy())
    return layers.affine(broadcast(layers, x, shape), *per_channel)


def _by_patterns(layers: Layers, x: Blob, scale: Tensor, shift: Tensor) -> Blob:
    if scale.numel() == 1:
        x = layers.affine(x, float(scale), 0.0) if float(scale) != 1 else x
    elif bool((scale != 1).any()):
        x = mul(layers, x, constant(layers, scale, x))
    return add(layers, x, constant(layers, shift, x)) if bool(shift.any()) else x


def _same_shape(layers: Layers, a: Blob, b: Blob) -> tuple[Blob, Blob]:
    shape = torch.broadcast_shapes(a.shape, b.shape)
    return broadcast(layers, a, shape), broadcast(layers, b, shape)


def broadcast(layers: Layers, x: Blob, shape: Sequence[int]) -> Blob:
    """x repeated to this shape: over channels by a 1x1 convolution, over the image by a transposed one."""
    x = layers.reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape)
    wanted = tuple(have if want == -1 else want for have, want in zip(x.shape, shape, strict=True))
    if x.shape == wanted:
        return x
    if len(wanted) != 4 or x.shape[0] != wanted[0]:
        for axis, (have, want) in enumerate(zip(x.shape, wanted, strict=True)):
            if have != want:  # the axis seen as channels, whatever its place
                before, after = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
                repeated = layers.convolution(layers.reshape(x, (before, 1, 1, after)), np.ones((want, 1, 1, 1)))
                x = layers.reshape(repeated, (*x.shape[:axis], want, *x.shape[axis + 1 :]))
        return x
    if x.shape[1] != wanted[1]:
        x = layers.convolution(x, np.ones((wanted[1], 1, 1, 1)))
    if x.shape[2:] != wanted[2:]:
        kernel = tuple(want if have != want else 1 for have, want in zip(x.shape[2:], wanted[2:], strict=True))
        x = layers.convolution(
            x, np.ones((x.shape[1], 1, *kernel)), groups=x.shape[1], stride=(kernel[0], kernel[1]), transposed=True
        )
    return x


def _mean_of_axis(layers: Layers, x: Blob, axis: int) -> Blob:
    """Of an axis that is seen as channels, whatever its place."""
    folded = layers.reshape(x, x.shape if (axis, len(x.shape)) == (1, 4) else _around(x, axis))
    count = x.shape[axis]
    return layers.convolution(folded, np.full((1, count, 1, 1), 1.0 / count))


def _around(x: Blob, axis: int, middle_third: bool = False) -> tuple[int, int, int, int]:
    """A shape of four in which the axis stands alone: second, or third."""
    before, after = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    return (1, before, x.shape[axis], after) if middle_third else (before, x.shape[axis], 1, after)


def _pool_all(layers: Layers, x: Blob, axes: list[int], kind: str) -> Blob:
    kernel = [x.shape[axis] if axis in axes else 1 for axis in (2, 3)]
    shape = (*x.shape[:2], *(1 if axis in axes else x.shape[axis] for axis in (2, 3)))
    return layers.add(
        "Pooling", [x], shape, pool=kind, kernel_h=kernel[0], kernel_w=kernel[1], stride_h=1, stride_w=1
    )  # fmt: skip


def _axes(x: Blob, axes: Sequence[int] | int | None) -> list[int]:
    if axes is None or axes == [] or axes == ():
        return list(range(len(x.shape)))
    return sorted(axis % len(x.shape) for axis in ([axes] if isinstance(axes, int) else axes))


def _reduced(x: Blob, axes: Sequence[int], keep: bool) -> tuple[int, ...]:
    return tuple(1 if axis in axes else n for axis, n in enumerate(x.shape) if keep or axis not in axes)


def _scalar(value: Any) -> float:
    tensor = torch.as_tensor(value)
    if not bool((tensor == tensor.reshape(-1)[0]).all()):
        raise CannotLower("a bound that is not the same everywhere")
    return float(tensor.reshape(-1)[0])


def _layer(type_: str):
    return lambda layers, x: layers.elementwise(type_, [x])


LOWERINGS = {
    "add.Tensor": add, "add.Scalar": add, "sub.Tensor": sub, "sub.Scalar": sub, "rsub": rsub, "mul.Tensor": mul,
    "mul.Scalar": mul, "div.Tensor": div, "div.Scalar": div, "reciprocal": reciprocal, "pow.Tensor_Scalar": power,
    "sqrt": lambda layers, x: power(layers, x, 0.5), "rsqrt": lambda layers, x: power(layers, x, -0.5),
    "maximum": maximum, "minimum": minimum, "clamp.default": clamp, "hardtanh": clamp, "neg": neg, "relu": relu,
    "clamp_min.default": clamp, "clamp_max.default": lambda layers, x, high: clamp(layers, x, high=high),
    "leaky_relu": leaky_relu, "elu": elu, "prelu": prelu, "_prelu_kernel": prelu, "_softmax": softmax,
    "_native_batch_norm_legit_no_training": batch_norm, "sum.dim_IntList": total, "sum.default": total, "mean": mean,
    "amax": amax, "amin": amin, "abs": _layer("AbsVal"), "exp": _layer("Exp"), "sigmoid": _layer("Sigmoid"),
    "tanh": _layer("TanH"),
}  # fmt: skip
