"""People's own images with depth: scene folders `NAME/image.png`, `depth.npz` (or .npy, .pfm, .png) and `meta.json`.

Depths are in metres; a PNG's are millimetres, or times `depth_scale` per metre of meta.json, where the camera (fx, fy,
cx, cy, px, under `calib`) may stand too. One such scene folder itself will do. Without a depth the image is listed as
well: there is something to predict.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, find_file, find_image, item_name, present
from leadline.data.datasets.rgbd import find_camera
from leadline.data.formats.content import read_content
from leadline.data.formats.depth import SUFFIXES, read_depth
from leadline.data.formats.depth_png import MILLIMETRES
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.models.network import Task


def has_images(root: Path) -> bool:
    """Whether `root` or a folder in it is such a scene."""
    return any(find_image(folder, "image") is not None for folder in (root, *root.iterdir()) if folder.is_dir())


def open_mono_folder(path: str | os.PathLike) -> FileDataset:
    """The images in the folder at `path`; see the module for its shape."""
    root = check_folder(path).absolute()
    items: list[Item] = []
    problems: list[str] = []
    for folder in (root, *sorted(child for child in root.iterdir() if child.is_dir())):
        image = find_image(folder, "image")
        depth = find_file(folder, "depth", SUFFIXES)
        if image is not None:
            files = present(image=image, depth=depth, meta=folder / "meta.json")
            items.append(Item(item_name(root, folder), files))
        elif depth is not None:
            problems.append(f"{folder / 'image'}.png: missing, the scene is left out")
    return check_found(FileDataset(f"folder:{path}", items, _read, problems, Task.MONO))


def _read(item: Item) -> Sample:
    sample = Sample(item.name, (read_image(item.files["image"]),))
    scale = MILLIMETRES
    if "meta" in item.files:
        sample.intrinsics = find_camera(item.files["meta"])
        sample.meta = json.loads(read_content(item.files["meta"]))
        scale = sample.meta.get("depth_scale", MILLIMETRES)
        if not isinstance(scale, int | float) or not scale > 0:
            raise UserError(f"{item.files['meta']}: depth_scale is what a metre is stored as, more than 0")
    if "depth" in item.files:
        sample.depth, sample.valid = read_depth(item.files["depth"], scale)
    return sample
