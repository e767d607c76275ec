"""What a data set holds and what is wrong with it: sizes, calibration, statistics of the disparity, broken samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from leadline.data.datasets.base import Dataset
from leadline.data.formats.images import Image, write_image
from leadline.data.sample import Sample
from leadline.errors import UserError

_BINS_PER_PIXEL = 16
_BINS = 8192 * _BINS_PER_PIXEL
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


class DisparityStatistics:
    """Statistics of all valid disparities of a data set, in bounded memory: counts in bins of 1/16 px."""

    def __init__(self):
        self.pixels = 0  # of the samples that have a truth
        self.valid = 0
        self.minimum = np.inf  # px
        self.maximum = -np.inf  # px
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, valid_disparities: Float32[np.ndarray, " n"], pixels: int) -> None:
        """Adds a sample: its valid disparities (px) and its number of pixels."""
        self.pixels += pixels
        self.valid += valid_disparities.size
        self.minimum = min(self.minimum, float(valid_disparities.min(initial=np.inf)))
        self.maximum = max(self.maximum, float(valid_disparities.max(initial=-np.inf)))
        bins = (valid_disparities * _BINS_PER_PIXEL).astype(np.int64).clip(0, _BINS - 1)
        self._counts += np.bincount(bins, minlength=_BINS)

    @property
    def density(self) -> float:
        """The share of pixels whose truth is valid."""
        return self.valid / self.pixels if self.pixels else 0.0

    def percentile(self, percent: float | int) -> float:
        """The disparity (px, to 1/16) under which `percent` of the valid pixels lie."""
        rank = np.searchsorted(np.cumsum(self._counts), percent / 100 * self.valid)
        return min(max((float(rank) + 0.5) / _BINS_PER_PIXEL, self.minimum), self.maximum)

    def histogram(self, bars: int = 16) -> list[dict[str, int | float]]:
        """Equal bins of whole pixels from 0 to the maximum: `from`, `to` (px) and `share` of the valid pixels."""
        if self.valid == 0:
            return []
        width = max(1, int(np.ceil((np.floor(self.maximum) + 1) / bars)))
        count = int(np.floor(self.maximum)) // width + 1
        per_bar = width * _BINS_PER_PIXEL
        shares = [self._counts[bar * per_bar : (bar + 1) * per_bar].sum() / self.valid for bar in range(count)]
        return [{"from": bar * width, "to": (bar + 1) * width, "share": float(s)} for bar, s in enumerate(shares)]

    def to_dict(self) -> dict[str, Any] | None:
        """All of it, JSON-able; None where there is no truth."""
        if self.valid == 0:
            return None
        return {
            "valid_pixels": self.valid,
            "density": self.density,
            "min": self.minimum,
            "percentiles": {str(percent): self.percentile(percent) for percent in PERCENTILES},
            "max": self.maximum,
            "histogram": self.histogram(),
        }


@dataclass
class DataReport:
    """What `check_data` found. `problems` holds a line for everything missing or broken."""

    name: str
    pairs: int = 0  # readable
    with_truth: int = 0
    with_camera: int = 0
    with_occlusion: int = 0
    with_foreground: int = 0
    sizes: Counter[str] = field(default_factory=Counter)  # "1242 x 375, RGB, 8 bits": how many
    cameras: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    disparity: DisparityStatistics = field(default_factory=DisparityStatistics)
    depth: DisparityStatistics = field(default_factory=DisparityStatistics)  # of single images, cm

    def depth_in_metres(self) -> dict[str, Any] | None:
        """Smallest, percentiles and largest depth, m, and the share of pixels with one; None where there is none."""
        if not self.depth.valid:
            return None
        percentiles = {str(percent): self.depth.percentile(percent) / 100 for percent in PERCENTILES}
        return {
            "valid_pixels": self.depth.valid,
            "density": self.depth.density,
            "min": self.depth.minimum / 100,
            "percentiles": percentiles,
            "max": self.depth.maximum / 100,
        }

    def to_dict(self) -> dict[str, Any]:
        """The report, JSON-able."""
        return {
            "name": self.name,
            "pairs": self.pairs,
            "with_truth": self.with_truth,
            "with_camera": self.with_camera,
            "with_occlusion": self.with_occlusion,
            "with_foreground": self.with_foreground,
            "sizes": dict(self.sizes),
            "cameras": dict(self.cameras),
            "disparity": self.disparity.to_dict(),
            **({"depth": self.depth_in_metres()} if self.depth.valid else {}),
            "samples": self.samples,
            "problems": self.problems,
        }


def check_data(
    dataset: Dataset, pictures: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> DataReport:
    """Reads every sample and reports on the whole; a broken sample becomes a problem and the rest is read on.

    Args:
        dataset: from `open_data`.
        pictures: a folder for one PNG per sample: left, right and, where there is a truth, the coloured disparity.
        progress: called with (samples done, samples in all).

    Raises:
        UserError: the pictures cannot be written.
    """
    report = DataReport(dataset.name, problems=list(dataset.problems))
    for index in range(len(dataset)):
        try:
            sample = dataset[index]
        except UserError as error:
            report.problems.append(str(error))
        else:
            _add(report, sample)
            if pictures is not None:
                write_image(pictures / f"{sample.name}.png", draw_sample(sample))
        if progress is not None:
            progress(index + 1, len(dataset))
    return report


def draw_sample(sample: Sample) -> UInt8[np.ndarray, "h w 3"]:
    """The images and, where there is a truth, the coloured disparity or depth, side by side."""
    from leadline.colors import color_depth, color_disparity, to_rgb8

    parts = [to_rgb8(_brighten(image)) for image in sample.images]
    if sample.disparity is not None:
        parts.append(color_disparity(sample.disparity, valid=sample.valid))
    if sample.depth is not None:
        parts.append(color_depth(sample.depth, sample.valid))
    return np.concatenate(parts, axis=1)


def _add(report: DataReport, sample: Sample) -> None:
    height, width = sample.size
    image = sample.images[0]
    kind = "grey" if image.ndim == 2 else "RGB"
    row: dict[str, Any] = {
        "name": sample.name,
        "width": width,
        "height": height,
        "channels": 1 if image.ndim == 2 else 3,
        "bits": image.dtype.itemsize * 8,
    }
    report.pairs += 1
    report.sizes[f"{width} x {height}, {kind}, {row['bits']} bits"] += 1
    report.with_occlusion += sample.occluded is not None
    report.with_foreground += sample.foreground is not None
    if sample.camera is not None:
        camera = sample.camera
        report.with_camera += 1
        report.cameras[
            f"focal {camera.focal:.2f} px, baseline {camera.baseline * 1000:.2f} mm, doffs {camera.doffs:g} px"
        ] += 1
        row["camera"] = camera.to_dict()
    if sample.intrinsics is not None:
        lens = sample.intrinsics
        report.with_camera += 1
        report.cameras[f"fx {lens.fx:.2f}, fy {lens.fy:.2f}, cx {lens.cx:.2f}, cy {lens.cy:.2f} px"] += 1
        row["camera"] = lens.to_dict()
    if sample.depth is not None and sample.valid is not None:
        depths = sample.depth[sample.valid]
        report.with_truth += 1
        report.depth.add(100 * depths, sample.valid.size)
        row |= {
            "density": depths.size / sample.valid.size,
            "min": float(depths.min()),
            "median": float(np.median(depths)),
            "max": float(depths.max()),
        }
    if sample.disparity is not None and sample.valid is not None:
        disparities = sample.disparity[sample.valid]
        report.with_truth += 1
        report.disparity.add(disparities, sample.valid.size)
        row |= {
            "density": disparities.size / sample.valid.size,
            "min": float(disparities.min()),
            "median": float(np.median(disparities)),
            "max": float(disparities.max()),
        }
        if sample.occluded is not None:
            row["occluded"] = float(sample.occluded.sum() / disparities.size)
        if disparities.max() >= width:
            report.problems.append(
                f"{sample.name}: a disparity of {disparities.max():.1f} px is wider than the image ({width} px): "
                "check the scale of the truth"
            )
    report.samples.append(row)


def _brighten(image: Image) -> Image:
    """Cameras put 10 or 12 bits into 16: the brightest pixel tells what is white."""
    if image.dtype == np.uint8:
        return image
    return (image.astype(np.float32) * (65535 / max(int(image.max()), 1))).clip(0, 65535).astype(np.uint16)
