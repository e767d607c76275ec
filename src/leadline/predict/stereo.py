"""What any stereo Predictor can be asked for beside its disparity: the right view, confidence, occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from leadline.errors import UserError, unknown_name
from leadline.geometry.consistency import confidence, fill_background, left_right_difference
from leadline.models.network import Task
from leadline.predict.predictor import Predictor

OCCLUDED = ("keep", "mask", "fill")  # what may be done with pixels that fail the left-right check


@dataclass(frozen=True)
class StereoPrediction:
    """A disparity and how far it is to be trusted. h, w are those of the images."""

    disparity: Float32[np.ndarray, "h w"]  # px, left view; filled where that was asked for
    right_disparity: Float32[np.ndarray, "h w"]  # px, right view
    consistent: Bool[np.ndarray, "h w"]  # passes the left-right check, before any filling
    confidence: Float32[np.ndarray, "h w"]  # [0, 1], geometry.consistency.confidence
    valid: Bool[np.ndarray, "h w"]  # where the disparity stands for something: all, but with "mask" the consistent


def predict_right(predictor: Predictor, left: np.ndarray, right: np.ndarray) -> Float32[np.ndarray, "h w"]:
    """The disparity of the right view, px, positive: `x_left = x_right + d`.

    Seen in a mirror a pair exchanges its views, so any stereo predictor gives it: both images are mirrored and
    exchanged, and the result is mirrored back.

    Raises:
        UserError: as `predictor.predict`; or its task is not stereo.
    """
    if predictor.task is not Task.STEREO:
        raise UserError(f"{predictor.name} is for {predictor.task.value}: only a stereo model has a right view")
    mirrored = predictor.predict(_mirror(right), _mirror(left))
    return _mirror(mirrored)


def predict_checked(
    predictor: Predictor, left: np.ndarray, right: np.ndarray, occluded: str = "keep", threshold: float = 1.0
) -> StereoPrediction:
    """Predicts both views and compares them. It takes twice the time of `predict`.

    Args:
        predictor: any stereo predictor.
        left, right: as `Predictor.predict` takes them.
        occluded: what becomes of the pixels that fail the check: "keep" their disparity, "mask" them (valid is False
            there), or "fill" them with the background beside them (geometry.consistency.fill_background).
        threshold: px, the largest left-right difference that passes.

    Raises:
        UserError: as `predictor.predict`; not a stereo predictor; an unknown `occluded`.
    """
    if occluded not in OCCLUDED:
        raise unknown_name("treatment of occluded pixels", occluded, list(OCCLUDED))
    seen_right = predict_right(predictor, left, right)
    disparity = predictor.predict(left, right)
    difference = left_right_difference(disparity, seen_right)
    passed = difference <= threshold
    return StereoPrediction(
        disparity=fill_background(disparity, passed) if occluded == "fill" else disparity,
        right_disparity=seen_right,
        consistent=passed,
        confidence=confidence(difference),
        valid=passed if occluded == "mask" else np.ones(disparity.shape, bool),
    )


def _mirror(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])
