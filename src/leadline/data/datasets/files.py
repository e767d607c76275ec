"""Finding a data set's files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from leadline.data.datasets import FORMATS
from leadline.data.datasets.base import FileDataset
from leadline.data.formats.images import SUFFIXES
from leadline.errors import UserError
from leadline.models.network import Task

_PAIRS = {Task.STEREO: "stereo pair", Task.FLOW: "frame pair"}


def check_folder(path: str | os.PathLike) -> Path:
    """The folder at `path`. Raises UserError where there is none or it is empty."""
    folder = Path(path).expanduser()
    if not folder.exists():
        raise UserError(f"{path}: no such folder: check the path")
    if not folder.is_dir():
        raise UserError(f"{path}: is not a folder: name the folder of the data set")
    try:
        empty = next(folder.iterdir(), None) is None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    if empty:
        raise UserError(f"{path}: is empty: put the data there or check the path")
    return folder


def check_found(dataset: FileDataset) -> FileDataset:
    """The data set, if it has pairs. Raises UserError, with the first problem, where it has none."""
    pair = _PAIRS.get(dataset.task, "sample")
    if len(dataset) == 0 and dataset.problems:
        count = len(dataset.problems)
        raise UserError(f"{dataset.name}: no complete {pair} ({count} broken): {dataset.problems[0]}")
    if len(dataset) == 0:
        layout = FORMATS[dataset.name.partition(":")[0]].layout
        raise UserError(f"{dataset.name}: no {pair}s laid out as {layout}: check the path or the format")
    return dataset


def folders_under(root: Path) -> Iterator[Path]:
    """`root` and every folder below it, sorted; links to folders are followed, each folder visited once."""
    visited = set()
    for parent, children, _ in os.walk(root, followlinks=True):
        children.sort()
        real = os.path.realpath(parent)
        if real in visited:
            children.clear()
            continue
        visited.add(real)
        yield Path(parent)


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def find_image(folder: Path, stem: str) -> Path | None:
    """The image `folder/stem` with whichever image suffix."""
    return find_file(folder, stem, SUFFIXES)


def find_file(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path | None:
    """The first of `folder/stem` + suffix that exists."""
    return next((path for suffix in suffixes if (path := folder / (stem + suffix)).is_file()), None)


def present(**files: Path | None) -> dict[str, Path]:
    """Those files of an item that exist, by role."""
    return {role: path for role, path in files.items() if path is not None and path.is_file()}


def item_name(root: Path, place: Path) -> str:
    """A name for a sample: its place within `root`, safe as a file name."""
    relative = place.relative_to(root).as_posix()
    text = root.resolve().name if relative == "." else relative
    return re.sub(r"[^\w.+-]+", "_", text).strip("_.") or "sample"
