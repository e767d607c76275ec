"""SUN RGB-D: indoor scenes of four sensors.

Source: S. Song, S. Lichtenberg, J. Xiao, "SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite", CVPR 2015;
https://rgbd.cs.princeton.edu. Scene folders with `image/*.jpg`, `depth_bfx/*.png` (filled) or `depth/*.png`, and
`intrinsics.txt`. Depth values are millimetres whose bits are rotated by three places (the toolbox's
`read3dPoints.m`), and mean nothing beyond 8 m, where the toolbox cuts them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name, present
from leadline.data.formats.content import read_content
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera
from leadline.models.network import Task

FARTHEST = 8.0  # m


def open_sun(path: str | os.PathLike) -> FileDataset:
    """Every scene at or below `path`."""
    root = check_folder(path).absolute()
    items: list[Item] = []
    problems: list[str] = []
    for folder in folders_under(root):
        image = next(iter(images_in(folder / "image")), None)
        if image is None:
            continue
        depth = next((file for name in ("depth_bfx", "depth") for file in images_in(folder / name)), None)
        if depth is None:
            problems.append(f"{folder / 'depth'}: missing, the scene is left out")
            continue
        files = {"image": image, "depth": depth} | present(intrinsics=folder / "intrinsics.txt")
        items.append(Item(item_name(root, folder), files))
    return check_found(FileDataset(f"sun:{path}", items, _read, problems, Task.MONO))


def _read(item: Item) -> Sample:
    stored = read_image(item.files["depth"])
    if stored.dtype != np.uint16 or stored.ndim != 2:
        raise UserError(f"{item.files['depth']}: not a 16-bit grey PNG: use the original file")
    millimetres = (stored >> np.uint16(3)) | (stored << np.uint16(13))
    depth = millimetres.astype(np.float32) / np.float32(1000)
    valid = (stored > 0) & (depth <= FARTHEST)
    sample = Sample(item.name, (read_image(item.files["image"]),), depth=np.where(valid, depth, 0), valid=valid)
    if "intrinsics" in item.files:
        sample.intrinsics = _camera(item.files["intrinsics"])
    return sample


def _camera(path: Path) -> PinholeCamera:
    try:
        numbers = [float(word) for word in read_content(path).decode().split()]
    except ValueError as error:
        raise UserError(f"{path}: is not nine numbers: use the original file") from error
    if len(numbers) != 9:
        raise UserError(f"{path}: has {len(numbers)} numbers, nine are wanted: use the original file")
    return PinholeCamera(fx=numbers[0], fy=numbers[4], cx=numbers[2], cy=numbers[5])
