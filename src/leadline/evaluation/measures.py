"""How each task is measured: which metrics there are, and the sums from which an image or a whole set gets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.evaluation import flow_metrics, frame_errors, metrics, mono_metrics
from leadline.evaluation.alignment import DepthProtocol
from leadline.evaluation.metrics import Metric
from leadline.models.network import Task

_IN_NAMES = {"%": "percent", "°": "degrees", "dB": "db"}


@runtime_checkable
class Accumulator(Protocol):
    """Sums over pixels that add up with `+`; see `leadline.evaluation.sums`."""

    def __add__(self, other: Any, /) -> Any: ...

    def metrics(self) -> dict[str, float | None]:
        """Every metric of the task in its unit; None where no pixel speaks for it."""
        ...


@dataclass(frozen=True)
class Measure:
    """How one task is measured.

    Args:
        metrics: key -> label and unit, in the order of tables.
        empty: makes the sums of nothing.
        of_sample: `of_sample(predicted, sample, valid)` gives the sums of one prediction.
        headline: the two metrics that stand for a model where there is room for two, as in a benchmark.
        per_sample: those shown for each sample.
        higher_is_better: metrics that grow with quality.
    """

    metrics: dict[str, Metric]
    empty: Callable[[], Any]
    of_sample: Callable[[np.ndarray, Sample, np.ndarray], Any]
    headline: tuple[str, str]
    per_sample: tuple[str, ...]
    higher_is_better: frozenset[str] = frozenset()

    def column(self, key: str) -> str:
        """The name of a metric with its unit, for files."""
        unit = _IN_NAMES.get(self.metrics[key].unit, self.metrics[key].unit)
        return f"{key}_{unit}" if unit else key

    def loss(self, key: str, found: float | None, expected: float | None) -> float | None:
        """By how much a metric is worse than expected; negative where it is better, None where either is unknown."""
        if found is None or expected is None:
            return None
        return expected - found if key in self.higher_is_better else found - expected


MEASURES: dict[Task, Measure] = {
    Task.STEREO: Measure(
        metrics=metrics.METRICS,
        empty=metrics.StereoSums,
        of_sample=metrics.of_sample,
        headline=("epe", "d1"),
        per_sample=("epe", "rmse", "d1", "bad_1", "bad_2", "a90", "density", "depth_mm"),
    ),
    Task.FLOW: Measure(
        metrics=flow_metrics.METRICS,
        empty=flow_metrics.FlowSums,
        of_sample=flow_metrics.of_sample,
        headline=("epe", "fl"),
        per_sample=("epe", "fl", "bad_1", "bad_3", "angle"),
    ),
    Task.INTERPOLATION: Measure(
        metrics=frame_errors.METRICS,
        empty=frame_errors.FrameSums,
        of_sample=frame_errors.of_sample,
        headline=("psnr", "ssim_matlab"),
        per_sample=("psnr", "ssim", "ssim_matlab", "ie", "sharpness"),
        higher_is_better=frozenset({"psnr", "ssim", "ssim_matlab", "psnr_y", "sharpness"}),
    ),
    Task.MONO: Measure(
        metrics=mono_metrics.METRICS,
        empty=mono_metrics.MonoSums,
        of_sample=mono_metrics.of_sample,
        headline=("abs_rel", "delta_1"),
        per_sample=("abs_rel", "sq_rel", "rmse", "rmse_log", "silog", "delta_1", "delta_2", "delta_3"),
        higher_is_better=frozenset({"delta_1", "delta_2", "delta_3"}),
    ),
}


def measure_of(task: Task, protocol: DepthProtocol | None = None) -> Measure:
    """The measure of a task; of monocular depth by a protocol.

    Raises:
        UserError: a task that cannot be measured, or a protocol for one that has none.
    """
    if protocol is not None:
        if task is not Task.MONO:
            raise UserError(f"alignment, cap and crop are for monocular depth, not for {task.value}: leave them out")
        return replace(MEASURES[task], of_sample=partial(mono_metrics.of_sample, protocol=protocol))
    if task not in MEASURES:
        raise UserError(f"{task.value} cannot be measured: the tasks with metrics are {', '.join(MEASURES)}")
    return MEASURES[task]
