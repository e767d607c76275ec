"""Runs predictors over a data set and measures them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from leadline.data import open_data
from leadline.data.datasets.base import FileDataset, check_sample
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.evaluation.alignment import DepthProtocol
from leadline.evaluation.measures import measure_of
from leadline.evaluation.results import Problem, Results, Row
from leadline.models.network import OUTPUT, Task
from leadline.predict import Predictor, frames_between
from leadline.zoo import load

Loadable = Predictor | str | os.PathLike
Predictors = Loadable | Sequence[Loadable] | Mapping[str, Predictor]
Progress = Callable[[int, int], None]


@runtime_checkable
class Samples(Protocol):
    """What can be evaluated on: a data set of `leadline.data`, or a list of Samples. Indexing reads one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def evaluate(
    predictors: Predictors,
    dataset: Samples | str,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    protocol: DepthProtocol | None = None,
) -> Results:
    """Measures predictors of one task on the samples of a data set.

    A sample that cannot be read, has no valid truth, or that a predictor fails on, is listed in `.problems` with the
    reason, and the rest goes on. Each sample is read once and all predictors see it before the next one is read.

    Args:
        predictors: one or several, each a Predictor or what `leadline.load` takes, or Predictors by the label that
            they shall have in the results.
        dataset: what `leadline.open_data` gives or takes ("FORMAT:PATH"), or a list of Samples.
        limit: only the first so many samples.
        progress: called with (samples done, samples in all) after each sample.
        protocol: of monocular depth: alignment, cap and crop; None: none of them.

    Raises:
        UserError: unknown predictor or data set, predictors of several tasks, data of another task, or a protocol for
            another task.
    """
    named = _named(predictors)
    task = _one_task(named)
    measure = measure_of(task, protocol)
    samples = open_data(dataset, task) if isinstance(dataset, str) else dataset
    total = len(samples) if limit is None else min(limit, len(samples))
    results = Results(models=list(named), data=getattr(samples, "name", f"{len(samples)} samples"), task=task)
    results.protocol = None if protocol is None else str(protocol)
    results.problems += [Problem(None, None, line) for line in getattr(samples, "problems", [])]
    for index in range(total):
        try:
            sample = samples[index]
            truth, valid = _truth(sample, task)
            if protocol is not None:
                valid = protocol.counts(truth, valid)
                if not valid.any():
                    raise UserError(f"no pixel of the truth counts ({protocol})")
        except UserError as error:
            results.problems.append(Problem(_sample_name(samples, index), None, str(error)))
        else:
            for name, predictor in named.items():
                try:
                    start = time.perf_counter()
                    predicted = _predict(predictor, sample)
                    seconds = time.perf_counter() - start
                    _check_size(predicted, truth, task)
                except (UserError, RuntimeError, MemoryError) as error:  # out of memory is a RuntimeError in torch
                    results.problems.append(Problem(sample.name, name, str(error) or type(error).__name__))
                    continue
                sums = measure.of_sample(predicted, sample, valid)
                height, width = valid.shape
                row = Row(name, sample.name, height, width, int(valid.sum()), seconds, sums.metrics())
                results.add(row, sums)
        if progress is not None:
            progress(index + 1, total)
    return results


def _named(predictors: Any) -> dict[str, Predictor]:
    """The predictors by a label that each has alone."""
    if isinstance(predictors, Mapping):
        labelled = list(predictors.items())
    else:
        several = predictors if isinstance(predictors, Iterable) and not isinstance(predictors, str) else [predictors]
        labelled = [
            (os.fspath(p), load(p)) if isinstance(p, str | os.PathLike) else (getattr(p, "name", ""), p)
            for p in several
        ]
    named, seen = {}, Counter()
    for label, predictor in labelled:
        if not isinstance(predictor, Predictor):
            raise UserError(
                f"{type(predictor).__name__} is no predictor: give a model's name, a checkpoint's path, or a Predictor "
                "(of a network: leadline.predict.NetworkPredictor(network))"
            )
        seen[label] += 1
        named[label if seen[label] == 1 else f"{label} ({seen[label]})"] = predictor
    return named


def _one_task(named: dict[str, Predictor]) -> Task:
    tasks = {predictor.task for predictor in named.values()}
    if len(tasks) > 1:
        told = ", ".join(f"{label} ({predictor.task.value})" for label, predictor in named.items())
        raise UserError(f"models of several tasks cannot be compared: {told}: evaluate one task at a time")
    if not tasks:
        raise UserError("no predictor to evaluate: name at least one")
    return tasks.pop()


def _truth(sample: Sample, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The sample's truth and where it is valid; UserError where there is nothing to measure against."""
    truth = sample.truth(task)
    if truth is None:
        raise UserError(f"no true {OUTPUT[task][0]}")
    check_sample(sample)
    known = np.isfinite(truth) if truth.ndim == 2 else np.isfinite(truth).all(2)
    valid = np.asarray(known) if sample.valid is None else known & sample.valid
    if not valid.any():
        raise UserError(f"no valid pixel in the true {OUTPUT[task][0]}")
    return truth, valid


def _check_size(predicted: np.ndarray, truth: np.ndarray, task: Task) -> None:
    if predicted.shape != truth.shape:
        raise UserError(f"predicted {predicted.shape} where the true {OUTPUT[task][0]} is {truth.shape}")


def _predict(predictor: Predictor, sample: Sample) -> np.ndarray:
    if predictor.task is Task.INTERPOLATION:
        return frames_between(predictor, *sample.images, times=[sample.time])[0]
    return predictor.predict(*sample.images)


def _sample_name(samples: Samples, index: int) -> str:
    """The name of a sample, without reading it where that is possible, as it may be unreadable."""
    if isinstance(samples, FileDataset):
        return samples.item(index).name
    if isinstance(samples, list):
        return samples[index].name
    return f"sample {index}"
