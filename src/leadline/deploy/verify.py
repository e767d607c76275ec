"""Is the exported model the network? Both see the same images, and what they say is compared in pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch

from leadline.artifacts.artifact import Artifact
from leadline.artifacts.manifest import FAILED, VERIFIED, Manifest
from leadline.data import open_data
from leadline.data.sample import Sample
from leadline.deploy.quantized import is_quantized
from leadline.errors import UserError
from leadline.evaluation.measures import Measure, measure_of
from leadline.evaluation.results import Metrics
from leadline.evaluation.runner import Samples
from leadline.machine import describe_machine, one_line, rest
from leadline.models.network import OUTPUT, Network, Task
from leadline.predict.predictor import TIME
from leadline.predict.tiled import as_prediction, to_model_image

LARGEST = (544, 1280)  # (h, w), px: a model of free size is proven on windows of at most this
ROUNDS = 5  # timed runs of each


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from its network; None: not limited. Differences are over the pixels of all pairs."""

    mean: float  # of the absolute difference, in the task's unit
    p999: float | None = None  # its 99.9th percentile
    worse: tuple[float, float] | None = (
        None  # by how much the task's two headline metrics may get worse, in their units
    )


# A pixel between two surfaces may fall to either side by rounding alone, which is why no limit is on the maximum. Where
# a network decides pixel by pixel (registration), more than one in a thousand may: their mean and the metrics count.
_OF_DISPLACEMENT = {  # px; EPE in px, D1 or Fl in points
    "float32": Tolerance(mean=1e-3, p999=0.02, worse=(2e-3, 0.02)),
    "float16": Tolerance(mean=0.05, worse=(0.02, 0.2)),
    "bfloat16": Tolerance(mean=0.3, worse=(0.05, 0.5)),
    "int8": Tolerance(mean=0.5, worse=(0.1, 1.0)),
}
_OF_FRAMES = {  # of white; PSNR in dB, SSIM
    "float32": Tolerance(mean=1e-4, p999=2e-3, worse=(0.01, 1e-4)),
    "float16": Tolerance(mean=2e-3, worse=(0.1, 1e-3)),
    "bfloat16": Tolerance(mean=5e-3, worse=(0.25, 2.5e-3)),
    "int8": Tolerance(mean=0.01, worse=(0.5, 5e-3)),
}
_OF_DEPTH = {  # m; AbsRel, and δ < 1.25 in points
    "float32": Tolerance(mean=1e-3, p999=0.02, worse=(2e-4, 0.02)),
    "float16": Tolerance(mean=0.03, worse=(3e-3, 0.3)),
    "bfloat16": Tolerance(mean=0.15, worse=(0.015, 1.5)),
    "int8": Tolerance(mean=0.3, worse=(0.03, 3.0)),
}
TOLERANCES = {
    Task.STEREO: _OF_DISPLACEMENT,
    Task.FLOW: _OF_DISPLACEMENT,
    Task.INTERPOLATION: _OF_FRAMES,
    Task.MONO: _OF_DEPTH,
}
# Of a network that was quantised already: a sum that lies between two codes may go to either.
QUANTIZED = Tolerance(mean=0.1, worse=(0.05, 0.5))


