"""A monocular predictor at a size that is asked for, whatever the images' own."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from leadline.errors import UserError
from leadline.models.network import Task
from leadline.predict.predictor import Predictor


class Resized(Predictor):
    """Images are brought to `size`, and the depth back to theirs.

    What a network has learnt about depth from one image holds for images like those it was trained on, of that size;
    and a single image cannot go through in tiles, as its depth follows from the whole of it.
    """

    def __init__(self, inner: Predictor, size: tuple[int, int]):
        """Raises UserError unless `inner` is for monocular depth, whose unit does not change with the size."""
        if inner.task is not Task.MONO:
            raise UserError(f"{inner.name} is for {inner.task.value}: only monocular depth keeps its unit when resized")
        self.inner, self.size = inner, size
        self.task, self.name = inner.task, inner.name

    def _predict(self, *images: np.ndarray) -> Float32[np.ndarray, "h w"]:
        (image,) = images
        height, width = image.shape[:2]
        if (height, width) == self.size:
            return self.inner.predict(image)
        shrinks = self.size[0] * self.size[1] < height * width
        resized = cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return cv2.resize(self.inner.predict(resized), (width, height), interpolation=cv2.INTER_LINEAR)
