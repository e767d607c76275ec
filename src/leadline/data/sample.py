"""One observation: images, their ground truth with validity, the camera when known, a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from leadline.geometry.camera import PinholeCamera, StereoCamera
from leadline.models.network import Task


@dataclass
class Sample:
    """Images as a camera gives them and what is known of the truth. h, w are those of the first image.

    A disparity is in pixels, positive, with the left view as reference: `x_right = x_left - d`. A flow is in pixels,
    (u, v), from the first frame to the second. Invalid truth is `valid == False`, never a magic value; what the truth
    is there is 0.
    """

    name: str  # unique within its data set, safe as a file name
    images: tuple[np.ndarray, ...]  # each (h, w) or (h, w, 3) RGB, uint8 or uint16; in the order of predict.VIEWS
    disparity: np.ndarray | None = None  # (h, w) float32, px; of stereo
    valid: np.ndarray | None = None  # (h, w) bool; given whenever there is a truth
    occluded: np.ndarray | None = None  # (h, w) bool: seen by the first image alone
    foreground: np.ndarray | None = None  # (h, w) bool, where the data set tells (KITTI 2015)
    camera: StereoCamera | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    flow: np.ndarray | None = None  # (h, w, 2) float32, px; of optical flow
    frame: np.ndarray | None = None  # the true frame at `time`, as the images are; of interpolation
    time: float = 0.5  # 0: the first frame, 1: the second
    depth: np.ndarray | None = None  # (h, w) float32, m; of monocular depth
    intrinsics: PinholeCamera | None = None  # of the first image, where its lens alone is known; of monocular depth
    frames: tuple[np.ndarray, ...] = ()  # further images of that camera: before, after, before that, ...; a right view
    poses: tuple[np.ndarray | None, ...] = ()  # (4, 4) each: points of the first camera to a frame's, m; None: unknown

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)"""
        return self.images[0].shape[0], self.images[0].shape[1]

    def truth(self, task: Task) -> np.ndarray | None:
        """What a predictor of `task` is to find; None where it is not known."""
        truths = {
            Task.STEREO: self.disparity, Task.FLOW: self.flow, Task.INTERPOLATION: self.frame, Task.MONO: self.depth,
        }  # fmt: skip
        return truths[task]
