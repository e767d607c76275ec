"""Tensors as one entropy-coded block: what makes a file of masks, indices and codebooks small.

Tensors of one kind lie together (all masks, all values, all codebooks). Numbers of several bytes are split into planes
(all first bytes, all second bytes ...), as sign and exponent repeat themselves where the mantissa does not, and numbers
that half precision holds exactly are stored in it. Each plane is coded by LZMA with a single context for literals: on
bytes without order that is an adaptive arithmetic coder of their frequencies, and it finds runs besides. Nothing is
lost, and a checksum tells damage.
"""

from __future__ import annotations

import json
import lzma
import struct
import zlib
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

BUNDLE = "leadline.bundle"  # the one tensor of a bundled file
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0}]
_HEAD = struct.Struct("<II")  # checksum of all that follows it, length of the description


def bundle(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as one of bytes."""
    groups: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = defaultdict(list)
    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        values = _as_numpy(tensor)
        if kind == "float32" and _fits_half(values):
            kind, values = "float32 in float16", values.astype(np.float16)
        groups[kind, name.rpartition(".")[2]].append((name, values))
    described, streams = [], []
    for (kind, _), members in groups.items():
        joined = np.concatenate([values.reshape(-1) for _, values in members])
        planes = [_encode(plane.tobytes()) for plane in _planes(joined)]
        described.append([kind, [[name, list(values.shape)] for name, values in members], [len(p) for p in planes]])
        streams += planes
    description = zlib.compress(json.dumps(described, separators=(",", ":")).encode(), 9)
    content = struct.pack("<I", len(description)) + description + b"".join(streams)
    content = struct.pack("<I", zlib.crc32(content)) + content
    return {BUNDLE: torch.frombuffer(bytearray(content), dtype=torch.uint8)}


def unbundle(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes `bundle` back; tensors that are not bundled are given back as they are.

    Raises:
        ValueError: a bundle that is damaged.
    """
    if BUNDLE not in tensors:
        return tensors
    content = tensors[BUNDLE].numpy().tobytes()
    try:
        checksum, length = _HEAD.unpack_from(content)
        if zlib.crc32(content[4:]) != checksum:
            raise ValueError("the checksum differs")
        place = _HEAD.size + length
        found: dict[str, Tensor] = {}
        for kind, members, lengths in json.loads(zlib.decompress(content[_HEAD.size : place])):
            planes = []
            for size in lengths:
                planes.append(np.frombuffer(_decode(content[place : place + size]), np.uint8))
                place += size
            found.update(_split(kind, members, planes))
    except (struct.error, zlib.error, lzma.LZMAError, json.JSONDecodeError) as error:
        raise ValueError(f"damaged ({error})") from error
    return found


def _split(kind: str, members: list, planes: list[np.ndarray]) -> dict[str, Tensor]:
    wanted, _, stored = kind.partition(" in ")
    dtype = _numpy_dtype(stored or wanted)
    joined = np.ascontiguousarray(np.stack(planes, 1)).view(dtype).reshape(-1)
    found, start = {}, 0
    for name, shape in members:
        count = int(np.prod(shape, dtype=np.int64))
        values = torch.from_numpy(joined[start : start + count].copy()).reshape(shape)
        found[name] = values.view(getattr(torch, wanted)) if wanted == "bfloat16" else values.to(getattr(torch, wanted))
        start += count
    return found


def _as_numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()  # NumPy has no bfloat16


def _numpy_dtype(name: str) -> np.dtype:
    return np.dtype("uint16" if name == "bfloat16" else name)


def _fits_half(values: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16).astype(np.float32)
    return half.tobytes() == values.tobytes()


def _planes(values: np.ndarray) -> list[np.ndarray]:
    return list(np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T)


def _encode(content: bytes) -> bytes:
    """One byte for how, then the bytes, coded where that is shorter."""
    coded = lzma.compress(content, lzma.FORMAT_RAW, filters=_FILTERS)
    return b"\1" + coded if len(coded) < len(content) else b"\0" + content


def _decode(content: bytes) -> bytes:
    return lzma.decompress(content[1:], lzma.FORMAT_RAW, filters=_FILTERS) if content[:1] == b"\1" else content[1:]
