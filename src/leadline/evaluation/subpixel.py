"""Sub-pixel bias: the signed error as a function of the fractional part of the true disparity.

A matcher that works on whole pixels pulls its answers towards them ("pixel locking": M. Shimizu and M. Okutomi,
"Precise sub-pixel estimation on area-based matching", ICCV 2001). The pull shows as a wave in the mean signed error,
with a period of one pixel; its amplitude is what is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from leadline.evaluation.sums import Sums

BINS = 16  # over one pixel; bin k is centred on the fraction k / BINS
GROSS = 1.0  # px; larger errors are mismatches and say nothing about the sub-pixel step


def _no_counts() -> Int64[np.ndarray, " bins"]:
    return np.zeros(BINS, np.int64)


def _no_sums() -> Float64[np.ndarray, " bins"]:
    return np.zeros(BINS)


@dataclass
class SubpixelSums(Sums):
    """Count and sum of the signed errors below GROSS, by the fractional part of the truth."""

    counts: Int64[np.ndarray, " bins"] = field(default_factory=_no_counts)
    signed: Float64[np.ndarray, " bins"] = field(default_factory=_no_sums)  # px

    @classmethod
    def of(cls, error: Float64[np.ndarray, " n"], truth: Float64[np.ndarray, " n"]) -> SubpixelSums:
        """The sums of `error` = prediction - truth, px, finite."""
        fine = np.abs(error) < GROSS
        bins = np.round(truth[fine] * BINS).astype(np.int64) % BINS
        return cls(
            np.bincount(bins, minlength=BINS),
            np.bincount(bins, weights=error[fine], minlength=BINS).astype(np.float64),
        )

    @property
    def bias(self) -> float | None:
        """Mean signed error, px."""
        total = int(self.counts.sum())
        return float(self.signed.sum()) / total if total else None

    def by_fraction(self) -> list[float | None]:
        """Mean signed error in each bin, px; None where no pixel's truth has such a fraction."""
        return [float(s / n) if n else None for s, n in zip(self.signed, self.counts, strict=True)]

    @property
    def locking(self) -> float | None:
        """Amplitude of the wave `a·cos(2πf) + b·sin(2πf) + c` fitted to the errors by their fraction f, px.

        None where the truth has fewer than three different fractions (integer truths), which fix no wave.
        """
        seen = self.counts > 0
        if seen.sum() < 3:
            return None
        phase = 2 * np.pi * np.flatnonzero(seen) / BINS
        wave = np.stack([np.cos(phase), np.sin(phase), np.ones_like(phase)], axis=1)
        weight = np.sqrt(self.counts[seen])
        mean = self.signed[seen] / self.counts[seen]
        (a, b, _), *_ = np.linalg.lstsq(wave * weight[:, None], mean * weight, rcond=None)
        return float(np.hypot(a, b))
