"""Error quantiles from a histogram that can be added up, which the errors' exact order statistics cannot.

The bins are 0.1 % wide from 0.0001 px to 100,000 px and a quantile is given as the middle of its bin, so it lies
within 0.05 % of the exact order statistic; below 0.0001 px it is given as 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from leadline.evaluation.sums import Sums

SMALLEST, LARGEST = 1e-4, 1e5  # px
RATIO = 1.001  # of a bin's upper to its lower bound
BINS = int(np.ceil(np.log(LARGEST / SMALLEST) / np.log(RATIO))) + 1  # the first holds all below SMALLEST


def _no_counts() -> Int64[np.ndarray, " bins"]:
    return np.zeros(BINS, np.int64)


@dataclass
class ErrorHistogram(Sums):
    """Counts of absolute errors in bins of equal ratio."""

    counts: Int64[np.ndarray, " bins"] = field(default_factory=_no_counts)

    @classmethod
    def of(cls, error: Float64[np.ndarray, " n"]) -> ErrorHistogram:
        """The histogram of |error|, px, finite."""
        size = np.maximum(np.abs(error), SMALLEST / RATIO)
        bins = np.floor(np.log(size / SMALLEST) / np.log(RATIO)).astype(np.int64) + 1
        return cls(np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS))

    def quantile(self, share: float) -> float | None:
        """The smallest error that at least `share` of the pixels (0 < share <= 1) do not exceed, px."""
        total = int(self.counts.sum())
        if not total:
            return None
        rank = int(np.ceil(share * total))
        bin_ = int(np.searchsorted(np.cumsum(self.counts), rank))
        return 0.0 if bin_ == 0 else float(SMALLEST * RATIO ** (bin_ - 0.5))
