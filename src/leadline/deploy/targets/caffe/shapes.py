"""Lowerings that move values without changing them: slices, concatenation, padding, views."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leadline.deploy.targets.caffe.arithmetic import broadcast, constant
from leadline.deploy.targets.caffe.layers import Blob, Layers
from leadline.deploy.targets.caffe.refusal import CannotLower

_MOST_PARTS = 64  # that a tensor is cut into


def cat(layers: Layers, parts: Sequence[Blob | Tensor], axis: int = 0) -> Blob:
    blobs = [part for part in parts if isinstance(part, Blob)]
    axis %= len(blobs[0].shape)
    pieces = [part if isinstance(part, Blob) else _constant(layers, part, blobs[0], axis) for part in parts]
    return layers.concat([piece for piece in pieces if piece.size], axis)


def stack(layers: Layers, parts: Sequence[Blob | Tensor], axis: int = 0) -> Blob:
    unsqueezed = [unsqueeze(layers, part, axis) if isinstance(part, Blob) else part.unsqueeze(axis) for part in parts]
    return cat(layers, unsqueezed, axis % (len(parts[0].shape) + 1))


def slice_(
    layers: Layers, x: Blob, axis: int = 0, start: int | None = None, stop: int | None = None, step: int = 1
) -> Blob:
    axis %= len(x.shape)
    first, last, _ = slice(start, stop).indices(x.shape[axis])
    x = layers.window(x, axis, first, max(last, first))
    if step == 1:
        return x
    if len(x.shape) != 4 or axis < 2:
        raise CannotLower(f"every {step}th entry along axis {axis}")
    stride = (step, 1) if axis == 2 else (1, step)
    return layers.convolution(x, np.ones((x.shape[1], 1, 1, 1)), stride=stride, groups=x.shape[1])


def select(layers: Layers, x: Blob, axis: int, index: int) -> Blob:
    axis %= len(x.shape)
    index %= x.shape[axis]
    return squeeze(layers, layers.window(x, axis, index, index + 1), axis)


def split(layers: Layers, x: Blob, sizes: Sequence[int] | int, axis: int = 0) -> list[Blob]:
    axis %= len(x.shape)
    if isinstance(sizes, int):
        whole, rest = divmod(x.shape[axis], sizes)
        sizes = [sizes] * whole + [rest] * bool(rest)
    ends = np.cumsum(sizes).tolist()
    return [layers.window(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def unbind(layers: Layers, x: Blob, axis: int = 0) -> list[Blob]:
    return [select(layers, x, axis, index) for index in range(x.shape[axis])]


def flip(layers: Layers, x: Blob, axes: Sequence[int]) -> Blob:
    for axis in axes:
        axis %= len(x.shape)
        length = x.shape[axis]
        if length > _MOST_PARTS:
            raise CannotLower(f"{length} entries the other way round")
        x = layers.concat([layers.window(x, axis, i, i + 1) for i in reversed(range(length))], axis)
    return x


def unfold(layers: Layers, x: Blob, axis: int, size: int, step: int) -> Blob:
    """Windows one beside the other along a new first axis, which then goes to its place."""
    axis %= len(x.shape)
    starts = range(0, x.shape[axis] - size + 1, step)
    if len(starts) > _MOST_PARTS:
        raise CannotLower(f"{len(starts)} windows")
    windows = [unsqueeze(layers, layers.window(x, axis, start, start + size), axis) for start in starts]
    stacked = layers.concat(windows, axis)  # ..., windows, size, ...
    order = [i for i in range(len(x.shape) + 1) if i != axis + 1] + [axis + 1]
    return permute(layers, stacked, order)


def constant_pad(layers: Layers, x: Blob, pad: Sequence[int], value: float = 0.0) -> Blob:
    for axis, before, after in _padding(x, pad):
        x = layers.window(x, axis, max(-before, 0), x.shape[axis] - max(-after, 0))
        x = _extend(layers, x, axis, max(before, 0), value, at_start=True)
        x = _extend(layers, x, axis, max(after, 0), value, at_start=False)
    return x


def replication_pad(layers: Layers, x: Blob, pad: Sequence[int]) -> Blob:
    for axis, before, after in _padding(x, pad):
        if min(before, after) < 0:
            raise CannotLower("replication with negative padding")
        length = x.shape[axis]
        if not before and not after:
            continue
        # cut into all its parts, so that no part is left over
        ends = sorted({0, min(1, length) if before else 0, length - 1 if after else length, length})
        parts = [layers.window(x, axis, start, stop) for start, stop in itertools.pairwise(ends)]
        x = layers.concat([parts[0]] * before + parts + [parts[-1]] * after, axis)
    return x


def view(layers: Layers, x: Blob, shape: Sequence[int]) -> Blob:
    return layers.reshape(x, tuple(torch.empty(x.shape, device="meta").reshape(list(shape)).shape))


def unsqueeze(layers: Layers, x: Blob, axis: int) -> Blob:
    axis %= len(x.shape) + 1
    return layers.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(layers: Layers, x: Blob, axes: Sequence[int] | int | None = None) -> Blob:
    axes = range(len(x.shape)) if axes is None else [axes] if isinstance(axes, int) else axes
    dropped = {axis % len(x.shape) for axis in axes}
    return layers.reshape(x, tuple(n for axis, n in enumerate(x.shape) if axis not in dropped or n != 1))


def permute(layers: Layers, x: Blob, order: Sequence[int]) -> Blob:
    order = [axis % len(x.shape) for axis in order]
    shape = tuple(x.shape[axis] for axis in order)
    long = [axis for axis in order if x.shape[axis] != 1]
    if long == sorted(long):  # axes of length one alone change their place
        return layers.reshape(x, shape)
    # axes that stay together go as one, and those of length one not at all: readers know few axes
    runs: list[list[int]] = []
    for axis in long:
        if runs and not any(runs[-1][-1] < between < axis for between in long) and axis > runs[-1][-1]:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    stored = sorted(runs)
    folded = layers.reshape(x, tuple(prod(x.shape[axis] for axis in run) for run in stored))
    places = [stored.index(run) for run in runs]
    moved = layers.add("Permute", [folded], tuple(folded.shape[place] for place in places), order=places)
    return layers.reshape(moved, shape)


def transpose(layers: Layers, x: Blob, a: int, b: int) -> Blob:
    order = list(range(len(x.shape)))
    order[a], order[b] = order[b], order[a]
    return permute(layers, x, order)


def expand(layers: Layers, x: Blob, shape: Sequence[int], implicit: bool = False) -> Blob:
    return broadcast(layers, x, shape)


def repeat(layers: Layers, x: Blob, times: Sequence[int]) -> Blob:
    x = layers.reshape(x, (1,) * (len(times) - len(x.shape)) + x.shape)
    for axis, count in enumerate(times):
        x = layers.concat([x] * count, axis)
    return x


def same(layers: Layers, x: Any, *_: Any) -> Any:
    return x


def _padding(x: Blob, pad: Sequence[int]) -> list[tuple[int, int, int]]:
    """(axis, before, after), PyTorch counting from the last axis."""
    return [(len(x.shape) - 1 - i, pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]


def _extend(layers: Layers, x: Blob, axis: int, count: int, value: float, at_start: bool) -> Blob:
    """By constants, which are made of as much of x itself: Caffe has no tensor that comes from nowhere."""
    length = x.shape[axis]
    whole, rest = divmod(count, length)
    if not whole:  # cut into all its parts, so that no part is left over
        cut = rest if at_start else length - rest
        head, tail = layers.window(x, axis, 0, cut), layers.window(x, axis, cut, length)
        filled = [layers.affine(head if at_start else tail, 0.0, value)] if rest else []
        parts = [*filled, head, tail] if at_start else [head, tail, *filled]
        return layers.concat([part for part in parts if part.size], axis)
    block = layers.affine(x, 0.0, value)
    filled = [block] * whole + [layers.window(block, axis, 0, rest)] * bool(rest)
    return layers.concat([*filled, x] if at_start else [x, *filled], axis)


def _constant(layers: Layers, value: Tensor, like: Blob, axis: int) -> Blob:
    """A tensor beside `like` in a concatenation."""
    if value.numel() == 0:
        return Blob("nothing", tuple(value.shape))
    if value.numel() != 1 and bool((value != value.reshape(-1)[0]).any()):
        return constant(layers, value, like)
    pieces, left = [], value.shape[axis]
    while left > 0:
        pieces.append(layers.window(like, axis, 0, min(left, like.shape[axis])))
        left -= pieces[-1].shape[axis]
    return layers.concat([layers.affine(piece, 0.0, float(value.reshape(-1)[0])) for piece in pieces], axis)


LOWERINGS = {
    "flip": flip, "unfold": unfold,
    "cat": cat, "stack": stack, "slice.Tensor": slice_, "select.int": select, "split_with_sizes": split,
    "split.Tensor": split, "unbind": unbind, "constant_pad_nd": constant_pad, "replication_pad2d": replication_pad,
    "view": view, "_unsafe_view": view, "reshape": view, "unsqueeze": unsqueeze, "squeeze": squeeze,
    "permute": permute, "transpose": transpose, "expand": expand, "repeat": repeat, "clone": same, "alias": same,
    "detach": same, "contiguous": same, "_to_copy": same, "to": same, "lift_fresh_copy": same,
}  # fmt: skip
