"""NumPy's .npy and .npz."""

from __future__ import annotations

import io
import os
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from leadline.data.formats.content import COPY_AGAIN, check_length, mislabelled, read_content
from leadline.errors import UserError, unknown_name
from leadline.files import write_whole


def read_array(path: str | os.PathLike, key: str | None = None, default: str | None = None) -> np.ndarray:
    """Reads the array of an .npy file, or one array of an .npz archive.

    Args:
        path: told apart by content, not by name. Pickled objects are refused.
        key: of the array in an archive; not needed where there is only one.
        default: the key to take, without `key`, from an archive of several.

    Raises:
        UserError: neither format, damaged, truncated or over-long, or no such key.
    """
    content = read_content(path)
    if content.startswith(b"\x93NUMPY"):
        return _parse_npy(path, content)
    if not content.startswith(b"PK\x03\x04"):
        raise mislabelled(path, content, "a .npy or .npz file")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            member = members[_choose(path, list(members), key, default)]
            return _parse_npy(f"{path}[{member}]", archive.read(member))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: damaged or truncated archive ({error}): {COPY_AGAIN}") from error


def write_array(path: str | os.PathLike, **arrays: np.ndarray) -> Path:
    """Writes one array as .npy, or arrays by their keys as a compressed .npz.

    Raises:
        UserError: another suffix, or the place cannot be written.
    """
    buffer = io.BytesIO()
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
    elif suffix == ".npy" and len(arrays) == 1:
        np.save(buffer, next(iter(arrays.values())), allow_pickle=False)
    else:
        raise UserError(f"{path}: {len(arrays)} arrays are written to an .npz, or a single one to an .npy")
    return write_whole(path, buffer.getvalue())


def _choose(path: str | os.PathLike, keys: list[str], key: str | None, default: str | None) -> str:
    if key is None and len(keys) == 1:
        return keys[0]
    if key is None and default in keys:
        return default
    if key is None:
        raise UserError(f"{path}: holds {', '.join(sorted(keys)) or 'no arrays'}: name the key to read")
    if key not in keys:
        raise UserError(f"{path}: {unknown_name('key', key, keys)}")
    return key


def _parse_npy(path: str | os.PathLike, content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, tokenize.TokenError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: damaged, truncated or not a plain array ({reason}): {COPY_AGAIN}") from error
    check_length(path, len(content), stream.tell())
    return array
