"""Sums over depth errors, by true distance, where the camera is calibrated.

True distances up to 80 m count, and a predicted depth is cut at 80 m (the cap of C. Godard et al., "Unsupervised
Monocular Depth Estimation with Left-Right Consistency", CVPR 2017, on KITTI), so that a disparity near zero or below
is a finite, large error and not an infinite one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from leadline.evaluation.sums import Sums
from leadline.geometry.camera import StereoCamera
from leadline.geometry.depth import disparity_to_depth

DISTANCES = (0, 2, 5, 10, 20, 40, 80)  # m; band k is DISTANCES[k] < depth <= DISTANCES[k + 1]
BANDS = len(DISTANCES) - 1
FARTHEST = float(DISTANCES[-1])  # m


def _no_counts() -> Int64[np.ndarray, " bands"]:
    return np.zeros(BANDS, np.int64)


def _no_sums() -> Float64[np.ndarray, " bands"]:
    return np.zeros(BANDS)


@dataclass
class DepthErrors(Sums):
    """Count, sum of |error| and sum of |error| / depth over the answered pixels, by true distance."""

    counts: Int64[np.ndarray, " bands"] = field(default_factory=_no_counts)
    absolute: Float64[np.ndarray, " bands"] = field(default_factory=_no_sums)  # mm
    relative: Float64[np.ndarray, " bands"] = field(default_factory=_no_sums)

    @classmethod
    def of(
        cls, predicted: Float64[np.ndarray, " n"], truth: Float64[np.ndarray, " n"], camera: StereoCamera
    ) -> DepthErrors:
        """The sums for disparities in px, finite."""
        true_depth, known = (part[0] for part in disparity_to_depth(truth[None], camera))
        depth, met = (part[0] for part in disparity_to_depth(predicted[None], camera))
        depth[~met] = np.inf  # the rays do not meet in front of the camera
        near = known & (true_depth <= FARTHEST)
        true_depth = true_depth[near].astype(np.float64)
        error = np.abs(np.minimum(depth[near], FARTHEST) - true_depth)
        band = np.searchsorted(DISTANCES, true_depth) - 1
        return cls(
            np.bincount(band, minlength=BANDS),
            np.bincount(band, weights=1000 * error, minlength=BANDS).astype(np.float64),
            np.bincount(band, weights=error / true_depth, minlength=BANDS).astype(np.float64),
        )

    def mean(self) -> tuple[float | None, float | None]:
        """Mean absolute error in mm and in % of the true depth, over all distances."""
        return _mean(int(self.counts.sum()), float(self.absolute.sum()), float(self.relative.sum()))

    def mean_by_distance(self) -> list[tuple[float | None, float | None]]:
        """The same for each distance band."""
        bands = zip(self.counts.tolist(), self.absolute.tolist(), self.relative.tolist(), strict=True)
        return [_mean(*band) for band in bands]


def _mean(count: int, absolute: float, relative: float) -> tuple[float | None, float | None]:
    if not count:
        return None, None
    return absolute / count, 100 * relative / count
