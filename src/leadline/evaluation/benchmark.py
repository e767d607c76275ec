"""Accuracy against latency: models side by side, each in a process of its own, taking turns."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from leadline.errors import UserError
from leadline.evaluation.measures import measure_of
from leadline.evaluation.worker import Worker
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line, rest
from leadline.models.network import Task


@dataclass
class Measured:
    """One model. Times are of `predict` on one pair of uint8 images, conversion and padding included."""

    model: str
    parameters: int | None
    gmac: float | None  # multiply-accumulates of convolutions and matrix products, 1e9; of PyTorch networks alone
    file_mb: float | None  # what has to be shipped
    peak_mb: float  # memory that the process needed beyond what it had before the model was loaded
    median_ms: float
    quartile1_ms: float
    quartile3_ms: float
    rounds: int
    threads: int
    size: str  # HxW of the timed pair
    accuracy: dict[str, float | None] = field(default_factory=dict)  # the task's two headline metrics, by column
    samples: int | None = None
    data: str | None = None

    def flat(self) -> dict[str, Any]:
        """One level of JSON-able values; the accuracy stands before the number of its samples."""
        row = asdict(self)
        accuracy, samples, data = row.pop("accuracy"), row.pop("samples"), row.pop("data")
        return row | accuracy | {"samples": samples, "data": data}


@dataclass
class Benchmark:
    """What `benchmark` returns."""

    rows: list[Measured]
    machine: dict[str, str | int]
    problems: list[str] = field(default_factory=list)
    task: Task = Task.STEREO

    def to_dict(self) -> dict[str, Any]:
        return {"models": [row.flat() for row in self.rows], "machine": self.machine, "problems": self.problems}

    def to_csv(self, path: str | os.PathLike) -> Path:
        """One line per model, with the machine. Raises UserError where it cannot be written."""
        rows = [row.flat() | self.machine for row in self.rows]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(max(rows, key=len)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return write_whole(path, text.getvalue().encode())

    def draw(self, path: str | os.PathLike) -> Path:
        """The two headline metrics against latency. Raises UserError where no model has an accuracy."""
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

        measure = measure_of(self.task)
        known = [row for row in self.rows if any(value is not None for value in row.accuracy.values())]
        if not known:
            raise UserError("no model has an accuracy to draw: give data with ground truth")
        figure = Figure(figsize=(12, max(4.8, 1 + 0.2 * len(known))), layout="constrained")  # room for all names
        panels = figure.subplots(1, 2)
        marks = [f"C{i % 10}" for i in range(len(known))], [Line2D.filled_markers[i % 13] for i in range(len(known))]
        for panel, key in zip(panels, measure.headline, strict=True):
            label, unit = measure.metrics[key]
            for row, colour, marker in zip(known, *marks, strict=True):
                spread = [[row.median_ms - row.quartile1_ms], [row.quartile3_ms - row.median_ms]]
                panel.errorbar(
                    row.median_ms,
                    row.accuracy[measure.column(key)] or math.nan,
                    xerr=spread,
                    fmt=marker,
                    color=colour,
                    capsize=3,
                    label=row.model,
                )
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter(ScalarFormatter())
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set(
                xlabel=f"latency [ms], {known[0].size}, {known[0].threads} thread(s)",
                ylabel=f"{label} [{unit}]" if unit else label,
            )
            panel.margins(x=0.1)
            if key not in measure.higher_is_better:
                panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
        panels[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
        best = "upper" if measure.headline[0] in measure.higher_is_better else "lower"
        figure.suptitle(f"Accuracy (mean of samples) against latency (median, quartiles); {best} left is better")
        figure.supxlabel(one_line(self.machine), fontsize=7)
        image = io.BytesIO()
        figure.savefig(image, dpi=120, format="png")
        return write_whole(path, image.getvalue())


def benchmark(
    models: Sequence[str],
    data: str | None = None,
    *,
    size: tuple[int, int] = (384, 1248),
    threads: int = 1,
    rounds: int = 15,
    warmup: int = 2,
    limit: int | None = None,
    device: str | None = "cpu",
    untrained: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> Benchmark:
    """Times the models in turns (A B C A B C …) and measures their accuracy on the same pairs.

    Every model lives in a process of its own, so that runtimes do not share threads or memory; only one works at a
    time. The fastest way to a wrong number is another program on the machine: its load stands in the result.

    Args:
        models: what `leadline.load` takes: zoo names, checkpoints, artifacts, classical algorithms.
        data: FORMAT:PATH with ground truth; None: latency alone.
        size: (h, w) px of the timed pair, which has texture everywhere.
        threads: of the runtimes, PyTorch and OpenCV.
        rounds: timed predictions per model, after `warmup` others.
        limit: only the first so many samples of the data.
        device: for networks.
        untrained: names of networks to be timed without weights; they have no accuracy.
        progress: called with a line of text now and then.

    Raises:
        UserError: no models, an unknown one, or one that fails on the timed pair.
    """
    named = [*models, *(f"{name} (untrained)" for name in untrained)]
    if not named:
        raise UserError("no model to benchmark: name at least one")
    if len(set(named)) < len(named):
        raise UserError("a model is named twice: name each once")
    tell = progress or (lambda line: None)
    machine = describe_machine()
    workers = []
    try:
        for name in named:
            tell(f"loading {name}")
            workers.append(Worker(name, threads, size, device, name not in models))
        task = _one_task(workers)
        seconds: list[list[float]] = [[] for _ in workers]
        for turn in range(warmup + rounds):
            tell(f"timing, round {turn + 1} of {warmup + rounds}")
            for worker, kept in zip(workers, seconds, strict=True):
                rest()
                taken = worker.ask("time")
                if turn >= warmup:
                    kept.append(taken)
        rows, problems = [], []
        for worker, kept in zip(workers, seconds, strict=True):
            tell(f"measuring {worker.name}")
            low, middle, high = _quartiles_ms(kept)
            row = Measured(
                model=worker.name,
                **worker.about,
                peak_mb=worker.ask("memory"),
                median_ms=middle,
                quartile1_ms=low,
                quartile3_ms=high,
                rounds=rounds,
                threads=threads,
                size=f"{size[0]}x{size[1]}",
            )
            if data is not None and worker.name in models:
                found = worker.ask("accuracy", data, limit)
                problems += [line for line in found.pop("problems") if line not in problems]
                row.accuracy, row.samples = found["accuracy"], found["samples"]
                row.data = _short(data)
            rows.append(row)
            worker.stop()  # large samples have made it large
        return Benchmark(rows, machine, problems, task)
    finally:
        for worker in workers:
            worker.stop()


def _one_task(workers: list[Worker]) -> Task:
    tasks = {worker.name: Task(worker.about.pop("task")) for worker in workers}
    if len(set(tasks.values())) > 1:
        told = ", ".join(f"{name} ({task.value})" for name, task in tasks.items())
        raise UserError(f"models of several tasks cannot be compared: {told}: benchmark one task at a time")
    return next(iter(tasks.values()))


def _quartiles_ms(seconds: list[float]) -> list[float]:
    points = quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return [round(point * 1000, 2) for point in points]


def _short(data: str) -> str:
    """The format and the folder's name, without the way to it on this machine."""
    kind, _, path = data.partition(":")
    return f"{kind}:{Path(path).name}"
