"""OpenCV's optical flow as Predictors, to stand beside the networks.

DIS: T. Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; Farnebäck: G. Farnebäck, "Two-Frame
Motion Estimation Based on Polynomial Expansion", SCIA 2003.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float32

from leadline.colors import to_grey8
from leadline.errors import UserError, unknown_name
from leadline.models.network import Task
from leadline.predict import Predictor

MIN_SIDE = 32  # px; OpenCV fails on images of a few pixels, so smaller ones are extended
PRESETS = {
    "dis": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    "dis-fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "dis-ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
}
# Farnebäck, as in OpenCV's sample programs but with more levels, for motion of many pixels
SCALE, LEVELS, WINDOW, ITERATIONS, NEIGHBOURS, SIGMA = 0.5, 5, 15, 3, 7, 1.5


class ClassicalFlow(Predictor):
    """DIS (in its medium preset, and two faster ones) or Farnebäck, on 8-bit luminance."""

    NAMES: ClassVar[tuple[str, ...]] = (*PRESETS, "farneback")
    task = Task.FLOW

    def __init__(self, name: str = "dis"):
        """
        Args:
            name: one of NAMES.

        Raises:
            UserError: an unknown name.
        """
        if name not in self.NAMES:
            raise unknown_name("classical flow algorithm", name, list(self.NAMES))
        self.name = name

    def _predict(self, *images: np.ndarray, **options: object) -> Float32[np.ndarray, "h w 2"]:
        height, width = images[0].shape[:2]
        below, right = max(0, MIN_SIDE - height), max(0, MIN_SIDE - width)
        frames = [cv2.copyMakeBorder(to_grey8(image), 0, below, 0, right, cv2.BORDER_REPLICATE) for image in images]
        try:
            flow = self._flow(*frames)
        except cv2.error as error:  # mostly out of memory
            raise UserError(
                f"{self.name}: OpenCV fails on {width} x {height} px ({error.err}): give smaller images"
            ) from error
        return np.ascontiguousarray(flow[:height, :width])

    def _flow(self, frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
        if self.name == "farneback":
            start = np.zeros((*frame0.shape, 2), np.float32)
            return cv2.calcOpticalFlowFarneback(
                frame0, frame1, start, SCALE, LEVELS, WINDOW, ITERATIONS, NEIGHBOURS, SIGMA, 0
            )
        # No flow to begin with: zeros would be taken for a first guess and end worse where motion is large.
        return cv2.DISOpticalFlow.create(PRESETS[self.name]).calc(frame0, frame1, None)  # type: ignore[call-overload]
