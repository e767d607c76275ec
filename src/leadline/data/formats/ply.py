"""PLY point clouds: binary little-endian, with or without colours.

Format: Greg Turk, "The PLY Polygon File Format", 1994.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from leadline.data.formats.content import COPY_AGAIN, check_length, mislabelled, read_content
from leadline.errors import UserError
from leadline.files import write_whole

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "<i2", "int16": "<i2", "ushort": "<u2", "uint16": "<u2",
    "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4",
    "float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8",
}  # fmt: skip
_COUNT = re.compile(r"[0-9]{1,18}")
_POSITION, _COLOR = ("x", "y", "z"), ("red", "green", "blue")


def write_ply(
    path: str | os.PathLike, points: Float32[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"] | None = None
) -> Path:
    """Writes points (x, y, z) and, where given, their RGB colours.

    Raises:
        UserError: the place cannot be written.
    """
    fields = [(name, "<f4") for name in _POSITION] + ([(name, "u1") for name in _COLOR] if colors is not None else [])
    vertices = np.empty(len(points), dtype=fields)
    for index, name in enumerate(_POSITION):
        vertices[name] = points[:, index]
    if colors is not None:
        for index, name in enumerate(_COLOR):
            vertices[name] = colors[:, index]
    properties = [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in fields]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *properties, "end_header"]
    return write_whole(path, "\n".join(header).encode() + b"\n" + vertices.tobytes())


def read_ply(path: str | os.PathLike) -> tuple[Float32[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"] | None]:
    """Reads the points of a binary little-endian PLY and their colours, None where it has none.

    Other properties of the points are passed over, and so are elements after them (faces).

    Raises:
        UserError: not such a PLY, a damaged header, or more or fewer bytes than it announces.
    """
    content = read_content(path)
    if not content.startswith(b"ply"):
        raise mislabelled(path, content, "a PLY point cloud")
    count, fields, elements, start = _parse_header(path, content)
    vertex = np.dtype(fields)
    end = start + count * vertex.itemsize
    if elements == 1 or len(content) < end:
        check_length(path, len(content), end)
    vertices = np.frombuffer(content, vertex, count=count, offset=start)
    points = np.stack([vertices[name] for name in _POSITION], axis=1).astype(np.float32)
    if not all(name in (vertex.names or ()) and vertex[name] == np.uint8 for name in _COLOR):
        return points, None
    return points, np.stack([vertices[name] for name in _COLOR], axis=1)


def _parse_header(path: str | os.PathLike, content: bytes) -> tuple[int, list[tuple[str, str]], int, int]:
    """Number of points, their fields (name, NumPy type), number of elements, where the data begins."""
    damaged = UserError(f"{path}: the PLY header is damaged: {COPY_AGAIN}")
    end = content.find(b"end_header")
    start = content.find(b"\n", end) + 1
    if end < 0 or start == 0:
        raise damaged
    lines = [line.split() for line in content[:end].decode("latin-1").splitlines()[1:]]
    if ["format", "binary_little_endian", "1.0"] not in lines:
        raise UserError(f"{path}: only binary_little_endian PLY is read: convert it")
    elements = [line for line in lines if line[:1] == ["element"]]
    if not elements or len(elements[0]) != 3 or elements[0][1] != "vertex" or not _COUNT.fullmatch(elements[0][2]):
        raise damaged
    until = lines.index(elements[1]) if len(elements) > 1 else len(lines)
    properties = [line for line in lines[:until] if line[:1] == ["property"]]
    fields = [(line[-1], _TYPES.get(line[1], "")) for line in properties if len(line) == 3]
    names = [name for name, _ in fields]
    known = len(fields) == len(properties) and all(kind for _, kind in fields) and len(set(names)) == len(names)
    if not known or not set(_POSITION) <= set(names):
        raise damaged
    return int(elements[0][2]), fields, len(elements), start
