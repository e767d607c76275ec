"""Lowerings of interpolation and of moving pixels between space and channels, all by fixed kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leadline.deploy.targets.caffe.layers import Blob, Layers
from leadline.deploy.targets.caffe.refusal import CannotLower
from leadline.deploy.targets.caffe.shapes import replication_pad

_MOST_ROWS = 256  # that are seen as channels


def bilinear(
    layers: Layers,
    x: Blob,
    size: Sequence[int] | None,
    align_corners: bool,
    factors: Sequence[float] | None = None,
) -> Blob:
    """Whole factors, half-pixel centres: a transposed convolution per channel with triangular weights.

    Beyond the border the nearest pixel counts, which is why one pixel is repeated on each side first.
    """
    if align_corners:
        raise CannotLower("bilinear with align_corners=True")
    rows, columns = _factors(x, size, factors)
    if columns == 1 and x.shape[2] <= _MOST_ROWS:
        return _rows_alone(layers, x, rows)
    x = replication_pad(layers, x, [int(columns > 1)] * 2 + [int(rows > 1)] * 2)
    kernel = np.outer(_triangle(rows), _triangle(columns))
    return _per_channel_transposed(layers, x, kernel, (rows, columns), (_cut(rows), _cut(columns)))


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
    rows, columns = _factors(x, size, factors)
    return _per_channel_transposed(layers, x, np.ones((rows, columns)), (rows, columns), (0, 0))


def pixel_shuffle(layers: Layers, x: Blob, factor: int) -> Blob:
    """Each channel is written to its place among factor x factor pixels."""
    kernels = np.eye(factor * factor).reshape(factor * factor, 1, factor, factor)
    groups = x.shape[1] // (factor * factor)
    return layers.convolution(
        x, np.tile(kernels, (groups, 1, 1, 1)), stride=(factor, factor), groups=groups, transposed=True
    )


def pixel_unshuffle(layers: Layers, x: Blob, factor: int) -> Blob:
    kernels = np.eye(factor * factor).reshape(factor * factor, 1, factor, factor)
    groups = x.shape[1]
    return layers.convolution(x, np.tile(kernels, (groups, 1, 1, 1)), stride=(factor, factor), groups=groups)


def _factors(x: Blob, size: Sequence[int] | None, factors: Sequence[float] | None) -> tuple[int, int]:
    wanted = size or [int(n * factor) for n, factor in zip(x.shape[2:], factors or (), strict=True)]
    (h, w), (to_h, to_w) = x.shape[2:], wanted
    if to_h % h or to_w % w:
        raise CannotLower(f"resizing {h}x{w} to {to_h}x{to_w}, which is no whole factor")
    if factors and any(factor != int(factor) for factor in factors):
        raise CannotLower(f"resizing by {factors[0]:g} x {factors[1]:g}")
    return to_h // h, to_w // w


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
