"""Depth maps in any of the formats that hold one: npz, npy, PFM (metres) and 16-bit PNG (metres times a scale)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from leadline.data.formats.arrays import read_array
from leadline.data.formats.depth_png import MILLIMETRES, read_depth_png
from leadline.data.formats.pfm import read_pfm
from leadline.errors import UserError

SUFFIXES = (".npz", ".npy", ".pfm", ".png")
_UNKNOWN_ABOVE = 1e6  # m; some tools write a huge number for unknown


def read_depth(
    path: str | os.PathLike, scale: float = MILLIMETRES
) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Reads a depth map, the format told by the suffix.

    Args:
        path: .npz (key `depth`, or the only array), .npy or .pfm in metres; .png of 16 bits.
        scale: of a .png: what a metre is stored as.

    Returns:
        Depth (m, 0 where not valid) and validity (finite, positive, at most 1e6).

    Raises:
        UserError: another suffix, a damaged file, or not a (h, w) map of numbers.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".png":
        return read_depth_png(path, scale)
    if suffix == ".pfm":
        stored, _ = read_pfm(path)
    elif suffix in (".npy", ".npz"):
        stored = read_array(path, default="depth")
    else:
        raise UserError(f"{path}: a depth map's name ends in one of {', '.join(SUFFIXES)}")
    if stored.ndim != 2 or stored.size == 0 or stored.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds {stored.dtype} {stored.shape}; a depth map is (h, w) numbers, m")
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(stored) & (stored > 0) & (stored <= _UNKNOWN_ABOVE)
    return np.where(valid, stored, 0).astype(np.float32), valid
