"""One observation: images, their ground truth with validity, the camera when known, a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from leadline.geometry.camera import StereoCamera


@dataclass
class Sample:
    """Images as a camera gives them and what is known of the truth. h, w are those of the first image.

    A disparity is in pixels, positive, with the left view as reference: `x_right = x_left - d`. Invalid truth is
    `valid == False`, never a magic value; the disparity there is 0.
    """

    name: str  # unique within its data set, safe as a file name
    images: tuple[np.ndarray, ...]  # each (h, w) or (h, w, 3) RGB, uint8 or uint16; stereo: left, right
    disparity: np.ndarray | None = None  # (h, w) float32, px
    valid: np.ndarray | None = None  # (h, w) bool; given whenever there is a truth
    occluded: np.ndarray | None = None  # (h, w) bool: seen by the left view alone
    foreground: np.ndarray | None = None  # (h, w) bool, where the data set tells (KITTI 2015)
    camera: StereoCamera | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)"""
        return self.images[0].shape[0], self.images[0].shape[1]
