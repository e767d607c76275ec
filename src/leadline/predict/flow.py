"""What any flow Predictor can be asked for beside its flow: the flow back, and where the two agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from leadline.errors import UserError
from leadline.geometry.consistency import forward_backward_difference, forward_backward_limit
from leadline.models.network import Task
from leadline.predict.predictor import Predictor


@dataclass(frozen=True)
class FlowPrediction:
    """A flow, the flow back, and where they agree. h, w are those of the frames."""

    flow: Float32[np.ndarray, "h w 2"]  # px, frame 0 -> frame 1
    backward: Float32[np.ndarray, "h w 2"]  # px, frame 1 -> frame 0
    difference: Float32[np.ndarray, "h w"]  # px between a pixel and where it comes back to; inf: it leaves the frame
    consistent: Bool[np.ndarray, "h w"]
    outside: Bool[np.ndarray, "h w"]  # the flow leads out of the frame

    @property
    def occluded(self) -> Bool[np.ndarray, "h w"]:
        """Not seen in frame 1, as far as the flows can tell: behind something else, or out of the frame."""
        return ~self.consistent


def predict_flow_checked(
    predictor: Predictor, frame0: np.ndarray, frame1: np.ndarray, threshold: float | None = None
) -> FlowPrediction:
    """Predicts the flow in both directions and compares them. It takes twice the time of `predict`.

    Args:
        predictor: any flow predictor.
        frame0, frame1: as `Predictor.predict` takes them.
        threshold: px, the largest difference that passes; None: one that grows with the motion
            (geometry.consistency.forward_backward_limit).

    Raises:
        UserError: as `predictor.predict`; not a flow predictor.
    """
    if predictor.task is not Task.FLOW:
        raise UserError(f"{predictor.name} is for {predictor.task.value}: only a flow model has a flow back")
    forward, backward = predictor.predict(frame0, frame1), predictor.predict(frame1, frame0)
    difference = forward_backward_difference(forward, backward)
    limit = forward_backward_limit(forward, backward) if threshold is None else threshold
    return FlowPrediction(forward, backward, difference, difference <= limit, ~np.isfinite(difference))
