"""Depth in a 16-bit grey PNG: metres times a scale that has to be stated, 0 where it is unknown."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from leadline.data.formats.images import read_image, write_image
from leadline.errors import UserError

MILLIMETRES = 1000.0  # leadline's own, RealSense, Azure Kinect, Redwood
TUM = 5000.0
KITTI = 256.0


def read_depth_png(path: str | os.PathLike, scale: float) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Reads a depth PNG: depth = value / `scale` m.

    Returns:
        Depth (m, 0 where not valid) and validity.

    Raises:
        UserError: not a 16-bit greyscale image, or damaged.
    """
    stored = read_image(path)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        kind = f"{stored.dtype} {'x'.join(map(str, stored.shape))}"
        raise UserError(f"{path}: holds {kind}; a depth PNG is 16-bit grey (metres x {scale:g})")
    return (stored / np.float64(scale)).astype(np.float32), stored > 0


def write_depth_png(
    path: str | os.PathLike,
    depth: Float32[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
    scale: float = MILLIMETRES,
) -> Path:
    """Writes depth (m) as a 16-bit PNG, rounded to 1 / `scale` m; 0 where not valid.

    Without `valid`, what is finite and positive is. What rounds to 0 or lies beyond 65535 / `scale` m cannot be told
    in 16 bits and is written as unknown.

    Raises:
        UserError: the place cannot be written.
    """
    if valid is None:
        valid = np.isfinite(depth) & (depth > 0)
    stored = np.rint(np.where(valid, depth, 0).astype(np.float64) * scale)
    return write_image(path, np.where(stored <= 65535, stored, 0).astype(np.uint16))
