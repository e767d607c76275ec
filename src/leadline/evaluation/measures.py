"""How each task is measured: which metrics there are, and the sums from which an image or a whole set gets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.evaluation import flow_metrics, metrics
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
}


def measure_of(task: Task) -> Measure:
    """Raises UserError where a task cannot be measured."""
    if task not in MEASURES:
        raise UserError(f"{task.value} cannot be measured: the tasks with metrics are {', '.join(MEASURES)}")
    return MEASURES[task]
