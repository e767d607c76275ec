"""Which files `leadline predict LEFT RIGHT` and `leadline depth IMAGES` mean."""

from __future__ import annotations

import glob
import os
from collections import Counter
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


def find_pairs(left: str, right: str, sides: tuple[str, str] = ("LEFT", "RIGHT")) -> list[Pair]:
    """Pairs up what LEFT and RIGHT name: two files, two folders or two globs, in the order of their sorted names.

    Args:
        sides: what messages call the two.

    Raises:
        UserError: one side is missing or empty, or the sides do not have the same number of images.
    """
    left_files, right_files = _images(sides[0], left), _images(sides[1], right)
    if len(left_files) != len(right_files):
        raise UserError(
            f"{left} has {len(left_files)} image(s) and {right} has {len(right_files)}: "
            "pairs are made in the order of the sorted names, so both sides need the same number"
        )
    return [Pair(*files) for files in zip(left_files, right_files, _names(left_files), strict=True)]


def find_images(what: str, where: str) -> list[tuple[Path, str]]:
    """The images that `where` names (a file, a folder or a glob), in the order of their names, each with its own name.

    Raises:
        UserError: nothing there, or no image in it; `what` names the argument.
    """
    files = _images(what, where)
    return list(zip(files, _names(files), strict=True))


def _images(side: str, where: str) -> list[Path]:
    path = Path(where)
    try:
        there = path.exists()
    except OSError as error:
        raise UserError(f"{side} {where}: cannot be read ({error.strerror}): check the path") from error
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and not file.is_dir()]
        if not found:
            raise UserError(f"{side} {where}: no image in this folder ({', '.join(SUFFIXES)})")
        return found
    if there:
        return [path]
    if glob.has_magic(where):
        found = [Path(file) for file in sorted(glob.glob(where, recursive=True)) if Path(file).is_file()]
        if not found:
            raise UserError(f"{side} {where}: no file matches this pattern")
        return found
    raise UserError(f"{side} {where}: no such file or folder: check the path")


def _names(files: list[Path]) -> list[str]:
    """The files' stems; where those repeat, as in scene/im0.png, the way from their common folder.

    Where even those repeat (a/b_c.png and a_b/c.png), the later ones are numbered, so that none overwrites another.
    """
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        common = os.path.commonpath([file.parent for file in files])
        names = ["_".join(file.relative_to(common).parts) for file in files]
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return unique
