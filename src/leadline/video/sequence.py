"""Frames between the frames of a sequence, with an eye on scene cuts and on frames that are shown twice.

Both are told as in RIFE's video script (github.com/hzwer/ECCV2022-RIFE, 5d8adbd, inference_video.py): by the SSIM, with
the window over space and channels, of the two frames shrunk to 32x32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from leadline.colors import to_rgb8
from leadline.evaluation.ssim import ssim_matlab
from leadline.predict import Predictor, frames_between

SMALL = 32  # px
CUT_BELOW = 0.2  # similarity under which two frames belong to different scenes
STATIC_ABOVE = 0.996  # similarity over which the second frame shows the first one again


class Gap(StrEnum):
    """What is between two frames."""

    MOTION = "motion"
    CUT = "cut"  # nothing: the frame before is repeated
    STATIC = "static"  # the second frame was the first again, and has been replaced by a middle one


@dataclass
class Step:
    """A frame of the sequence, and the frames that belong between it and the next one."""

    frame: np.ndarray
    between: list[np.ndarray]
    gap: Gap | None  # to the next frame; None: this is the last
    number: int  # of the frame in the sequence, from 0


def similarity(frame0: np.ndarray, frame1: np.ndarray) -> float:
    """SSIM of the frames at 32x32, at most 1: how alike they are at a glance."""
    return ssim_matlab(_small(frame0), _small(frame1))


def _small(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(to_rgb8(frame), (SMALL, SMALL), interpolation=cv2.INTER_LINEAR).astype(np.float64) / 255


def fill_gaps(
    predictor: Predictor,
    frames: Iterable[np.ndarray],
    times: list[float],
    *,
    cuts: bool = True,
    static: bool = True,
) -> Iterator[Step]:
    """Each frame of a sequence with the frames at `times` between it and the next.

    Args:
        predictor: for interpolation.
        frames: of one size and type.
        times: in (0, 1).
        cuts: repeat the frame before a scene cut, instead of mixing two scenes.
        static: where a frame shows the one before again, as in footage that was brought to a higher rate by repeating,
            replace it by the middle between the one before and the one after, so that motion does not stutter.

    Raises:
        UserError: as `Predictor.predict`.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        return
    number = 0
    ahead: np.ndarray | None = None
    while True:
        second = ahead if ahead is not None else next(stream, None)
        ahead = None
        if second is None:
            yield Step(first, [], None, number)
            return
        alike = similarity(first, second) if cuts or static else 0.5
        gap = Gap.MOTION
        if static and alike > STATIC_ABOVE:
            ahead = next(stream, None)
            if ahead is not None:  # its turn comes next, as it is
                gap = Gap.STATIC
                second = frames_between(predictor, first, ahead, [0.5])[0]
                alike = similarity(first, second)
        if cuts and alike < CUT_BELOW:
            gap = Gap.CUT
        between = [first] * len(times) if gap is Gap.CUT else frames_between(predictor, first, second, times)
        yield Step(first, between, gap, number)
        first = second
        number += 1
