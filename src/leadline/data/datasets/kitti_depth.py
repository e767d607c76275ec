"""KITTI depth: driving scenes with accumulated, filtered lidar as truth.

Source: J. Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017; https://www.cvlibs.net/datasets/kitti/eval_depth.php. The
truth is a 16-bit PNG, metres x 256, 0 where there is none. Three shapes, told apart by what is there:

- as distributed: `[train/|val/]DRIVE/proj_depth/groundtruth/image_02/0000000005.png`, with KITTI's raw images beside or
  above it, at `[DATE/]DRIVE/image_02/data/0000000005.png`, and `calib_cam_to_cam.txt` of the date;
- the selection for validation: `image/`, `groundtruth_depth/` and `intrinsics/`;
- two folders, `image_02` (or `image`) and `groundtruth`, with the same file names.

`kitti-depth:PATH,split=FILE` takes the images that a split file lists, of those as distributed: its lines begin with
`DATE/DRIVE FRAME l|r` (Monodepth2's files of the Eigen split) or with the path of an image (those of D. Eigen and of
BTS): `DATE/DRIVE/image_02/data/FRAME.png`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, present
from leadline.data.datasets.rgbd import pair_up, read_rgbd
from leadline.data.formats.calib import read_projections
from leadline.data.formats.content import read_content
from leadline.data.formats.depth_png import KITTI
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera
from leadline.models.network import Task

_DRIVE = re.compile(r"\d{4}_\d\d_\d\d_drive_\d{4}_sync")
_DATE = re.compile(r"\d{4}_\d\d_\d\d")
_SIDES = {"l": "image_02", "r": "image_03", "2": "image_02", "3": "image_03"}


def open_kitti_depth(path: str | os.PathLike) -> FileDataset:
    """KITTI depth at `path`, which may end in `,split=FILE`."""
    place, _, split = os.fspath(path).partition(",split=")
    root = check_folder(place).absolute()
    if (root / "groundtruth_depth").is_dir():
        items, problems = _selection(root)
    elif (root / "groundtruth").is_dir():
        items, problems = _two_folders(root)
    else:
        items, problems = _distributed(root)
    if split:
        items, problems = _chosen(items, Path(split), root)
    return check_found(FileDataset(f"kitti-depth:{path}", items, _read, problems, Task.MONO))


def _selection(root: Path) -> tuple[list[Item], list[str]]:
    images = {file.stem: file for file in images_in(root / "image")}
    depths = {
        file.stem.replace("_groundtruth_depth_", "_image_"): file for file in images_in(root / "groundtruth_depth")
    }
    items, problems = pair_up(images, depths, lambda key: key, "the frame")
    with_camera = [
        Item(item.name, item.files | present(intrinsics=root / "intrinsics" / f"{item.files['image'].stem}.txt"))
        for item in items
    ]
    return with_camera, problems


def _two_folders(root: Path) -> tuple[list[Item], list[str]]:
    images = {file.stem: file for name in ("image_02", "image") for file in images_in(root / name)}
    depths = {file.stem: file for file in images_in(root / "groundtruth")}
    return pair_up(images, depths, lambda key: key, "the frame")


def _distributed(root: Path) -> tuple[list[Item], list[str]]:
    """Every frame that has a truth; its image is looked for below the root and two folders above it."""
    drives: dict[str, list[Path]] = {}
    truths: list[Path] = []
    for folder in folders_under(root):
        if folder.name in ("image_02", "image_03") and folder.parent.name == "groundtruth":
            truths.append(folder)
        elif folder.name == "data" and folder.parent.name in ("image_02", "image_03"):
            drives.setdefault(folder.parent.parent.name, []).append(folder.parent)
    items: list[Item] = []
    problems: list[str] = []
    for truth in truths:
        drive = truth.parents[2].name
        places = drives.get(drive, []) + [
            base / part / drive / truth.name for base in (root.parent, root.parents[1]) for part in ("", drive[:10])
        ]
        side = next((place for place in places if place.name == truth.name and (place / "data").is_dir()), None)
        if side is None:
            problems.append(f"{truth}: no raw images of {drive}/{truth.name} near it, its frames are left out")
            continue
        images = {file.stem: file for file in images_in(side / "data")}
        depths = {file.stem: file for file in images_in(truth)}
        calib = present(calib=_calib_of(side))
        for stem in sorted(depths):
            if stem not in images:
                problems.append(f"{depths[stem]}: its image is missing, the frame is left out")
                continue
            files = {"image": images[stem], "depth": depths[stem]} | calib
            items.append(Item(f"{drive}_{truth.name}_{stem}", files))
    return items, problems


def _calib_of(side: Path) -> Path | None:
    return next((file for base in side.parents[:3] if (file := base / "calib_cam_to_cam.txt").is_file()), None)


def _chosen(items: list[Item], split: Path, root: Path) -> tuple[list[Item], list[str]]:
    """The items that a split file lists, in its order; a line for each whose frame is not there."""
    there = {item.name: item for item in items}
    chosen: list[Item] = []
    problems: list[str] = []
    lines = read_content(split).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = _name_in(line)
        if name is None:
            raise UserError(f"{split}: line {number} is no 'DATE/DRIVE FRAME l' and no image's path: {line[:60]!r}")
        if name in there:
            chosen.append(there[name])
        else:
            problems.append(f"{split}: line {number}: no truth or no image of {name} below {root}, it is left out")
    return chosen, problems


def _name_in(line: str) -> str | None:
    drive = _DRIVE.search(line)
    if drive is None:
        return None
    path = re.search(r"(image_0[23])/data/(\d{10})", line)
    if path:
        return f"{drive[0]}_{path[1]}_{path[2]}"
    words = line.split()
    if len(words) >= 3 and words[1].isdigit() and words[2] in _SIDES:
        return f"{drive[0]}_{_SIDES[words[2]]}_{int(words[1]):010d}"
    return None


def _read(item: Item) -> Sample:
    return read_rgbd(item, KITTI, _camera(item))


def _camera(item: Item) -> PinholeCamera | None:
    """From the nine numbers of an intrinsics file, or from P_rect_02 or 03."""
    if "intrinsics" in item.files:
        path = item.files["intrinsics"]
        try:
            numbers = [float(word) for word in read_content(path).decode().split()]
        except ValueError as error:
            raise UserError(f"{path}: is not nine numbers: use the original file") from error
        if len(numbers) != 9:
            raise UserError(f"{path}: has {len(numbers)} numbers, nine are wanted: use the original file")
        return PinholeCamera(fx=numbers[0], fy=numbers[4], cx=numbers[2], cy=numbers[5])
    if "calib" in item.files:
        key = "P_rect_" + item.files["image"].parent.parent.name[-2:]
        matrix = read_projections(item.files["calib"], (key,)).get(key, [])
        if len(matrix) != 12:
            raise UserError(f"{item.files['calib']}: {key} is missing or damaged: use the original file")
        return PinholeCamera(fx=matrix[0], fy=matrix[5], cx=matrix[2], cy=matrix[6])
    return None
