"""KITTI's maps: disparity in a 16-bit grey PNG, flow in a 16-bit RGB PNG.

Encoding: the development kits of KITTI 2012 and 2015, https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from leadline.data.formats.images import read_image, write_image
from leadline.errors import UserError

DISPARITY_SCALE = 256.0  # stored = disparity * 256
MAX_DISPARITY = 65535 / DISPARITY_SCALE  # px, the largest that 16 bits hold
_FLOW_SCALE, _FLOW_ZERO = 64.0, 32768  # stored = flow * 64 + 2^15


def read_kitti_disparity(
    path: str | os.PathLike, scale: float = DISPARITY_SCALE
) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Reads a disparity PNG: uint16, disparity = value / `scale` px, 0 where it is unknown.

    Returns:
        Disparity (px, 0 where not valid) and validity.

    Raises:
        UserError: not a 16-bit greyscale PNG, or damaged.
    """
    stored = read_image(path)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        raise UserError(f"{path}: holds {_kind(stored)}; a disparity PNG is 16-bit grey (disparity x {scale:g})")
    return (stored / np.float32(scale)).astype(np.float32), stored > 0


def write_kitti_disparity(
    path: str | os.PathLike, disparity: Float32[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"] | None = None
) -> Path:
    """Writes a disparity PNG (uint16, x 256, rounded; 0 where not valid).

    Without `valid`, what is finite and positive is. A valid disparity below 1/256 px is stored as 1/256.

    Raises:
        UserError: a valid disparity is over MAX_DISPARITY (255.996 px), or the place cannot be written.
    """
    if valid is None:
        valid = np.isfinite(disparity) & (disparity > 0)
    kept = np.where(valid, disparity, 0).astype(np.float64)
    stored = np.rint(kept * DISPARITY_SCALE)
    if stored.max(initial=0) > 65535:
        raise UserError(
            f"{path}: a disparity of {kept.max():.1f} px does not fit a KITTI PNG (up to {MAX_DISPARITY:.3f} px): "
            "write a .pfm or mask it"
        )
    return write_image(path, np.where(valid, np.maximum(stored, 1), 0).astype(np.uint16))


def read_kitti_flow(path: str | os.PathLike) -> tuple[Float32[np.ndarray, "h w 2"], Bool[np.ndarray, "h w"]]:
    """Reads a flow PNG: 16-bit RGB, (u, v) = (R - 2^15, G - 2^15) / 64 px, valid where B is not 0.

    Returns:
        Flow (u, v) in px, 0 where not valid, and validity.

    Raises:
        UserError: not a 16-bit RGB PNG, or damaged.
    """
    stored = read_image(path)
    if stored.dtype != np.uint16 or stored.ndim != 3:
        raise UserError(f"{path}: holds {_kind(stored)}; a KITTI flow PNG is 16-bit RGB (u, v, valid)")
    valid = stored[:, :, 2] > 0
    flow = (stored[:, :, :2].astype(np.float32) - _FLOW_ZERO) / np.float32(_FLOW_SCALE)
    return np.where(valid[:, :, None], flow, np.float32(0)), valid


def write_kitti_flow(
    path: str | os.PathLike, flow: Float32[np.ndarray, "h w 2"], valid: Bool[np.ndarray, "h w"] | None = None
) -> Path:
    """Writes a flow PNG, rounded to 1/64 px. Without `valid`, what is finite is.

    Raises:
        UserError: a valid flow does not fit (-512 to 511.98 px), or the place cannot be written.
    """
    if valid is None:
        valid = np.isfinite(flow[:, :, 0]) & np.isfinite(flow[:, :, 1])
    stored = np.rint(np.where(valid[:, :, None], flow, 0).astype(np.float64) * _FLOW_SCALE) + _FLOW_ZERO
    if stored.min(initial=0) < 0 or stored.max(initial=0) > 65535:
        raise UserError(f"{path}: a flow beyond -512 to 511.98 px does not fit a KITTI PNG: write a .flo")
    stored[~valid] = 0
    return write_image(path, np.concatenate([stored, valid[:, :, None]], axis=2).astype(np.uint16))


def _kind(image: np.ndarray) -> str:
    return f"{image.dtype.itemsize * 8}-bit {'grey' if image.ndim == 2 else 'RGB'}"
