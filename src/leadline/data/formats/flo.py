"""Middlebury's .flo: dense optical flow, float32, little-endian.

Format: https://vision.middlebury.edu/flow/code/flow-code/README.txt. Values beyond 1e9 mean unknown.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from leadline.data.formats.content import COPY_AGAIN, check_length, mislabelled, read_content
from leadline.errors import UserError
from leadline.files import write_whole

_MAGIC = b"PIEH"  # 202021.25 as a little-endian float
_UNKNOWN_ABOVE, _UNKNOWN = 1e9, 1e10


def read_flo(path: str | os.PathLike) -> tuple[Float32[np.ndarray, "h w 2"], Bool[np.ndarray, "h w"]]:
    """Reads a .flo file.

    Returns:
        Flow (u, v) in px, 0 where not valid, and validity.

    Raises:
        UserError: not a .flo, or more or fewer bytes than its header announces.
    """
    content = read_content(path)
    if not content.startswith(_MAGIC):
        raise mislabelled(path, content, "a .flo flow field")
    if len(content) < 12:
        raise UserError(f"{path}: truncated .flo header: {COPY_AGAIN}")
    width, height = struct.unpack_from("<ii", content, 4)
    if width <= 0 or height <= 0:
        raise UserError(f"{path}: the .flo header has the size {width} x {height}: {COPY_AGAIN}")
    check_length(path, len(content), 12 + 8 * width * height)
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    valid = np.abs(flow).max(axis=2) <= _UNKNOWN_ABOVE  # False for NaN too
    flow[~valid] = 0
    return flow, valid


def write_flo(
    path: str | os.PathLike, flow: Float32[np.ndarray, "h w 2"], valid: Bool[np.ndarray, "h w"] | None = None
) -> Path:
    """Writes a .flo file; where not valid (without `valid`: not finite) 1e10, which readers take for unknown."""
    if valid is None:
        valid = np.isfinite(flow[:, :, 0]) & np.isfinite(flow[:, :, 1])
    height, width = valid.shape
    stored = np.where(valid[:, :, None], flow, np.float32(_UNKNOWN)).astype("<f4")
    return write_whole(path, _MAGIC + struct.pack("<ii", width, height) + stored.tobytes())
