"""A file's bytes, and what they look like whatever the file is called."""

from __future__ import annotations

import os
from pathlib import Path

from leadline.errors import UserError

COPY_AGAIN = "copy or download it again"

_LOOKS_LIKE = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"BM": "a BMP image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"P2": "a PGM image",
    b"P3": "a PPM image",
    b"P5": "a PGM image",
    b"P6": "a PPM image",
    b"PF": "a PFM map",
    b"Pf": "a PFM map",
    b"PIEH": "a .flo flow field",
    b"\x93NUMPY": "a .npy array",
    b"PK\x03\x04": "a zip or .npz archive",
    b"\x1f\x8b": "a gzip archive",
    b"ply": "a PLY point cloud",
    b"%PDF": "a PDF",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a Git LFS pointer",
}


def read_content(path: str | os.PathLike) -> bytes:
    """The whole file. Raises UserError where it is missing, unreadable or empty."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder: name a file in it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): check the file and its permissions") from error
    if not content:
        raise UserError(f"{path}: is empty: {COPY_AGAIN}")
    return content


def looks_like(content: bytes) -> str:
    """What the first bytes say, in words, such as "a PNG image"."""
    return next((name for start, name in _LOOKS_LIKE.items() if content.startswith(start)), "of an unknown kind")


def mislabelled(path: str | os.PathLike, content: bytes, wanted: str) -> UserError:
    """The error for a file that is something else than its name or its place says."""
    return UserError(f"{path}: is {looks_like(content)}, not {wanted}: name the right file or convert it")


def check_length(path: str | os.PathLike, found: int, expected: int) -> None:
    """Raises UserError unless a file has exactly the number of bytes that its header announces."""
    if found < expected:
        raise UserError(f"{path}: truncated, {found} of {expected} bytes: {COPY_AGAIN}")
    if found > expected:
        raise UserError(f"{path}: {found - expected} bytes too long for its header: {COPY_AGAIN}")
