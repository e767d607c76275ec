"""TFLite models in LiteRT, on the CPU (XNNPACK)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from leadline.artifacts.manifest import Manifest
from leadline.artifacts.runtimes import Session, check_inputs, need, single_file
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
    check_inputs(
        path, manifest, dict(zip(manifest.inputs, (detail["shape"].tolist() for detail in inputs), strict=False))
    )
    output = interpreter.get_output_details()[0]["index"]

    def run(*images: np.ndarray) -> np.ndarray:
        for detail, image in zip(inputs, images, strict=True):
            interpreter.set_tensor(detail["index"], _as_taken(image, detail))
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return run


def _as_taken(image: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """The image as float32, or as the codes of a model that is quantised from its first tensor on."""
    if detail["dtype"] == np.float32:
        return image
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.rint(image / np.float32(scale)) + zero_point, limits.min, limits.max).astype(detail["dtype"])
