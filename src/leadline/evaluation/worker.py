"""A process with one model in it, which the benchmark asks in turns."""

from __future__ import annotations

import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from leadline.errors import UserError
from leadline.machine import pin_threads
from leadline.predict.predictor import VIEWS

ANSWER_WITHIN = 1800  # seconds for one answer


class Worker:
    """A process with one model in it, asked through a pipe."""

    def __init__(self, name: str, threads: int, size: tuple[int, int], device: str | None, is_untrained: bool):
        self.name = name
        context = multiprocessing.get_context("spawn")  # a fork would inherit runtimes' threads
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=_serve,
            args=(other, name.removesuffix(" (untrained)"), threads, size, device, is_untrained),
            daemon=True,
        )
        self.process.start()
        other.close()
        self.about: dict[str, Any] = self._answer()

    def ask(self, what: str, *arguments: Any) -> Any:
        self.pipe.send((what, *arguments))
        return self._answer()

    def _answer(self) -> Any:
        """The worker's answer; its UserError as one of ours."""
        if not self.pipe.poll(ANSWER_WITHIN):
            raise UserError(f"{self.name}: no answer within {ANSWER_WITHIN} s")
        try:
            kind, value = self.pipe.recv()
        except EOFError as error:
            raise UserError(f"{self.name}: its process ended without an answer (out of memory?)") from error
        if kind == "error":
            raise UserError(value)
        return value

    def stop(self) -> None:
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def _serve(
    pipe: Connection, name: str, threads: int, size: tuple[int, int], device: str | None, is_untrained: bool
) -> None:
    """The worker's process: loads the model, then answers until the pipe is closed."""
    try:
        pin_threads(threads)
        pair = texture_pair(*size)
        idle = _peak_mb()
        predictor = _load(name, threads, device, is_untrained)
        images = pair[: len(VIEWS[predictor.task])]
        pipe.send(("ok", {"task": predictor.task.value, **_describe(predictor, name, size)}))
        while True:
            what, *arguments = pipe.recv()
            if what == "time":
                start = time.perf_counter()
                predictor.predict(*images)  # an array comes back, so a GPU has finished by then
                pipe.send(("ok", time.perf_counter() - start))
            elif what == "memory":
                pipe.send(("ok", round(_peak_mb() - idle, 1)))
            else:
                pipe.send(("ok", _accuracy(predictor, *arguments)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except UserError as error:
        pipe.send(("error", str(error)))
    except Exception as error:
        pipe.send(("error", f"{name}: {type(error).__name__}: {error}"))


def _load(name: str, threads: int, device: str | None, is_untrained: bool) -> Any:
    from leadline.models import create
    from leadline.predict import NetworkPredictor
    from leadline.zoo import load

    return NetworkPredictor(create(name), device) if is_untrained else load(name, device, threads=threads)


def _describe(predictor: Any, name: str, size: tuple[int, int]) -> dict[str, Any]:
    from leadline.artifacts import ArtifactPredictor
    from leadline.predict import NetworkPredictor
    from leadline.zoo import find_checkpoint

    if isinstance(predictor, ArtifactPredictor):
        manifest = predictor.manifest
        return {
            "parameters": manifest.network["parameters"], "gmac": None, "file_mb": round(manifest.bytes / 1e6, 3),
        }  # fmt: skip
    if not isinstance(predictor, NetworkPredictor):
        return {"parameters": None, "gmac": None, "file_mb": None}
    try:
        file_mb = round(find_checkpoint(name).stat().st_size / 1e6, 3)
    except (UserError, OSError):  # made on the spot
        file_mb = None
    parameters = sum(parameter.numel() for parameter in predictor.network.parameters())
    return {"parameters": parameters, "gmac": _gmac(predictor, size), "file_mb": file_mb}


def _gmac(predictor: Any, size: tuple[int, int]) -> float:
    import torch

    from leadline.models.counting import countable, counted
    from leadline.surgeries import with_plain_weights

    network = countable(with_plain_weights(predictor.network))  # the counter cannot look into parametrisations
    image = torch.zeros(1, 3, *predictor.network.padded_size(*size), device=predictor.device)
    with counted() as counter:
        network(*[image] * len(VIEWS[predictor.task]))  # a time is at its default
    return round(counter.get_total_flops() / 2 / 1e9, 3)


def _accuracy(predictor: Any, data: str, limit: int | None) -> dict[str, Any]:
    """The task's headline metrics, each the mean over the samples."""
    from leadline.evaluation.measures import measure_of
    from leadline.evaluation.runner import evaluate

    results = evaluate({predictor.name: predictor}, data, limit=limit)
    mean, measure = results.over_samples(predictor.name), measure_of(predictor.task)
    return {
        "accuracy": {measure.column(key): mean[key] for key in measure.headline},
        "samples": len(results.rows),
        "problems": [str(problem) for problem in results.problems],
    }


def _peak_mb() -> float:
    """The largest memory that this process has had, in 1e6 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent had when it started this process
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts in bytes


def texture_pair(height: int, width: int, disparity: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A pair with texture everywhere and one disparity, so that classical matchers have their usual work to do."""
    import cv2

    noise = np.random.default_rng(0).uniform(0, 255, (height, width + disparity, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    low, high = smooth.min(), smooth.max()
    image = ((smooth - low) * (255 / (high - low))).astype(np.uint8)
    return np.ascontiguousarray(image[:, :width]), np.ascontiguousarray(image[:, disparity:])