def verify(
    artifact: Artifact,
    network: Network,
    data: Samples | str,
    *,
    tolerance: Tolerance | None = None,
    limit: int | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Runs artifact and network on the same pairs, and says how they differ and how long they take.

    Args:
        artifact: its model is loaded from disk into its real runtime.
        network: what it was made of.
        data: pairs, or FORMAT:PATH. Images larger than the model are cut to their upper left window, smaller ones
            padded; both sides see the same.
        tolerance: None: that of the artifact's precision.
        limit: only the first so many pairs.
        threads: of the runtime and of PyTorch.

    Returns:
        the record that belongs into the manifest; its "status" is "verified" or "failed", then with a "reason".

    Raises:
        UserError: no pairs, or an artifact that cannot be loaded.
    """
    usual = _tolerance(artifact.manifest, network)
    if network.decides:
        usual = replace(usual, p999=None)
    tolerance = tolerance or usual
    samples = open_data(data, network.task) if isinstance(data, str) else data
    count = len(samples) if limit is None else min(limit, len(samples))
    if count == 0:
        raise UserError(f"{data}: no pairs to verify on")
    session = artifact.predictor(threads).session
    reference = _reference(network)
    measure = measure_of(network.task)
    differences, ours, theirs = [], measure.empty(), measure.empty()
    images: tuple[np.ndarray, ...] = ()
    for index in range(count):
        sample = samples[index]
        images, (height, width) = _window(sample, artifact)
        expected = reference(*images)[0, :, :height, :width]
        found = session(*images)[0, :, :height, :width]
        if found.shape != expected.shape:
            return _failed(f"the model gives {found.shape}, the network {expected.shape}")
        differences.append(np.abs(found.astype(np.float64) - expected).ravel())
        seen = _cut(sample, (height, width))
        if seen.truth(network.task) is not None:
            valid = np.ones((height, width), bool) if seen.valid is None else seen.valid
            ours += measure.of_sample(_as_predicted(found, seen, network.task), seen, valid)
            theirs += measure.of_sample(_as_predicted(expected, seen, network.task), seen, valid)
    seconds = _time(session, reference, images, threads)
    size = "x".join(str(side) for image in images[:1] for side in image.shape[2:])
    record = {
        "status": VERIFIED,
        "data": getattr(samples, "name", data if isinstance(data, str) else f"{count} samples"),
        "pairs": count,
        **_difference(np.concatenate(differences), OUTPUT[network.task][1]),
        **_accuracy(ours.metrics(), theirs.metrics(), measure),
        "tolerance": {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(tolerance).items()
        },
        "milliseconds": round(seconds[0] * 1000, 2),
        "pytorch_milliseconds": round(seconds[1] * 1000, 2),
        "speed_up": round(seconds[1] / seconds[0], 2),
        "timed_on": f"{size}, {threads or 'default'} threads, {one_line(describe_machine())}",
    }
    reasons = _beyond(record, tolerance, measure)
    return {**record, "status": FAILED, "reason": "; ".join(reasons)} if reasons else record


def _tolerance(manifest: Manifest, network: Network) -> Tolerance:
    by_precision = TOLERANCES[network.task]
    if manifest.floats == "bfloat16":  # integers or not
        return by_precision["bfloat16"]
    return QUANTIZED if is_quantized(network) else by_precision[manifest.precision]


def _window(sample: Sample, artifact: Artifact) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
    """The sample's images as the model takes them, and the (h, w) of what is not padding."""
    limit = artifact.manifest.size or LARGEST
    height, width = (min(have, most) for have, most in zip(sample.size, limit, strict=True))
    padded = artifact.manifest.padded_size(height, width)
    images = [to_model_image(image[:height, :width], padded) for image in sample.images]
    if TIME in artifact.manifest.inputs:
        images.append(np.full((1, 1, 1, 1), sample.time, np.float32))
    return tuple(images), (height, width)


def _reference(network: Network) -> Callable[..., np.ndarray]:
    network = network.cpu().eval()

    @torch.inference_mode()
    def run(*images: np.ndarray) -> np.ndarray:
        return network(*(torch.from_numpy(image) for image in images)).numpy()

    return run


def _difference(difference: np.ndarray, unit: str) -> dict[str, Any]:
    if not np.isfinite(difference).all():
        return {"unit": unit, "mean_difference": None, "p999_difference": None, "max_difference": None}
    return {
        "unit": unit,
        "mean_difference": float(difference.mean()),
        "p999_difference": float(np.quantile(difference, 0.999)),
        "max_difference": float(difference.max()),
    }


def _as_predicted(output: np.ndarray, sample: Sample, task: Task) -> np.ndarray:
    return as_prediction(np.ascontiguousarray(output.transpose(1, 2, 0)), task, sample.images[0].dtype)


def _cut(sample: Sample, size: tuple[int, int]) -> Sample:
    """The upper left window of a sample."""
    maps = ("disparity", "flow", "frame", "depth", "valid", "occluded", "foreground")
    cut = {name: value[: size[0], : size[1]] for name in maps if (value := getattr(sample, name)) is not None}
    return replace(sample, images=tuple(image[: size[0], : size[1]] for image in sample.images), **cut)


def _accuracy(found: Metrics, expected: Metrics, measure: Measure) -> dict[str, Any]:
    """The headline metrics of the artifact and by how much worse they are; nothing where there is no truth."""
    values = {key: (found[key], expected[key]) for key in measure.headline}
    if any(ours is None or theirs is None for ours, theirs in values.values()):
        return {}
    return {
        "accuracy": {measure.column(key): ours for key, (ours, _) in values.items()},
        "worse_by": {measure.column(key): measure.loss(key, *pair) for key, pair in values.items()},
    }


def _beyond(record: dict[str, Any], tolerance: Tolerance, measure: Measure) -> list[str]:
    """What exceeds the tolerance, in words."""
    if record["mean_difference"] is None:
        return ["the model gives values that are not finite"]
    unit = record["unit"]
    checks = [
        ("mean difference", record["mean_difference"], tolerance.mean, unit),
        ("99.9 % of the differences", record["p999_difference"], tolerance.p999, unit),
    ]
    if tolerance.worse is not None:
        for key, limit in zip(measure.headline, tolerance.worse, strict=True):
            metric, worse = measure.metrics[key], record.get("worse_by", {}).get(measure.column(key))
            checks.append(
                (f"{metric.label} is worse by", worse, limit, "points" if metric.unit == "%" else metric.unit)
            )
    return [
        f"{what} {value:.4g} {unit}, at most {limit:g} is allowed"
        for what, value, limit, unit in checks
        if limit is not None and value is not None and value > limit
    ]


def _time(
    session: Callable[..., np.ndarray],
    reference: Callable[..., np.ndarray],
    images: tuple[np.ndarray, ...],
    threads: int | None,
) -> tuple[float, float]:
    """Median seconds of the model and of PyTorch, taking turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        seconds = ([], [])
        for _ in range(ROUNDS):
            for run, found in zip((session, reference), seconds, strict=True):
                rest()
                start = time.perf_counter()
                run(*images)
                found.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return median(seconds[0]), median(seconds[1])


def _failed(reason: str) -> dict[str, Any]:
    return {"status": FAILED, "reason": reason}
