"""Images as cameras and data sets store them: PNG, JPEG, PPM, PGM, BMP and TIFF, 8 or 16 bits."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16

from leadline.data.formats.content import COPY_AGAIN, check_length, looks_like, read_content
from leadline.errors import UserError
from leadline.files import write_whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".tif", ".tiff")

Image = (
    UInt8[np.ndarray, "h w"]
    | UInt8[np.ndarray, "h w 3"]
    | UInt16[np.ndarray, "h w"]
    | UInt16[np.ndarray, "h w 3"]
)  # fmt: skip


def read_image(path: str | os.PathLike) -> Image:
    """Reads an image as it is stored: no rescaling, no EXIF rotation; an alpha channel is dropped.

    Returns:
        uint8 or uint16, (h, w) for greyscale or (h, w, 3) RGB.

    Raises:
        UserError: the file is missing, damaged, truncated, no image, or of another type than 8 or 16 bits.
    """
    content = read_content(path)
    if not looks_like(content).endswith("image"):
        raise UserError(f"{path}: is {looks_like(content)}, not an image: PNG, JPEG, PPM, PGM, BMP and TIFF are read")
    _check_structure(path, content)
    try:
        with _quiet_opencv():
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{path}: damaged or truncated, it cannot be decoded: {COPY_AGAIN}")
    if image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: holds {image.dtype} values: save it with 8 or 16 bits per channel")
    if image.ndim == 2:
        return image
    return np.ascontiguousarray(image[:, :, 2::-1])  # BGR or BGRA to RGB


def write_image(path: str | os.PathLike, image: Image) -> Path:
    """Writes an image in the format that the path's suffix names (PNG, PPM, PGM, BMP and TIFF are lossless).

    Raises:
        UserError: an unknown suffix, a format that cannot hold the image, or a place that cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: an image's name ends in one of {', '.join(SUFFIXES)}")
    if image.dtype == np.uint16 and suffix in (".jpg", ".jpeg", ".bmp"):
        raise UserError(f"{path}: {suffix} cannot hold 16 bits per channel: write a .png")
    if (suffix == ".pgm" and image.ndim == 3) or (suffix == ".ppm" and image.ndim == 2):
        raise UserError(f"{path}: .pgm is for greyscale and .ppm for colour: write a .png")
    written = image if image.ndim == 2 else image[:, :, ::-1]
    encoded, content = cv2.imencode(suffix, np.ascontiguousarray(written))
    if not encoded:
        raise UserError(f"{path}: cannot be encoded: write a .png")
    return write_whole(path, content.tobytes())


def _check_structure(path: str | os.PathLike, content: bytes) -> None:
    """Finds what OpenCV lets pass (trailing bytes) or reports only on stderr (truncation, bad checksums)."""
    if content.startswith(b"\x89PNG"):
        _check_png(path, content)
    elif content.startswith(b"BM") and len(content) >= 6:
        check_length(path, len(content), struct.unpack_from("<I", content, 2)[0])
    elif content.startswith((b"P5", b"P6")):
        _check_binary_pnm(path, content)
    # JPEG and TIFF: OpenCV refuses truncated ones; bytes after the end are legal there and cameras use them.


def _check_png(path: str | os.PathLike, content: bytes) -> None:
    """Walks the chunks (length, type, data, checksum) to IEND, which must be the file's end."""
    position, kind = 8, b""
    while kind != b"IEND":
        if position + 12 > len(content):
            raise UserError(f"{path}: truncated PNG: {COPY_AGAIN}")
        length = struct.unpack_from(">I", content, position)[0]
        kind = content[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(content):
            raise UserError(f"{path}: truncated PNG: {COPY_AGAIN}")
        if zlib.crc32(memoryview(content)[position + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            raise UserError(f"{path}: damaged PNG, a checksum is wrong: {COPY_AGAIN}")
        position = end
    check_length(path, len(content), position)


def _check_binary_pnm(path: str | os.PathLike, content: bytes) -> None:
    gap = rb"(?:\s|#[^\n]*\n)+"
    header = re.match(rb"P([56])" + gap + rb"(\d{1,9})" + gap + rb"(\d{1,9})" + gap + rb"(\d{1,9})\s", content)
    if header is None:
        raise UserError(f"{path}: the PPM or PGM header is damaged: {COPY_AGAIN}")
    kind, width, height, largest = (int(group) for group in header.groups())
    samples = width * height * (3 if kind == 6 else 1)
    check_length(path, len(content), header.end() + samples * (2 if largest > 255 else 1))


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV's own warnings would stand beside the one-line error."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
