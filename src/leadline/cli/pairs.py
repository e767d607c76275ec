"""Which files `leadline predict LEFT RIGHT` means."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from leadline.data.formats.images import SUFFIXES
from leadline.errors import UserError


@dataclass(frozen=True)
class Pair:
    """The files of a pair, and the name of the folder that its results go to."""

    left: Path
    right: Path
    name: str


def find_pairs(left: str, right: str) -> list[Pair]:
    """Pairs up what LEFT and RIGHT name: two files, two folders or two globs, in the order of their sorted names.

    Raises:
        UserError: one side is missing or empty, or the sides do not have the same number of images.
    """
    left_files, right_files = _images("LEFT", left), _images("RIGHT", right)
    if len(left_files) != len(right_files):
        raise UserError(
            f"{left} has {len(left_files)} image(s) and {right} has {len(right_files)}: "
            "pairs are made in the order of the sorted names, so both sides need the same number"
        )
    return [Pair(*files) for files in zip(left_files, right_files, _names(left_files), strict=True)]


def _images(side: str, where: str) -> list[Path]:
    path = Path(where)
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        if not found:
            raise UserError(f"{side} {where}: no image in this folder ({', '.join(SUFFIXES)})")
        return found
    if path.exists():
        return [path]
    if glob.has_magic(where):
        found = [Path(file) for file in sorted(glob.glob(where, recursive=True)) if Path(file).is_file()]
        if not found:
            raise UserError(f"{side} {where}: no file matches this pattern")
        return found
    raise UserError(f"{side} {where}: no such file or folder: check the path")


def _names(files: list[Path]) -> list[str]:
    """The files' stems; where those repeat, as in scene/im0.png, the way from their common folder."""
    stems = [file.stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    common = os.path.commonpath([file.parent for file in files])
    return ["_".join(file.relative_to(common).parts) for file in files]
