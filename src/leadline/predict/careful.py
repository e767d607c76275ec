"""The best disparity that a stereo predictor can give, for several times the time."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from leadline.errors import UserError
from leadline.geometry.consistency import fill_background, left_right_difference
from leadline.models.network import Task
from leadline.predict.predictor import Predictor
from leadline.predict.rescaled import SMALLEST, Rescaled
from leadline.predict.stereo import predict_right

LARGEST_FACTOR = 1.5  # a network made for the images' own size is lost at twice it
STEP = 1.5  # between the two scales
REACH = 0.88  # of the range is used: close to its end a network is no longer sure
AGREES = 2.0  # px between what the two views say


class Careful(Predictor):
    """Another stereo predictor at two scales, in both views.

    The larger scale is 1.5 times the images' size, or as much as leaves the largest disparity within range: smaller
    than the images where they hold disparities that the predictor does not reach. Where both views agree there, its
    disparity stands; else that of the smaller scale, if they agree there. What neither scale is sure of, mostly hidden
    in the right view, takes the middle one of three: what either scale says, and the background beside it.
    Threshold, filling and the use of the range were chosen on rendered scenes. With a range to look at it takes 6.7
    times the time of one prediction by pixels.
    """

    task = Task.STEREO

    def __init__(self, inner: Predictor):
        """Raises UserError unless `inner` is for stereo."""
        if inner.task is not Task.STEREO:
            raise UserError(f"{inner.name} is for {inner.task.value}: only stereo models can be careful")
        self.inner = inner
        self.name = f"{inner.name}:careful"
        self.device = getattr(inner, "device", "cpu")

    def _predict(self, left: np.ndarray, right: np.ndarray) -> Float32[np.ndarray, "h w"]:
        factor = self.factor_for(left, right)
        fine, fine_sure = self._checked(left, right, factor)
        coarse, coarse_sure = self._checked(left, right, max(factor / STEP, SMALLEST))
        sure = fine_sure | coarse_sure
        background = fill_background(np.where(fine_sure, fine, coarse), sure)
        smoothed = cv2.medianBlur(background, 5)  # rows were filled one by one
        return np.where(sure, background, _middle(smoothed, fine, coarse))

    def factor_for(self, left: np.ndarray, right: np.ndarray) -> float:
        """The larger of the two scales: what the largest disparity allows, seen at half the size or less."""
        if self.inner.max_disparity is None:
            return LARGEST_FACTOR
        reach, factor = REACH * self.inner.max_disparity, 0.5
        while True:
            largest = float(np.percentile(Rescaled(self.inner, factor).predict(left, right), 99))
            if largest * factor < reach or factor / 2 < SMALLEST:
                break
            factor /= 2  # more may lie beyond the range
        return min(LARGEST_FACTOR, max(reach / max(largest, 1.0), SMALLEST))

    def _checked(
        self, left: np.ndarray, right: np.ndarray, factor: float
    ) -> tuple[Float32[np.ndarray, "h w"], np.ndarray]:
        """The left view's disparity at a scale, and where the right view's agrees."""
        predictor = Rescaled(self.inner, factor)
        disparity = predictor.predict(left, right)
        return disparity, left_right_difference(disparity, predict_right(predictor, left, right)) <= AGREES


def _middle(
    one: Float32[np.ndarray, "h w"], two: Float32[np.ndarray, "h w"], three: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """The median of three: np.median of them, without sorting a copy."""
    return np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
