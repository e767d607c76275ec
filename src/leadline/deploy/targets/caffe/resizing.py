"""Lowerings of interpolation and of moving pixels between space and channels, all by fixed kernels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from leadline.deploy.targets.caffe.layers import Blob, Layers
from leadline.deploy.targets.caffe.refusal import CannotLower
from leadline.deploy.targets.caffe.shapes import replication_pad

_MOST_ROWS = 256  # that are seen as channels
_LARGEST_BLOCK = 16  # rows and columns of pixels that are replaced together


def bilinear(
    layers: Layers,
    x: Blob,
    size: Sequence[int] | None,
    align_corners: bool,
    factors: Sequence[float] | None = None,
) -> Blob:
    """Half-pixel centres: for whole factors a transposed convolution per channel with triangular weights.

    Beyond the border the nearest pixel counts, which is why one pixel is repeated on each side first.
    """
    if align_corners:
        raise CannotLower("bilinear with align_corners=True")
    ratios = _ratios(x, size, factors)
    if any(ratio.denominator > 1 for ratio in ratios):
        return _by_ratios(layers, x, *ratios)
    rows, columns = (ratio.numerator for ratio in ratios)
    if columns == 1 and x.shape[2] <= _MOST_ROWS:
        return _rows_alone(layers, x, rows)
    x = replication_pad(layers, x, [int(columns > 1)] * 2 + [int(rows > 1)] * 2)
    kernel = np.outer(_triangle(rows), _triangle(columns))
    return _per_channel_transposed(layers, x, kernel, (rows, columns), (_cut(rows), _cut(columns)))


def _by_ratios(layers: Layers, x: Blob, rows: Fraction, columns: Fraction) -> Blob:
    """Ratios p/q: a convolution with stride q finds the p x p new pixels for q x q old ones, which are then placed."""
    channels = x.shape[1]
    weight = np.einsum("ai,bj->abij", _of_a_block(rows), _of_a_block(columns))
    weight = weight.reshape(-1, 1, *weight.shape[2:])
    x = replication_pad(layers, x, [1, 1, 1, 1])
    stride = rows.denominator, columns.denominator
    found = layers.convolution(x, np.tile(weight, (channels, 1, 1, 1)), stride=stride, groups=channels)
    return _place(layers, found, (rows.numerator, columns.numerator))


def _of_a_block(ratio: Fraction) -> np.ndarray:
    """Weights (p, q + 2) of q pixels and their two neighbours on the p pixels that come in their place."""
    place = (np.arange(ratio.numerator) + 0.5) / float(ratio) - 0.5
    return np.maximum(1 - np.abs(place[:, None] - np.arange(-1, ratio.denominator + 1)), 0)


def _rows_alone(layers: Layers, x: Blob, factor: int) -> Blob:
    """Rows seen as channels: a 1x1 convolution. OpenCV crashes on transposed convolutions of very wide images, and an
    image whose rows are disparities, and whose columns are all pixels, is very wide."""
    n, c, h, w = x.shape
    place = np.clip((np.arange(factor * h) + 0.5) / factor - 0.5, 0, h - 1)
    weight = np.maximum(1 - np.abs(place[:, None] - np.arange(h)), 0)
    fine = layers.convolution(layers.reshape(x, (n * c, h, 1, w)), weight[:, :, None, None])
    return layers.reshape(fine, (n, c, factor * h, w))


def nearest(
    layers: Layers, x: Blob, size: Sequence[int] | None, factors: Sequence[float] | None = None
) -> Blob:  # fmt: skip
    ratios = _ratios(x, size, factors)
    if any(ratio.denominator > 1 for ratio in ratios):
        raise CannotLower(f"taking the nearest pixel at {float(ratios[0]):g} x {float(ratios[1]):g} the size")
    rows, columns = (ratio.numerator for ratio in ratios)
    return _per_channel_transposed(layers, x, np.ones((rows, columns)), (rows, columns), (0, 0))


def pixel_shuffle(layers: Layers, x: Blob, factor: int) -> Blob:
    """Each channel is written to its place among factor x factor pixels."""
    return _place(layers, x, (factor, factor))


def _place(layers: Layers, x: Blob, block: tuple[int, int]) -> Blob:
    """As many channels as a block has pixels, row by row, are written to their places in it."""
    count = block[0] * block[1]
    kernels = np.eye(count).reshape(count, 1, *block)
    groups = x.shape[1] // count
    return layers.convolution(x, np.tile(kernels, (groups, 1, 1, 1)), stride=block, groups=groups, transposed=True)


def pixel_unshuffle(layers: Layers, x: Blob, factor: int) -> Blob:
    kernels = np.eye(factor * factor).reshape(factor * factor, 1, factor, factor)
    groups = x.shape[1]
    return layers.convolution(x, np.tile(kernels, (groups, 1, 1, 1)), stride=(factor, factor), groups=groups)


def _ratios(x: Blob, size: Sequence[int] | None, factors: Sequence[float] | None) -> tuple[Fraction, Fraction]:
    """Of new rows and columns to old ones."""
    wanted = size or [int(n * factor) for n, factor in zip(x.shape[2:], factors or (), strict=True)]
    ratios = tuple(Fraction(new, old) for new, old in zip(wanted, x.shape[2:], strict=True))
    rows, columns = ratios
    if max(rows.denominator, columns.denominator) > _LARGEST_BLOCK:
        raise CannotLower(f"resizing {x.shape[2]}x{x.shape[3]} to {wanted[0]}x{wanted[1]}, which is no simple ratio")
    if factors and any(abs(factor - ratio) > 1e-6 for factor, ratio in zip(factors, ratios, strict=True)):
        raise CannotLower(f"resizing by {factors[0]:g} x {factors[1]:g}, which leaves part of a pixel")
    return rows, columns


def _triangle(factor: int) -> np.ndarray:
    """Weights of a pixel on those of the finer grid, symmetric round its centre."""
    length = 2 * factor - factor % 2
    return 1 - np.abs(np.arange(length) - (length - 1) / 2) / factor


def _cut(factor: int) -> int:
    """Fine pixels that the repeated border pixel adds before the image, and the kernel before those."""
    return 0 if factor == 1 else (3 * factor - factor % 2) // 2


def _per_channel_transposed(
    layers: Layers, x: Blob, kernel: np.ndarray, stride: tuple[int, int], pad: tuple[int, int]
) -> Blob:
    channels = x.shape[1]
    weight = np.broadcast_to(kernel, (channels, 1, *kernel.shape))
    return layers.convolution(x, weight, stride=stride, pad=pad, groups=channels, transposed=True)


LOWERINGS = {
    "upsample_bilinear2d": bilinear,
    "upsample_nearest2d": nearest,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
}
