"""DIODE: indoor and outdoor scenes of a laser scanner.

Source: I. Vasiljevic et al., "DIODE: A Dense Indoor and Outdoor DEpth Dataset", 2019; https://diode-dataset.org.
`NAME.png` with `NAME_depth.npy` (m, (h, w, 1) or (h, w)) and `NAME_depth_mask.npy` (1: valid), in folders
`indoors|outdoor/scene_XXXXX/scan_XXXXX`. The camera is that of the development kit.
"""

from __future__ import annotations

import os

import numpy as np

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name, present
from leadline.data.formats.arrays import read_array
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera
from leadline.models.network import Task

CAMERA = PinholeCamera(fx=886.81, fy=927.06, cx=512.0, cy=384.0)  # of 768 x 1024


def open_diode(path: str | os.PathLike) -> FileDataset:
    """Every image with a depth at or below `path`."""
    root = check_folder(path).absolute()
    items: list[Item] = []
    problems: list[str] = []
    for folder in folders_under(root):
        images = {image.stem: image for image in images_in(folder)}
        depths = {file.name.removesuffix("_depth.npy"): file for file in sorted(folder.glob("*_depth.npy"))}
        for stem, depth in depths.items():
            if stem not in images:
                problems.append(f"{depth}: its image is missing, it is left out")
                continue
            files = {"image": images[stem], "depth": depth} | present(mask=folder / f"{stem}_depth_mask.npy")
            items.append(Item(item_name(root, folder / stem), files))
    return check_found(FileDataset(f"diode:{path}", items, _read, problems, Task.MONO))


def _read(item: Item) -> Sample:
    depth = _plane(item, "depth").astype(np.float32)
    valid = np.isfinite(depth) & (depth > 0)
    if "mask" in item.files:
        mask = _plane(item, "mask")
        if mask.shape != depth.shape:
            raise UserError(f"{item.files['mask']}: is of another size than the depth: use the files of one image")
        valid &= mask > 0.5
    sample = Sample(item.name, (read_image(item.files["image"]),), depth=np.where(valid, depth, 0), valid=valid)
    sample.intrinsics = CAMERA if sample.size == (768, 1024) else None
    return sample


def _plane(item: Item, role: str) -> np.ndarray:
    values = read_array(item.files[role])
    values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        raise UserError(
            f"{item.files[role]}: holds {values.dtype} {values.shape}; (h, w) or (h, w, 1) numbers are wanted"
        )
    return values
