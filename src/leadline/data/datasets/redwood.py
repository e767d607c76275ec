"""Redwood: indoor scenes and scanned objects of a PrimeSense camera.

Sources: S. Choi, Q.-Y. Zhou, V. Koltun, "Robust Reconstruction of Indoor Scenes", CVPR 2015, http://redwood-data.org;
S. Choi et al., "A Large Dataset of Object Scans", 2016. Folders `color` (or `rgb`, `image`) and `depth`, whose files
have one number at their beginning; millimetres in a 16-bit PNG. The camera is the one that the data set states.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name
from leadline.data.datasets.rgbd import pair_up, read_rgbd
from leadline.data.formats.depth_png import MILLIMETRES
from leadline.data.sample import Sample
from leadline.geometry.camera import PinholeCamera
from leadline.models.network import Task

CAMERA = PinholeCamera(fx=525.0, fy=525.0, cx=319.5, cy=239.5)  # of 480 x 640
_COLOR = ("color", "rgb", "image")


def open_redwood(path: str | os.PathLike) -> FileDataset:
    """Every scene at or below `path`."""
    root = check_folder(path).absolute()
    items: list[Item] = []
    problems: list[str] = []
    for folder in folders_under(root):
        color = next((folder / name for name in _COLOR if (folder / name).is_dir()), None)
        if color is None or not (folder / "depth").is_dir():
            continue
        images, depths = _by_number(color), _by_number(folder / "depth")
        pairs, missing = pair_up(images, depths, lambda key, at=folder: item_name(root, at / key), "the frame")
        items += pairs
        problems += missing
    return check_found(FileDataset(f"redwood:{path}", items, _read, problems, Task.MONO))


def _by_number(folder: Path) -> dict[str, Path]:
    found = {}
    for file in images_in(folder):
        number = re.match(r"\d+", file.stem)
        if number:
            found[f"{int(number[0]):07d}"] = file
    return found


def _read(item: Item) -> Sample:
    sample = read_rgbd(item, MILLIMETRES)
    sample.intrinsics = CAMERA if sample.size == (480, 640) else None
    return sample
