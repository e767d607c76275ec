"""Disparity maps in any of the formats that hold one: PFM, KITTI PNG, npy and npz."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Num

from leadline.data.formats.arrays import read_array, write_array
from leadline.data.formats.kitti import read_kitti_disparity, write_kitti_disparity
from leadline.data.formats.pfm import read_pfm, write_pfm
from leadline.errors import UserError

SUFFIXES = (".pfm", ".png", ".npz", ".npy")
_UNKNOWN_ABOVE = 1e9  # px; some tools write a huge number for unknown


def split_valid(stored: Num[np.ndarray, "h w"]) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Disparity (px, 0 where not valid) and validity: finite, positive, at most 1e9."""
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(stored) & (stored > 0) & (stored <= _UNKNOWN_ABOVE)
    return np.where(valid, stored, 0).astype(np.float32), valid


def read_disparity(
    path: str | os.PathLike, key: str | None = None
) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Reads a disparity map, the format told by the suffix: .pfm, .png (KITTI's: 16-bit, x 256), .npy or .npz.

    Args:
        path: the file.
        key: of the array in an .npz; by default `disparity` where there is one, or the only array.

    Returns:
        Disparity (px, 0 where not valid) and validity (finite and positive).

    Raises:
        UserError: another suffix, a damaged file, or not a (h, w) map of numbers.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".png":
        return read_kitti_disparity(path)
    if suffix == ".pfm":
        stored, _ = read_pfm(path)
    elif suffix in (".npy", ".npz"):
        stored = read_array(path, key, default="disparity")
    else:
        raise UserError(f"{path}: a disparity map's name ends in one of {', '.join(SUFFIXES)}")
    if stored.ndim != 2 or stored.size == 0 or stored.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds {stored.dtype} {stored.shape}; a disparity map is (h, w) numbers")
    return split_valid(stored)


def write_disparity(
    path: str | os.PathLike, disparity: Float32[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"] | None = None
) -> Path:
    """Writes a disparity map in the format of the suffix; where not valid: .pfm inf, .png 0, .npy and .npz NaN.

    Without `valid`, what is finite and positive is. An .npz has the key `disparity`.

    Raises:
        UserError: another suffix, a disparity that a PNG cannot hold, or a place that cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if valid is None:
        valid = np.isfinite(disparity) & (disparity > 0)
    if suffix == ".pfm":
        return write_pfm(path, np.where(valid, disparity, np.float32(np.inf)))
    if suffix == ".png":
        return write_kitti_disparity(path, disparity, valid)
    if suffix in (".npy", ".npz"):
        return write_array(path, disparity=np.where(valid, disparity, np.float32(np.nan)))
    raise UserError(f"{path}: a disparity map's name ends in one of {', '.join(SUFFIXES)}")
