"""PFM: float maps with one or three channels, rows from the bottom up, either byte order.

Format: http://netpbm.sourceforge.net/doc/pfm.html. The sign of the scale in the header is the byte order (negative:
little-endian). Its absolute value is a unit of brightness which stereo data sets do not apply to the values
(https://vision.middlebury.edu/stereo/submit3/upload-format.html), so it is returned beside them.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from leadline.data.formats.content import COPY_AGAIN, check_length, mislabelled, read_content
from leadline.errors import UserError
from leadline.files import write_whole

_HEADER = re.compile(rb"(PF|Pf)\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]+)(?:\r\n|\s)")

FloatMap = Float32[np.ndarray, "h w"] | Float32[np.ndarray, "h w 3"]


def read_pfm(path: str | os.PathLike) -> tuple[FloatMap, float]:
    """Reads a PFM file as it is stored, unknown values (inf, NaN) included.

    Returns:
        The map, (h, w) or (h, w, 3) float32, top row first, and the absolute value of the header's scale.

    Raises:
        UserError: not a PFM, a damaged header, or more or fewer bytes than the header announces.
    """
    content = read_content(path)
    if not content.startswith((b"PF", b"Pf")):
        raise mislabelled(path, content, "a PFM map")
    header = _HEADER.match(content[:200])
    if header is None:
        raise UserError(f"{path}: the PFM header is damaged: {COPY_AGAIN}")
    channels = 3 if header[1] == b"PF" else 1
    width, height = int(header[2]), int(header[3])
    scale = _number(header[4])
    if scale == 0 or not math.isfinite(scale) or width == 0 or height == 0:
        raise UserError(f"{path}: the PFM header has a size or a scale of {scale:g}, {width} x {height}: {COPY_AGAIN}")
    check_length(path, len(content), header.end() + 4 * width * height * channels)
    stored = np.frombuffer(content, "<f4" if scale < 0 else ">f4", offset=header.end())
    rows = stored.reshape((height, width, 3) if channels == 3 else (height, width))[::-1]
    return np.ascontiguousarray(rows, dtype=np.float32), abs(scale)


def write_pfm(path: str | os.PathLike, values: FloatMap, scale: float = 1.0, big_endian: bool = False) -> Path:
    """Writes (h, w) or (h, w, 3) float32, top row first, as a PFM file.

    Raises:
        UserError: the place cannot be written.
        ValueError: `scale` is not a positive number.
    """
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"a PFM's scale is a positive number, not {scale}")
    kind = "PF" if values.ndim == 3 else "Pf"
    height, width = values.shape[:2]
    header = f"{kind}\n{width} {height}\n{scale if big_endian else -scale}\n".encode()
    return write_whole(path, header + values[::-1].astype(">f4" if big_endian else "<f4").tobytes())


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
