"""NYU Depth v2: indoor scenes of a Kinect.

Source: N. Silberman et al., "Indoor Segmentation and Support Inference from RGBD Images", ECCV 2012;
https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html. Two shapes:

- the labelled set as distributed, `nyu_depth_v2_labeled.mat` (1449 images, the depth filled in), which needs h5py;
- aligned frames in folders, as the training sets of BTS and its successors have them: `rgb_00045.jpg` with
  `sync_depth_00045.png`, 16 bits, millimetres.

The camera is that of the toolbox (`camera_params.m`), for 480 x 640.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from leadline.data.datasets.base import Dataset, FileDataset, Item, check_sample
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name
from leadline.data.datasets.rgbd import pair_up, read_rgbd
from leadline.data.formats.depth_png import MILLIMETRES
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera
from leadline.models.network import Task

CAMERA = PinholeCamera(fx=518.8579, fy=519.46961, cx=325.58245, cy=253.73617)
_RGB, _DEPTH = "rgb_", "sync_depth_"


def open_nyu(path: str | os.PathLike) -> Dataset:
    """NYU Depth v2 at or below `path`, a folder; or in the .mat file of the labelled set."""
    if Path(path).is_file():
        return LabeledNyu(path)
    root = check_folder(path).absolute()
    items: list[Item] = []
    problems: list[str] = []
    for folder in folders_under(root):
        found = images_in(folder)
        images = {file.stem.removeprefix(_RGB): file for file in found if file.stem.startswith(_RGB)}
        depths = {file.stem.removeprefix(_DEPTH): file for file in found if file.stem.startswith(_DEPTH)}
        pairs, missing = pair_up(images, depths, lambda key, at=folder: item_name(root, at / key), "the frame")
        items += pairs
        problems += missing
    return check_found(FileDataset(f"nyu:{path}", items, _read, problems, Task.MONO))


def _read(item: Item) -> Sample:
    return read_rgbd(item, MILLIMETRES, CAMERA)


class LabeledNyu(Dataset):
    """The labelled set: images and filled-in depths in one HDF5 file."""

    task = Task.MONO

    def __init__(self, path: str | os.PathLike):
        self.name, self.path, self.problems = f"nyu:{path}", Path(path), []
        with self._open() as file:
            if "images" not in file or "depths" not in file:
                raise UserError(f"{path}: has no images and depths: give nyu_depth_v2_labeled.mat or a folder")
            self.count = int(file["images"].shape[0])

    def _open(self) -> Any:
        try:
            import h5py
        except ImportError as error:
            raise UserError("reading nyu_depth_v2_labeled.mat needs h5py: pip install 'leadline[hdf5]'") from error
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise UserError(f"{self.path}: not a readable HDF5 (.mat, version 7.3) file: copy it again") from error

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not -self.count <= index < self.count:
            raise IndexError(index)
        index %= self.count
        with self._open() as file:  # MATLAB's arrays lie column by column: (3, w, h) and (w, h)
            image = np.ascontiguousarray(np.asarray(file["images"][index]).transpose(2, 1, 0))
            depth = np.ascontiguousarray(np.asarray(file["depths"][index], np.float32).T)
        valid = np.isfinite(depth) & (depth > 0)
        sample = Sample(f"{index:04d}", (image,), depth=np.where(valid, depth, 0), valid=valid)
        sample.intrinsics = CAMERA
        return check_sample(sample)
