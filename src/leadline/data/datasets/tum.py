"""TUM RGB-D: sequences of a hand-held Kinect, with the camera's path from motion capture.

Source: J. Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems", IROS 2012;
https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats. Image and depth carry their own time stamps and are
associated by the nearest, as the benchmark's `associate.py` does, at most 0.02 s apart. The truth is a 16-bit PNG,
metres x 5000. Intrinsics are those of the benchmark for freiburg1, 2 and 3, else the ROS default.
"""

from __future__ import annotations

import os
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name
from leadline.data.datasets.rgbd import read_rgbd
from leadline.data.formats.depth_png import TUM
from leadline.data.sample import Sample
from leadline.geometry.camera import PinholeCamera
from leadline.models.network import Task

FARTHEST_APART = 0.02  # s
CAMERAS = {
    "freiburg1": PinholeCamera(517.3, 516.5, 318.6, 255.3),
    "freiburg2": PinholeCamera(520.9, 521.0, 325.1, 249.7),
    "freiburg3": PinholeCamera(535.4, 539.2, 320.1, 247.6),
}
DEFAULT = PinholeCamera(525.0, 525.0, 319.5, 239.5)


def open_tum(path: str | os.PathLike) -> FileDataset:
    """Every sequence at or below `path`: a folder with `rgb/` and `depth/`, whose files are named by their time."""
    root = check_folder(path).absolute()
    items: list[Item] = []
    problems: list[str] = []
    for folder in folders_under(root):
        if not (folder / "rgb").is_dir() or not (folder / "depth").is_dir():
            continue
        images, depths = _by_time(folder / "rgb", problems), _by_time(folder / "depth", problems)
        for image, depth in associate(list(images), list(depths)):
            name = item_name(root, folder / images[image].stem)
            items.append(Item(name, {"image": images[image], "depth": depths[depth]}))
    return check_found(FileDataset(f"tum:{path}", items, _read, problems, Task.MONO))


def _by_time(folder: Path, problems: list[str]) -> dict[float, Path]:
    found = {}
    for file in images_in(folder):
        try:
            found[float(file.stem)] = file
        except ValueError:
            problems.append(f"{file}: its name is not a time stamp, it is left out")
    return found


def associate(first: list[float], second: list[float], apart: float = FARTHEST_APART) -> list[tuple[float, float]]:
    """Pairs of times at most `apart` s from each other, the nearest first, each time used once; sorted."""
    second = sorted(second)
    candidates = []
    start = 0
    for one in sorted(first):
        while start < len(second) and second[start] < one - apart:
            start += 1
        for two in second[start:]:
            if two > one + apart:
                break
            candidates.append((abs(one - two), one, two))
    taken_first: set[float] = set()
    taken_second: set[float] = set()
    pairs = []
    for _, one, two in sorted(candidates):
        if one not in taken_first and two not in taken_second:
            taken_first.add(one)
            taken_second.add(two)
            pairs.append((one, two))
    return sorted(pairs)


def _read(item: Item) -> Sample:
    place = item.files["image"].as_posix()
    camera = next((camera for name, camera in CAMERAS.items() if name in place), DEFAULT)
    return read_rgbd(item, TUM, camera)
