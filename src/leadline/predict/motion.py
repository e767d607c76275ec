"""Depth of a frame from any flow Predictor and the motion of the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from leadline.geometry.motion import Motion, MotionDepth, PinholeCamera, depth_from_motion, estimate_motion
from leadline.predict.flow import FlowPrediction, predict_flow_checked
from leadline.predict.predictor import Predictor

FLOW_ERROR = 0.3  # px, standard deviation of a flow that agrees perfectly with the flow back


@dataclass(frozen=True)
class MotionPrediction:
    """The depth, and what it comes from."""

    depth: MotionDepth
    motion: Motion
    agreeing: float | None  # share of pixels that agree with an estimated motion; None: the motion was given
    flow: FlowPrediction


def predict_motion_depth(
    predictor: Predictor,
    frame0: np.ndarray,
    frame1: np.ndarray,
    camera: PinholeCamera,
    motion: Motion | None = None,
    *,
    rotation: Float[np.ndarray, "3 3"] | None = None,
    distance: float | None = None,
    min_parallax: float = 1.0,
    max_residual: float = 2.0,
) -> MotionPrediction:
    """The depth of frame 0 by triangulation between two frames of one moving camera.

    The flow is predicted both ways; pixels that fail the check have no depth, and the difference between both tells
    how exact the flow is: its standard deviation is taken as sqrt(0.3² + difference² / 2) px.

    Args:
        predictor: any flow predictor.
        frame0, frame1: as `Predictor.predict` takes them, undistorted.
        camera: of both frames.
        motion: of the camera; None: it is estimated, and with it the depth is known up to one factor.
        rotation: where the motion is estimated, its rotation if that is known (from a gyroscope).
        distance: m, how far the camera moved, if that is known: it gives an estimated motion its scale.
        min_parallax, max_residual: px, as `depth_from_motion`.

    Raises:
        UserError: as `predict_flow_checked`, `estimate_motion` and `depth_from_motion`.
    """
    checked = predict_flow_checked(predictor, frame0, frame1)
    agreeing = None
    if motion is None:
        motion, agreeing = estimate_motion(checked.flow, camera, checked.consistent, rotation)
        if distance is not None:
            motion = Motion(motion.rotation, motion.translation * distance, is_metric=True)
    error = np.sqrt(FLOW_ERROR**2 + np.square(np.where(checked.consistent, checked.difference, 0)) / 2)
    depth = depth_from_motion(checked.flow, camera, motion, checked.consistent, error, min_parallax, max_residual)
    return MotionPrediction(depth, motion, agreeing, checked)
