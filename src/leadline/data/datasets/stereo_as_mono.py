"""Stereo pairs as single images: the left view, its depth from the true disparity, and the right view as a frame.

The pair needs a calibrated camera. Its depth is focal · baseline / (disparity + doffs), and the right camera stands
`baseline` to the right, so that a loss on the reprojected right view teaches metres.
"""

from __future__ import annotations

import numpy as np

from leadline.data.datasets.base import Dataset, FileDataset, Item
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera, StereoCamera
from leadline.geometry.depth import disparity_to_depth
from leadline.models.network import Task


class StereoAsMono(FileDataset):
    """The samples of a stereo data set as those of monocular depth."""

    def __init__(self, pairs: Dataset):
        self.pairs = pairs
        self.name, self.problems, self.task = pairs.name, list(pairs.problems), Task.MONO

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return as_mono(self.pairs[index])

    def item(self, index: int) -> Item:
        return self.pairs.item(index) if isinstance(self.pairs, FileDataset) else Item(f"sample {index}")


def as_mono(pair: Sample) -> Sample:
    """The left view of a pair, its depth in m where the disparity is known, and the right view as its frame.

    Raises:
        UserError: a pair without a calibrated camera.
    """
    if pair.camera is None:
        raise UserError(
            f"{pair.name}: has no calibrated camera, and without one a disparity is no depth: add calib.txt"
        )
    left, right = pair.images
    sample = Sample(pair.name, (left,), meta=dict(pair.meta))
    sample.intrinsics = pinhole(pair.camera, pair.size)
    if pair.disparity is not None and pair.valid is not None:
        sample.depth, sample.valid = disparity_to_depth(pair.disparity, pair.camera, pair.valid)
    sample.frames, sample.poses = (right,), (right_pose(pair.camera),)
    if pair.camera.doffs:  # the right view is cropped so that both have one principal point
        sample.frames, sample.poses = (_shifted(right, pair.camera.doffs),), sample.poses
    return sample


def pinhole(camera: StereoCamera, size: tuple[int, int]) -> PinholeCamera:
    """The left camera; where the principal point is not known it is the image's centre."""
    cx = camera.cx if camera.cx is not None else (size[1] - 1) / 2
    cy = camera.cy if camera.cy is not None else (size[0] - 1) / 2
    return PinholeCamera(camera.focal, camera.focal, cx, cy)


def right_pose(camera: StereoCamera) -> np.ndarray:
    """From the left camera's frame to the right one's."""
    pose = np.eye(4)
    pose[0, 3] = -camera.baseline
    return pose


def _shifted(right: np.ndarray, doffs: float) -> np.ndarray:
    """The right view moved by doffs px (to whole ones) to the left, its border repeated, as if both cx were equal."""
    columns = np.clip(np.arange(right.shape[1]) + round(doffs), 0, right.shape[1] - 1)
    return np.ascontiguousarray(right[:, columns])
