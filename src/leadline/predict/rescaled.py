"""A stereo predictor on the pair at another size."""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float32

from leadline.errors import UserError
from leadline.models.network import Task
from leadline.predict.predictor import Predictor

SMALLEST, LARGEST = 1 / 16, 8.0  # factors


class Rescaled(Predictor):
    """Both views are brought to `factor` times their size, and the disparity back to theirs.

    Enlarged, thin things are as wide as a network needs to see them, and a disparity is told more finely; made smaller,
    larger disparities come within reach. The range in px of the given images is the inner one's over `factor`.
    """

    task = Task.STEREO

    def __init__(self, inner: Predictor, factor: float):
        """Raises UserError unless `inner` is for stereo and the factor within SMALLEST .. LARGEST."""
        if inner.task is not Task.STEREO:
            raise UserError(f"{inner.name} is for {inner.task.value}: only stereo models can be run at another scale")
        if not SMALLEST <= factor <= LARGEST:
            raise UserError(f"{inner.name}: scale {factor:g} is not within {SMALLEST:g} to {LARGEST:g}")
        self.inner, self.factor = inner, factor
        self.name = f"{inner.name}:x{factor:g}"
        self.device = getattr(inner, "device", "cpu")
        reach = inner.max_disparity
        self.max_disparity = None if reach is None else math.floor(reach / factor)

    def _predict(self, left: np.ndarray, right: np.ndarray) -> Float32[np.ndarray, "h w"]:
        height, width = left.shape[:2]
        size = max(1, round(width * self.factor)), max(1, round(height * self.factor))
        if size == (width, height):
            return self.inner.predict(left, right)
        kernel = cv2.INTER_AREA if self.factor < 1 else cv2.INTER_CUBIC
        resized = (np.ascontiguousarray(cv2.resize(image, size, interpolation=kernel)) for image in (left, right))
        disparity = self.inner.predict(*resized) * np.float32(width / size[0])
        return cv2.resize(disparity, (width, height), interpolation=cv2.INTER_LINEAR)
