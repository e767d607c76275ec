"""Frames at any times between two, with any interpolation predictor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leadline.errors import UserError
from leadline.models.network import Task
from leadline.predict.predictor import Predictor, check_time

NEAR = 0.01  # how far from the wanted time a halving may end
HALVINGS = 8  # at most


def frames_between(
    predictor: Predictor, frame0: np.ndarray, frame1: np.ndarray, times: Sequence[float]
) -> list[np.ndarray]:
    """The frames at `times`, each in (0, 1).

    A predictor that knows any time is asked for each. One that knows the middle alone is asked for middles of middles
    until the time is met within NEAR, as RIFE's image script does: exact for halves, quarters, eighths, which share
    their middles. On the way frames keep 16 bits, so that nothing is rounded twice.

    Raises:
        UserError: as `Predictor.predict`; a predictor of another task.
    """
    if predictor.task is not Task.INTERPOLATION:
        raise UserError(f"{predictor.name} is for {predictor.task.value}: take a model for interpolation")
    for time in times:
        check_time(time)
    if predictor.takes_time:
        return [predictor.predict(frame0, frame1, time=time) for time in times]
    if all(time == 0.5 for time in times):
        middle = predictor.predict(frame0, frame1) if times else None
        return [middle for _ in times]  # pyright: ignore[reportReturnType]
    narrow = frame0.dtype == np.uint8
    known = {0.0: _widen(frame0), 1.0: _widen(frame1)}
    found = [_halve(predictor, known, time) for time in times]
    return [_narrow(frame) for frame in found] if narrow else found


def _halve(predictor: Predictor, known: dict[float, np.ndarray], time: float) -> np.ndarray:
    """The frame at about `time`; every frame that is made on the way is kept in `known`."""
    before, after = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (before + after) / 2
        if middle not in known:
            known[middle] = predictor.predict(known[before], known[after])
        if abs(middle - time) <= NEAR:
            break
        before, after = (middle, after) if time > middle else (before, middle)
    return known[middle]


def _widen(frame: np.ndarray) -> np.ndarray:
    return frame.astype(np.uint16) * 257 if frame.dtype == np.uint8 else frame


def _narrow(frame: np.ndarray) -> np.ndarray:
    return np.rint(frame / 257).astype(np.uint8)
