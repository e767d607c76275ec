"""Is the exported model the network? Both see the same images, and what they say is compared in pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from leadline.artifacts.artifact import Artifact
from leadline.artifacts.manifest import FAILED, OUTPUT, VERIFIED
from leadline.data import open_data
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.evaluation.metrics import StereoSums
from leadline.evaluation.runner import Samples
from leadline.machine import describe_machine, one_line
from leadline.models.network import Network, Task
from leadline.predict.tiled import to_model_image

LARGEST = (544, 1280)  # (h, w), px: a model of free size is proven on windows of at most this
ROUNDS = 5  # timed runs of each


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from its network; None: not limited. Differences are over the pixels of all pairs."""

    mean: float  # of the absolute difference, in the task's unit
    p999: float | None = None  # its 99.9th percentile
    epe: float | None = None  # px, by which the EPE may rise
    d1: float | None = None  # percentage points, by which D1 may rise


# A pixel between two surfaces may fall to either side by rounding alone, which is why no limit is on the maximum.
TOLERANCES = {
    "float32": Tolerance(mean=1e-3, p999=0.02, epe=2e-3, d1=0.02),
    "float16": Tolerance(mean=0.05, epe=0.02, d1=0.2),
    "int8": Tolerance(mean=0.5, epe=0.1, d1=1.0),
}


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
    tolerance = tolerance or TOLERANCES[artifact.manifest.precision]
    samples = open_data(data) if isinstance(data, str) else data
    count = len(samples) if limit is None else min(limit, len(samples))
    if count == 0:
        raise UserError(f"{data}: no pairs to verify on")
    session = artifact.predictor(threads).session
    reference = _reference(network)
    differences, ours, theirs = [], StereoSums(), StereoSums()
    images: tuple[np.ndarray, ...] = ()
    for index in range(count):
        sample = samples[index]
        images, (height, width) = _window(sample, artifact)
        expected = reference(*images)[0, :, :height, :width]
        found = session(*images)[0, :, :height, :width]
        if found.shape != expected.shape:
            return _failed(f"the model gives {found.shape}, the network {expected.shape}")
        differences.append(np.abs(found.astype(np.float64) - expected).ravel())
        if network.task is Task.STEREO and sample.disparity is not None and sample.valid is not None:
            truth, valid = sample.disparity[:height, :width], sample.valid[:height, :width]
            ours += StereoSums.of(found[0], truth, valid)
            theirs += StereoSums.of(expected[0], truth, valid)
    seconds = _time(session, reference, images, threads)
    size = "x".join(str(side) for image in images[:1] for side in image.shape[2:])
    record = {
        "status": VERIFIED,
        "data": getattr(samples, "name", data if isinstance(data, str) else f"{count} samples"),
        "pairs": count,
        **_difference(np.concatenate(differences), OUTPUT[network.task][1]),
        **_accuracy(ours, theirs),
        "tolerance": asdict(tolerance),
        "milliseconds": round(seconds[0] * 1000, 2),
        "pytorch_milliseconds": round(seconds[1] * 1000, 2),
        "speed_up": round(seconds[1] / seconds[0], 2),
        "timed_on": f"{size}, {threads or 'default'} threads, {one_line(describe_machine())}",
    }
    reasons = _beyond(record, tolerance)
    return {**record, "status": FAILED, "reason": "; ".join(reasons)} if reasons else record


def _window(sample: Sample, artifact: Artifact) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
    """The sample's images as the model takes them, and the (h, w) of what is not padding."""
    limit = artifact.manifest.size or LARGEST
    height, width = (min(have, most) for have, most in zip(sample.size, limit, strict=True))
    padded = artifact.manifest.padded_size(height, width)
    return tuple(to_model_image(image[:height, :width], padded) for image in sample.images), (height, width)


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


def _accuracy(ours: StereoSums, theirs: StereoSums) -> dict[str, Any]:
    """EPE and D1 of both, and by how much they rose; nothing where there is no truth."""
    found, expected = ours.metrics(), theirs.metrics()
    if found["epe"] is None or expected["epe"] is None or found["d1"] is None or expected["d1"] is None:
        return {}
    return {
        "epe_px": found["epe"],
        "epe_change_px": found["epe"] - expected["epe"],
        "d1_percent": found["d1"],
        "d1_change_points": found["d1"] - expected["d1"],
    }


def _beyond(record: dict[str, Any], tolerance: Tolerance) -> list[str]:
    """What exceeds the tolerance, in words."""
    if record["mean_difference"] is None:
        return ["the model gives values that are not finite"]
    unit = record["unit"]
    checks = (
        ("mean difference", record["mean_difference"], tolerance.mean, unit),
        ("99.9 % of the differences", record["p999_difference"], tolerance.p999, unit),
        ("EPE rose by", record.get("epe_change_px"), tolerance.epe, "px"),
        ("D1 rose by", record.get("d1_change_points"), tolerance.d1, "points"),
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
                start = time.perf_counter()
                run(*images)
                found.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return median(seconds[0]), median(seconds[1])


def _failed(reason: str) -> dict[str, Any]:
    return {"status": FAILED, "reason": reason}
