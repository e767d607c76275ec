"""Sums over the disparity errors of one region: EPE, RMSE, D1, bad-x and density come from these.

Source of D1: KITTI 2015 stereo benchmark (an error above 3 px and above 5 % of the true disparity). Source of bad-x:
Middlebury stereo evaluation, version 3 (share of pixels with an error above x px).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from leadline.evaluation.sums import Sums

D1_PIXELS = 3.0
D1_RELATIVE = 0.05
BAD_THRESHOLDS = (0.5, 1.0, 2.0, 3.0, 4.0)  # px


def _no_bad() -> Int64[np.ndarray, " thresholds"]:
    return np.zeros(len(BAD_THRESHOLDS), np.int64)


@dataclass
class PixelErrors(Sums):
    """Sums over the pixels of a region that have a valid truth. A pixel without an answer counts as bad."""

    pixels: int = 0
    answered: int = 0
    absolute: float = 0.0  # px, over answered pixels
    squared: float = 0.0  # px², over answered pixels
    outliers: int = 0  # D1
    bad: Int64[np.ndarray, " thresholds"] = field(default_factory=_no_bad)

    @classmethod
    def of(cls, error: Float64[np.ndarray, " n"], truth: Float64[np.ndarray, " n"]) -> PixelErrors:
        """The sums of `error` = prediction - truth, px, NaN where the predictor gave no answer."""
        size = np.abs(error)
        size[np.isnan(size)] = np.inf
        answered = size[np.isfinite(size)]
        return cls(
            pixels=size.size,
            answered=answered.size,
            absolute=float(answered.sum()),
            squared=float(np.square(answered).sum()),
            outliers=int(((size > D1_PIXELS) & (size > D1_RELATIVE * truth)).sum()),
            bad=np.array([(size > threshold).sum() for threshold in BAD_THRESHOLDS], np.int64),
        )

    @property
    def epe(self) -> float | None:
        """Mean absolute error over answered pixels, px."""
        return self.absolute / self.answered if self.answered else None

    @property
    def rmse(self) -> float | None:
        """Root of the mean squared error over answered pixels, px."""
        return float(np.sqrt(self.squared / self.answered)) if self.answered else None

    @property
    def d1(self) -> float | None:
        """Outliers, % of the valid pixels."""
        return 100 * self.outliers / self.pixels if self.pixels else None

    @property
    def density(self) -> float | None:
        """Answered pixels, % of the valid pixels."""
        return 100 * self.answered / self.pixels if self.pixels else None

    def bad_percent(self) -> list[float | None]:
        """Pixels with an error above each of BAD_THRESHOLDS, % of the valid pixels."""
        return [100 * int(count) / self.pixels if self.pixels else None for count in self.bad]
