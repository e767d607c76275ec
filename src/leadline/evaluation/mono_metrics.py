"""The metrics of monocular depth, and the sums from which one image or a whole set gets them.

Every definition, with its source, is in docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int64

from leadline.data.sample import Sample
from leadline.evaluation.alignment import DepthProtocol
from leadline.evaluation.metrics import Metric
from leadline.evaluation.sums import Sums

DELTAS = (1.25, 1.25**2, 1.25**3)

METRICS: dict[str, Metric] = {
    "abs_rel": Metric("AbsRel", ""),
    "sq_rel": Metric("SqRel", "m"),
    "rmse": Metric("RMSE", "m"),
    "rmse_log": Metric("RMSE log", ""),
    "silog": Metric("SILog", "%"),
    "log10": Metric("log10", ""),
    "delta_1": Metric("δ < 1.25", "%"),
    "delta_2": Metric("δ < 1.25²", "%"),
    "delta_3": Metric("δ < 1.25³", "%"),
    "density": Metric("density", "%"),
}


def _no_hits() -> Int64[np.ndarray, 3]:
    return np.zeros(len(DELTAS), np.int64)


@dataclass
class MonoSums(Sums):
    """Sums over the pixels that count. With p the aligned prediction and g the truth, in m; logarithms are natural."""

    pixels: int = 0
    answered: int = 0
    relative: float = 0.0  # |p - g| / g
    squared_relative: float = 0.0  # (p - g)² / g
    squared: float = 0.0  # (p - g)²
    log: float = 0.0  # ln p - ln g
    log_squared: float = 0.0
    log_absolute: float = 0.0
    hits: Int64[np.ndarray, 3] = field(default_factory=_no_hits)  # max(p / g, g / p) < each of DELTAS

    @classmethod
    def of(
        cls,
        predicted: Float[np.ndarray, "h w"],
        depth: Float[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
        protocol: DepthProtocol | None = None,
    ) -> MonoSums:
        """The sums of one image.

        Args:
            predicted: m, or in any unit where the protocol aligns; not finite or not positive where there is no answer.
            depth: the truth, m; only its valid pixels are looked at.
            protocol: which pixels count and how they are aligned.
        """
        protocol = protocol or DepthProtocol()
        counts = protocol.counts(depth, valid)
        g = depth[counts].astype(np.float64)
        p = predicted[counts].astype(np.float64)
        # Affine alignment may lift what is not positive; without one it is no depth.
        if protocol.align != "affine":
            p = np.where(p > 0, p, np.nan)
        p = protocol.compared(p, g)
        answered = np.isfinite(p)
        p, g = p[answered], g[answered]
        error, ratio = p - g, np.log(p) - np.log(g)
        return cls(
            pixels=int(counts.sum()),
            answered=int(answered.sum()),
            relative=float((np.abs(error) / g).sum()),
            squared_relative=float((error**2 / g).sum()),
            squared=float((error**2).sum()),
            log=float(ratio.sum()),
            log_squared=float((ratio**2).sum()),
            log_absolute=float(np.abs(ratio).sum()),
            hits=np.array([(np.maximum(p / g, g / p) < delta).sum() for delta in DELTAS], np.int64),
        )

    def metrics(self) -> dict[str, float | None]:
        """Every metric in its unit; None where no pixel speaks for it. A missing answer counts as a miss of δ."""
        n, pixels = self.answered, self.pixels
        mean_log = self.log / n if n else 0.0

        def mean(total: float) -> float | None:
            return total / n if n else None

        def root(total: float) -> float | None:
            return float(np.sqrt(max(total / n, 0.0))) if n else None

        return {
            "abs_rel": mean(self.relative),
            "sq_rel": mean(self.squared_relative),
            "rmse": root(self.squared),
            "rmse_log": root(self.log_squared),
            "silog": 100 * float(np.sqrt(max(self.log_squared / n - mean_log**2, 0.0))) if n else None,
            "log10": mean(self.log_absolute / np.log(10)),
            **{
                f"delta_{i}": 100 * int(hits) / pixels if pixels else None
                for i, hits in enumerate(self.hits.tolist(), 1)
            },
            "density": 100 * n / pixels if pixels else None,
        }


def of_sample(
    predicted: np.ndarray, sample: Sample, valid: np.ndarray, protocol: DepthProtocol | None = None
) -> MonoSums:
    """The sums of a prediction for a sample whose depth is known."""
    assert sample.depth is not None
    return MonoSums.of(predicted, sample.depth, valid, protocol)
