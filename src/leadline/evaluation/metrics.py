"""The stereo metrics: which there are, and the sums from which one image, a batch or a whole set gets them.

Every definition, with its source, is in docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from leadline.data.sample import Sample
from leadline.evaluation.depth_errors import DISTANCES, DepthErrors
from leadline.evaluation.pixel_errors import BAD_THRESHOLDS, PixelErrors
from leadline.evaluation.quantiles import ErrorHistogram
from leadline.evaluation.regions import near_edges
from leadline.evaluation.subpixel import SubpixelSums
from leadline.evaluation.sums import Sums
from leadline.geometry.camera import StereoCamera

QUANTILES = (50, 90, 95, 99)  # %
_BANDS = [f"{low}-{high}" for low, high in pairwise(DISTANCES)]  # m


class Metric(NamedTuple):
    label: str
    unit: str


METRICS: dict[str, Metric] = {
    "epe": Metric("EPE", "px"),
    "rmse": Metric("RMSE", "px"),
    "d1": Metric("D1", "%"),
    "density": Metric("density", "%"),
    **{f"bad_{x:g}": Metric(f"bad-{x:g}", "%") for x in BAD_THRESHOLDS},
    **{f"a{q}": Metric(f"A{q}", "px") for q in QUANTILES},
    "epe_noc": Metric("EPE non-occluded", "px"),
    "d1_noc": Metric("D1 non-occluded", "%"),
    "d1_occ": Metric("D1 occluded", "%"),
    "d1_fg": Metric("D1 foreground", "%"),
    "d1_bg": Metric("D1 background", "%"),
    "epe_edges": Metric("EPE near edges", "px"),
    "d1_edges": Metric("D1 near edges", "%"),
    "epe_flat": Metric("EPE away from edges", "px"),
    "d1_flat": Metric("D1 away from edges", "%"),
    "subpixel_bias": Metric("sub-pixel bias", "px"),
    "pixel_locking": Metric("pixel locking", "px"),
    "depth_mm": Metric("depth error", "mm"),
    "depth_rel": Metric("depth error", "%"),
    **{f"depth_mm_{band}": Metric(f"depth error {band} m", "mm") for band in _BANDS},
    **{f"depth_rel_{band}": Metric(f"depth error {band} m", "%") for band in _BANDS},
}


@dataclass
class StereoSums(Sums):
    """All that the stereo metrics need, summed over pixels. `sum(parts, StereoSums())` is the whole."""

    all: PixelErrors = field(default_factory=PixelErrors)
    non_occluded: PixelErrors = field(default_factory=PixelErrors)
    occluded: PixelErrors = field(default_factory=PixelErrors)
    foreground: PixelErrors = field(default_factory=PixelErrors)
    background: PixelErrors = field(default_factory=PixelErrors)
    edges: PixelErrors = field(default_factory=PixelErrors)
    flat: PixelErrors = field(default_factory=PixelErrors)
    histogram: ErrorHistogram = field(default_factory=ErrorHistogram)
    subpixel: SubpixelSums = field(default_factory=SubpixelSums)
    depth: DepthErrors = field(default_factory=DepthErrors)

    @classmethod
    def of(
        cls,
        predicted: Float[np.ndarray, "h w"],
        disparity: Float[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
        occluded: Bool[np.ndarray, "h w"] | None = None,
        foreground: Bool[np.ndarray, "h w"] | None = None,
        camera: StereoCamera | None = None,
    ) -> StereoSums:
        """The sums of one image.

        Args:
            predicted: px; not finite where there is no answer.
            disparity: the truth, px; only its valid pixels are looked at.
            valid: where the truth is known.
            occluded, foreground: regions, where the data set tells; without them their metrics are None.
            camera: without it the depth metrics are None.
        """
        truth = disparity[valid].astype(np.float64)
        answer = predicted[valid].astype(np.float64)
        answer[~np.isfinite(answer)] = np.nan
        error = answer - truth

        def region(mask: Bool[np.ndarray, "h w"] | None) -> PixelErrors:
            if mask is None:
                return PixelErrors()
            return PixelErrors.of(error[mask[valid]], truth[mask[valid]])

        edges = near_edges(disparity, valid)
        answered = np.isfinite(error)
        error_answered, truth_answered = error[answered], truth[answered]
        return cls(
            all=PixelErrors.of(error, truth),
            non_occluded=region(None if occluded is None else ~occluded),
            occluded=region(occluded),
            foreground=region(foreground),
            background=region(None if foreground is None else ~foreground),
            edges=region(edges),
            flat=region(~edges),
            histogram=ErrorHistogram.of(error_answered),
            subpixel=SubpixelSums.of(error_answered, truth_answered),
            depth=DepthErrors.of(answer[answered], truth_answered, camera) if camera else DepthErrors(),
        )

    def metrics(self) -> dict[str, float | None]:
        """Every metric of METRICS in its unit; None where no pixel speaks for it."""
        depth_mm, depth_rel = self.depth.mean()
        by_distance = self.depth.mean_by_distance()
        return {
            "epe": self.all.epe,
            "rmse": self.all.rmse,
            "d1": self.all.d1,
            "density": self.all.density,
            **{f"bad_{x:g}": bad for x, bad in zip(BAD_THRESHOLDS, self.all.bad_percent(), strict=True)},
            **{f"a{q}": self.histogram.quantile(q / 100) for q in QUANTILES},
            "epe_noc": self.non_occluded.epe,
            "d1_noc": self.non_occluded.d1,
            "d1_occ": self.occluded.d1,
            "d1_fg": self.foreground.d1,
            "d1_bg": self.background.d1,
            "epe_edges": self.edges.epe,
            "d1_edges": self.edges.d1,
            "epe_flat": self.flat.epe,
            "d1_flat": self.flat.d1,
            "subpixel_bias": self.subpixel.bias,
            "pixel_locking": self.subpixel.locking,
            "depth_mm": depth_mm,
            "depth_rel": depth_rel,
            **{f"depth_mm_{band}": mm for band, (mm, _) in zip(_BANDS, by_distance, strict=True)},
            **{f"depth_rel_{band}": rel for band, (_, rel) in zip(_BANDS, by_distance, strict=True)},
        }


def of_sample(predicted: np.ndarray, sample: Sample, valid: np.ndarray) -> StereoSums:
    """The sums of a prediction for a sample whose disparity is known."""
    assert sample.disparity is not None
    return StereoSums.of(predicted, sample.disparity, valid, sample.occluded, sample.foreground, sample.camera)
