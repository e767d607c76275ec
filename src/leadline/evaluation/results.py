"""Results: what an evaluation found, per sample and over the set."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from leadline.evaluation.measures import Measure, measure_of
from leadline.evaluation.metrics import StereoSums
from leadline.files import write_whole
from leadline.models.network import Task

OVER_SAMPLES = "mean of samples"  # each sample has the same weight, whatever its size
OVER_PIXELS = "all pixels"  # each valid pixel of the set has the same weight

Metrics = dict[str, float | None]


@dataclass
class Row:
    """One model on one sample."""

    model: str
    sample: str
    height: int
    width: int
    pixels: int  # with a valid truth
    seconds: float  # of the prediction alone
    metrics: Metrics

    def flat(self) -> dict[str, Any]:
        """One level of JSON-able values."""
        row = asdict(self)
        return row | row.pop("metrics")


@dataclass
class Problem:
    """What could not be evaluated, and why."""

    sample: str | None  # None: found missing when the data set was opened
    model: str | None  # None: whatever the model
    reason: str

    def __str__(self) -> str:
        about = [part for part in (self.sample, self.model) if part and not self.reason.startswith(f"{part}:")]
        return ": ".join([*about, self.reason])


@dataclass
class Results:
    """What `leadline.evaluate` returns. Units are in `.measure.metrics`; None: nothing to measure it on."""

    models: list[str]
    data: str
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sums: dict[str, Any] = field(default_factory=dict)  # by model, of the measure's kind
    task: Task = Task.STEREO
    protocol: str | None = None  # how depths were aligned, capped and cropped

    @property
    def measure(self) -> Measure:
        """How the task is measured: the metrics, their labels and units."""
        return measure_of(self.task)

    def add(self, row: Row, sums: Any) -> None:
        """Counts one more sample of one model."""
        self.rows.append(row)
        self.sums[row.model] = self._sums(row.model) + sums

    def _sums(self, model: str) -> Any:
        return self.sums[model] if model in self.sums else self.measure.empty()

    @property
    def samples(self) -> list[dict[str, Any]]:
        """One flat row per model and sample, in the order of the data."""
        return [row.flat() for row in self.rows]

    @property
    def table(self) -> list[dict[str, Any]]:
        """Models × metrics: two rows per model, OVER_SAMPLES and OVER_PIXELS, named so under "aggregate"."""
        return [
            {
                "model": model,
                "aggregate": aggregate,
                "samples": len(self.rows_of(model)),
                "seconds": self.seconds_per_pair(model),
                **metrics,
            }
            for model in self.models
            for aggregate, metrics in (
                (OVER_SAMPLES, self.over_samples(model)),
                (OVER_PIXELS, self.over_pixels(model)),
            )
        ]

    def rows_of(self, model: str) -> list[Row]:
        """The rows of one model."""
        return [row for row in self.rows if row.model == model]

    def over_pixels(self, model: str) -> Metrics:
        """Metrics of all the pixels of the set taken together."""
        return self._sums(model).metrics()

    def over_samples(self, model: str) -> Metrics:
        """Mean of each metric over the samples that have it."""
        rows = self.rows_of(model)
        having = {
            key: [value for row in rows if (value := row.metrics[key]) is not None] for key in self.measure.metrics
        }
        return {key: fmean(values) if values else None for key, values in having.items()}

    def seconds_per_pair(self, model: str) -> float | None:
        """Median time of one prediction, reading excluded."""
        rows = self.rows_of(model)
        return median(row.seconds for row in rows) if rows else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-able values (no NaN, no infinity)."""
        return {
            "data": self.data,
            "task": self.task.value,
            **({"protocol": self.protocol} if self.protocol else {}),
            "units": {"seconds": "s", **{key: metric.unit for key, metric in self.measure.metrics.items()}},
            "models": [
                {
                    "model": model,
                    "samples": len(self.rows_of(model)),
                    "seconds": self.seconds_per_pair(model),
                    "over_samples": self.over_samples(model),
                    "over_pixels": self.over_pixels(model),
                    **self._more(model),
                }
                for model in self.models
            ],
            "samples": self.samples,
            "problems": [asdict(problem) for problem in self.problems],
        }

    def _more(self, model: str) -> dict[str, Any]:
        """What is more than a number per metric."""
        sums = self._sums(model)
        return {"error_by_fraction": sums.subpixel.by_fraction()} if isinstance(sums, StereoSums) else {}

    def to_csv(self, path: str | os.PathLike) -> Path:
        """Writes the table, then the rows per sample, as one CSV file.

        The column "aggregate" tells them apart: OVER_SAMPLES, OVER_PIXELS, or "sample". Raises UserError where
        the file cannot be written.
        """
        columns = [
            "model",
            "aggregate",
            "samples",
            "sample",
            "height",
            "width",
            "pixels",
            "seconds",
            *self.measure.metrics,
        ]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.table)
        writer.writerows({"aggregate": "sample", **row} for row in self.samples)
        return write_whole(path, text.getvalue().encode())
