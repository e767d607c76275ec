"""TFLite models in LiteRT, on the CPU (XNNPACK)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leadline.artifacts.manifest import Manifest
from leadline.artifacts.runtimes import Session, need, single_file
from leadline.errors import UserError


def open_session(folder: Path, manifest: Manifest, threads: int | None = None) -> Session:
    """The model of a TFLite artifact; raises UserError where LiteRT is missing or refuses it."""
    litert = need("ai_edge_litert.interpreter", "tflite")
    path = single_file(folder, manifest, ".tflite")
    try:
        interpreter = litert.Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path}: LiteRT does not load it: {error}") from error
    inputs = sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])  # args_0, args_1, ...
    output = interpreter.get_output_details()[0]["index"]

    def run(*images: np.ndarray) -> np.ndarray:
        for detail, image in zip(inputs, images, strict=True):
            interpreter.set_tensor(detail["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return run
