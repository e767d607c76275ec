"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from leadline.errors import UserError


def writable_folder(path: str | os.PathLike) -> Path:
    """The folder at `path`, made where missing, so that nothing is computed that could not be kept.

    Raises UserError where it cannot be made or written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made ({error.strerror}): choose another folder") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"{path}: cannot be written: choose another folder")
    return folder


def write_whole(path: str | os.PathLike, content: bytes) -> Path:
    """Writes `content` to a temporary file beside `path`, then renames it over.

    Missing folders are made. Raises UserError where the place cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's 0600 is not what a user expects of a result
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from error
    finally:  # after Ctrl-C as well
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
    return path
