"""People's own pairs in a folder.

Four shapes, told apart by what is there:
- scene folders `NAME/left.png, right.png`, with `disparity.npz` (or .npy, .pfm, .png), `meta.json` (its `calib` is the
  camera) and `calib.txt` where known. Folders without views are passed over;
- scene folders `NAME/im0.png, im1.png`, with `disp0.pfm` and `calib.txt` where known (Middlebury's names);
- two folders `left/` and `right/` (and `disparity/`) with the same file names, `calib.txt` or `meta.json` beside them;
- one such scene folder itself.

Of optical flow: scene folders `NAME/frame0.png, frame1.png` with `flow.npz` (or .npy, .flo, .pfm, KITTI's .png) and
`occlusion.png` where known, or one such folder.

Of interpolation: folders `NAME/frame0.png, frame1.png, frame2.png`, the true middle being frame1, or one such folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import (
    check_folder,
    check_found,
    find_file,
    find_image,
    images_in,
    item_name,
    present,
)
from leadline.data.datasets.flow_sets import list_flow_scenes, read_flow_item
from leadline.data.datasets.mono_folder import has_images, open_mono_folder
from leadline.data.datasets.scenes import read_scene, scene_files
from leadline.data.datasets.stereo_as_mono import StereoAsMono
from leadline.data.datasets.triplet_sets import open_triplet_folder
from leadline.data.formats.calib import camera_from_dict
from leadline.data.formats.content import read_content
from leadline.data.formats.disparity import SUFFIXES
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.models.network import Task


def open_folder(path: str | os.PathLike, task: Task = Task.STEREO) -> FileDataset:
    """The pairs in the folder at `path`; see the module for the shapes it may have.

    For monocular depth: its images with depth, or, where there are none, the left views of its pairs.
    """
    root = check_folder(path).absolute()
    if task is Task.FLOW:
        items, problems = list_flow_scenes(root)
        return check_found(FileDataset(f"folder:{path}", items, read_flow_item, problems, task))
    if task is Task.INTERPOLATION:
        return open_triplet_folder(path)
    if task is Task.MONO:
        if has_images(root):
            return open_mono_folder(path)
        return StereoAsMono(open_folder(path))
    if (root / "left").is_dir() or (root / "right").is_dir():
        items, problems = _list_sides(root)
    else:
        items, problems = _list_scenes(root)
    return check_found(FileDataset(f"folder:{path}", items, _read, problems))


def _list_scenes(root: Path) -> tuple[list[Item], list[str]]:
    items, problems = [], []
    for folder in (root, *sorted(child for child in root.iterdir() if child.is_dir())):
        files = scene_files(folder)
        names = ("im0", "im1")
        if not {"left", "right"} & set(files):
            names = ("left", "right")
            files = present(
                left=find_image(folder, "left"),
                right=find_image(folder, "right"),
                truth=find_file(folder, "disparity", SUFFIXES),
                calib=folder / "calib.txt",
                meta=folder / "meta.json",
            )
        if "left" in files and "right" in files:
            items.append(Item(item_name(root, folder), files))
        elif "left" in files or "right" in files:
            missing = names[1] if "left" in files else names[0]
            problems.append(f"{folder / missing}.png: missing, the pair is left out")
    return items, problems


def _list_sides(root: Path) -> tuple[list[Item], list[str]]:
    sides = {side: {image.stem: image for image in images_in(root / side)} for side in ("left", "right")}
    truths = root / "disparity"
    items, problems = [], []
    for stem in sorted({*sides["left"], *sides["right"]}):
        missing = next((side for side in sides if stem not in sides[side]), None)
        disparity = find_file(truths, stem, SUFFIXES)
        if missing:
            problems.append(f"{root / missing / stem}: missing, the pair is left out")
        elif truths.is_dir() and disparity is None:
            problems.append(f"{truths / stem}: missing, the pair is left out")
        else:
            views = {side: sides[side][stem] for side in sides}
            files = present(truth=disparity, calib=root / "calib.txt", meta=root / "meta.json")
            items.append(Item(item_name(root, root / stem), views | files))
    return items, problems


def _read(item: Item) -> Sample:
    sample = read_scene(item)
    if "meta" in item.files:
        sample.meta = _read_meta(item.files["meta"])
        calib = sample.meta.get("calib", sample.meta.get("camera"))
        if sample.camera is None and isinstance(calib, dict):
            sample.camera = camera_from_dict(calib, item.files["meta"])
    return sample


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(read_content(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not valid JSON ({error}): mend or remove it") from error
    if not isinstance(meta, dict):
        raise UserError(f"{path}: is not a JSON object: mend or remove it")
    return meta
