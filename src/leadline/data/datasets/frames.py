"""Frames of videos in folders, for learning depth without a truth: each image with those before and after it.

`frames:PATH` takes every folder at or below PATH that holds at least three images, in the order of their names. The
camera is that of `meta.json` (its `calib`, or itself: `fx`, `fy`, `cx`, `cy`, px) in the folder or in PATH; without one
nothing can be reprojected and the folder is refused. Motions are not known: the pose network finds them.
"""

from __future__ import annotations

import os
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name
from leadline.data.datasets.rgbd import camera_of
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.models.network import Task


def open_frames(path: str | os.PathLike) -> FileDataset:
    """The videos at or below `path`: one sample for each frame but the first and the last of a folder."""
    root = check_folder(path).absolute()
    items: list[Item] = []
    problems: list[str] = []
    for folder in folders_under(root):
        images = images_in(folder)
        if len(images) < 3:
            continue
        meta = next((file for base in (folder, root) if (file := base / "meta.json").is_file()), None)
        if meta is None:
            problems.append(f"{folder / 'meta.json'}: missing (fx, fy, cx, cy in px), the folder is left out")
            continue
        items += [_item(root, meta, *images[i : i + 3]) for i in range(len(images) - 2)]
    return check_found(FileDataset(f"frames:{path}", items, _read, problems, Task.MONO))


def _item(root: Path, meta: Path, before: Path, image: Path, after: Path) -> Item:
    files = {"image": image, "before": before, "after": after, "meta": meta}
    return Item(item_name(root, image.with_suffix("")), files)


def _read(item: Item) -> Sample:
    sample = Sample(item.name, (read_image(item.files["image"]),))
    sample.frames = (read_image(item.files["before"]), read_image(item.files["after"]))
    sample.poses = (None, None)
    sample.intrinsics = camera_of(item.files["meta"])
    return sample
