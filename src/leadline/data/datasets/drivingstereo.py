"""DrivingStereo: real driving scenes, lidar truth filtered by a network.

Source: G. Yang et al., "DrivingStereo: A Large-Scale Dataset for Stereo Matching in Autonomous Driving Scenarios", CVPR
2019; https://drivingstereo-dataset.github.io. The views and the truth lie in the same place under folders that differ
only in `left-image`, `right-image` and `disparity-map`. The truth is a 16-bit PNG: disparity times 256 at half
resolution (which the training set has) and times 128 at full resolution.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name
from leadline.data.formats.calib import read_projections
from leadline.data.formats.images import read_image
from leadline.data.formats.kitti import read_kitti_disparity
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import StereoCamera

_LEFT, _RIGHT, _TRUTH = "left-image", "right-image", "disparity-map"
_FULL_ABOVE = 1200  # px of width; half resolution is 881 wide, full 1762
_SEQUENCE = re.compile(r"\d{4}(?:-\d\d){5}")  # such as 2018-07-11-14-48-52


def open_drivingstereo(path: str | os.PathLike) -> FileDataset:
    """DrivingStereo at or below `path`. Where half and full size are both there, the half size.

    To read the full size, name its folder: `drivingstereo:/data/sunny/left-image-full-size`.
    """
    root = check_folder(path).absolute()
    folders = [folder for folder in folders_under(root) if images_in(folder)]
    lefts = {folder for folder in folders if _LEFT in str(folder)}
    lefts |= {_swap(folder, _RIGHT, _LEFT) for folder in folders if _RIGHT in str(folder)}
    if any("half-size" in str(folder) for folder in lefts):
        lefts = {folder for folder in lefts if "full-size" not in str(folder)}
    calibs = _find_calibs(root)
    items, problems = [], []
    for left in sorted(lefts):
        found, missing = _list(root, left, calibs)
        items += found
        problems += missing
    return check_found(FileDataset(f"drivingstereo:{path}", items, _read, problems))


def _list(root: Path, left: Path, calibs: dict[str, dict[str, Path]]) -> tuple[list[Item], list[str]]:
    places = {"left": left, "right": _swap(left, _LEFT, _RIGHT), "truth": _swap(left, _LEFT, _TRUTH)}
    if not places["truth"].is_dir():
        del places["truth"]
    images = {role: {image.stem: image for image in images_in(folder)} for role, folder in places.items()}
    items, problems = [], []
    for stem in sorted({*images["left"], *images["right"]}):
        missing = next((role for role in places if stem not in images[role]), None)
        if missing:
            problems.append(f"{places[missing] / stem}: missing, the pair is left out")
            continue
        files = {role: images[role][stem] for role in places}
        sequence = _SEQUENCE.search(left.name) or _SEQUENCE.match(stem)
        if sequence:
            files |= calibs.get(sequence[0], {})
        items.append(Item(item_name(root, files["left"].with_suffix("")), files))
    return items, problems


def _swap(folder: Path, old: str, new: str) -> Path:
    return Path(*(part.replace(old, new) for part in folder.parts))


def _find_calibs(root: Path) -> dict[str, dict[str, Path]]:
    """Calibration files by sequence and size, in `[*/]half-image-calib` and `full-image-calib` near the root."""
    calibs: dict[str, dict[str, Path]] = {}
    for base in (root, *list(root.parents)[:2]):
        for size in ("half", "full"):
            for file in sorted([*base.glob(f"{size}-image-calib/*.txt"), *base.glob(f"*/{size}-image-calib/*.txt")]):
                calibs.setdefault(file.stem, {}).setdefault(f"calib_{size}", file)
    return calibs


def _read(item: Item) -> Sample:
    files = item.files
    sample = Sample(item.name, (read_image(files["left"]), read_image(files["right"])))
    full = sample.size[1] > _FULL_ABOVE
    if "truth" in files:
        sample.disparity, sample.valid = read_kitti_disparity(files["truth"], scale=128.0 if full else 256.0)
    calib = files.get("calib_full" if full else "calib_half")
    if calib is not None:
        sample.camera = _read_calib(calib)
    return sample


def _read_calib(path: Path) -> StereoCamera:
    """Camera 101 is the left one. The baseline is from T_103 in metres, which does not depend on the size."""
    values = read_projections(path, ("P_rect_101", "P_rect_103", "T_101", "T_103"))
    counts = [len(values.get(key, [])) for key in ("P_rect_101", "P_rect_103", "T_103")]
    if counts != [12, 12, 3]:
        raise UserError(f"{path}: P_rect_101, P_rect_103 or T_103 is missing or damaged: use the original file")
    left, right = values["P_rect_101"], values["P_rect_103"]
    baseline = math.dist(values["T_103"], values.get("T_101", [0.0, 0.0, 0.0]))
    return StereoCamera(focal=left[0], baseline=baseline, cx=left[2], cy=left[6], doffs=right[2] - left[2])
