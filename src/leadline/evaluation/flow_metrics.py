"""The metrics of optical flow, from sums that add up.

Every definition, with its source, is in docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float64

from leadline.data.sample import Sample
from leadline.evaluation.metrics import Metric
from leadline.evaluation.sums import Sums

FL_PIXELS = 3.0
FL_RELATIVE = 0.05
BAD_THRESHOLDS = (1.0, 3.0, 5.0)  # px
SPEEDS = (0.0, 10.0, 40.0, np.inf)  # px of true motion, as Sintel's s0-10, s10-40, s40+
_BANDS = ("0-10", "10-40", "40+")

METRICS: dict[str, Metric] = {
    "epe": Metric("EPE", "px"),
    "fl": Metric("Fl-all", "%"),
    **{f"bad_{x:g}": Metric(f"bad-{x:g}", "%") for x in BAD_THRESHOLDS},
    "angle": Metric("angular error", "°"),
    "density": Metric("density", "%"),
    "epe_noc": Metric("EPE non-occluded", "px"),
    "fl_noc": Metric("Fl non-occluded", "%"),
    "epe_occ": Metric("EPE occluded", "px"),
    **{f"epe_s{band}": Metric(f"EPE at {band} px of motion", "px") for band in _BANDS},
}


@dataclass
class VectorErrors(Sums):
    """Sums over the pixels of a region that have a valid truth. A pixel without an answer counts as bad."""

    pixels: int = 0
    answered: int = 0
    length: float = 0.0  # px, of the error vectors of answered pixels
    outliers: int = 0  # Fl
    bad: tuple[int, ...] = field(default=(0,) * len(BAD_THRESHOLDS))

    def __add__(self, other: VectorErrors) -> VectorErrors:
        return VectorErrors(
            self.pixels + other.pixels,
            self.answered + other.answered,
            self.length + other.length,
            self.outliers + other.outliers,
            tuple(a + b for a, b in zip(self.bad, other.bad, strict=True)),
        )

    @classmethod
    def of(cls, error: Float64[np.ndarray, " n"], motion: Float64[np.ndarray, " n"]) -> VectorErrors:
        """The sums of error lengths, px, NaN where there is no answer, and lengths of the true motion."""
        size = np.where(np.isfinite(error), error, np.inf)
        answered = size[np.isfinite(size)]
        return cls(
            pixels=size.size,
            answered=answered.size,
            length=float(answered.sum()),
            outliers=int(((size > FL_PIXELS) & (size > FL_RELATIVE * motion)).sum()),
            bad=tuple(int((size > threshold).sum()) for threshold in BAD_THRESHOLDS),
        )

    @property
    def epe(self) -> float | None:
        """Mean length of the error, px."""
        return self.length / self.answered if self.answered else None

    def percent(self, count: int) -> float | None:
        return 100 * count / self.pixels if self.pixels else None


@dataclass
class FlowSums(Sums):
    """All that the flow metrics need, summed over pixels. `sum(parts, FlowSums())` is the whole."""

    all: VectorErrors = field(default_factory=VectorErrors)
    non_occluded: VectorErrors = field(default_factory=VectorErrors)
    occluded: VectorErrors = field(default_factory=VectorErrors)
    slow: VectorErrors = field(default_factory=VectorErrors)
    medium: VectorErrors = field(default_factory=VectorErrors)
    fast: VectorErrors = field(default_factory=VectorErrors)
    angle: float = 0.0  # degrees, over answered pixels

    @classmethod
    def of(
        cls,
        predicted: Float[np.ndarray, "h w 2"],
        flow: Float[np.ndarray, "h w 2"],
        valid: Bool[np.ndarray, "h w"],
        occluded: Bool[np.ndarray, "h w"] | None = None,
    ) -> FlowSums:
        """The sums of one image.

        Args:
            predicted: px, (u, v); not finite where there is no answer.
            flow: the truth, px; only its valid pixels are looked at.
            valid: where the truth is known.
            occluded: where the second frame does not see the point; None: not told.
        """
        truth, answer = flow[valid].astype(np.float64), predicted[valid].astype(np.float64)
        error = np.hypot(*(answer - truth).T)
        motion = np.hypot(*truth.T)

        def region(mask: Bool[np.ndarray, " n"] | None) -> VectorErrors:
            return VectorErrors() if mask is None else VectorErrors.of(error[mask], motion[mask])

        hidden = None if occluded is None else occluded[valid]
        bands = [region((motion >= low) & (motion < high)) for low, high in pairwise(SPEEDS)]
        finite = np.isfinite(error)
        return cls(
            VectorErrors.of(error, motion),
            region(None if hidden is None else ~hidden),
            region(hidden),
            *bands,
            angle=float(angles(answer[finite], truth[finite]).sum()),
        )

    def metrics(self) -> dict[str, float | None]:
        """Every metric of METRICS in its unit; None where no pixel speaks for it."""
        every, seen = self.all, self.non_occluded
        return {
            "epe": every.epe,
            "fl": every.percent(every.outliers),
            **{f"bad_{x:g}": every.percent(count) for x, count in zip(BAD_THRESHOLDS, every.bad, strict=True)},
            "angle": self.angle / every.answered if every.answered else None,
            "density": every.percent(every.answered),
            "epe_noc": seen.epe,
            "fl_noc": seen.percent(seen.outliers),
            "epe_occ": self.occluded.epe,
            **{f"epe_s{b}": e.epe for b, e in zip(_BANDS, (self.slow, self.medium, self.fast), strict=True)},
        }


def angles(answer: Float64[np.ndarray, "n 2"], truth: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " n"]:
    """Degrees between (u, v, 1) and (u', v', 1), as in J. Barron et al., IJCV 1994."""
    dot = (answer * truth).sum(1) + 1
    cosine = dot / np.sqrt((np.square(answer).sum(1) + 1) * (np.square(truth).sum(1) + 1))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def of_sample(predicted: np.ndarray, sample: Sample, valid: np.ndarray) -> FlowSums:
    """The sums of a prediction for a sample whose flow is known."""
    assert sample.flow is not None
    return FlowSums.of(predicted, sample.flow, valid, sample.occluded)
