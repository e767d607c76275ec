"""The runtimes by target: each module has `open_session(folder, manifest, threads)`, imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float32

from leadline.artifacts.manifest import Manifest
from leadline.errors import UserError, unknown_name

Image = Float32[np.ndarray, "1 3 h w"]
Session = Callable[..., np.ndarray]  # images (1, 3, h, w) float32 -> prediction (1, c, h, w) float32

RUNTIMES = {
    "onnx": "leadline.artifacts.onnx_runtime",
    "openvino": "leadline.artifacts.openvino_runtime",
    "tensorflow": "leadline.artifacts.tensorflow_runtime",
    "tflite": "leadline.artifacts.litert_runtime",
    "caffe": "leadline.artifacts.caffe_runtime",
    "ncnn": "leadline.artifacts.ncnn_runtime",
}


def open_session(target: str, folder: Path, manifest: Manifest, threads: int | None) -> Session:
    """The model of `folder`, ready to run.

    Raises:
        UserError: an unknown target, a runtime that is not installed, a model that the runtime refuses.
    """
    if target not in RUNTIMES:
        raise unknown_name("target", target, list(RUNTIMES))
    return import_module(RUNTIMES[target]).open_session(folder, manifest, threads)


def need(module: str, extra: str) -> ModuleType:
    """An optional library. Raises UserError with the extra to install where it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{module.split('.')[0]} is not installed: pip install 'leadline[{extra}]'") from error


def single_file(folder: Path, manifest: Manifest, suffix: str) -> Path:
    """The one file of the artifact with this suffix."""
    found = [name for name in manifest.files if name.endswith(suffix)]
    if len(found) != 1:
        raise UserError(f"{folder}: the manifest names {len(found)} {suffix} files, not one: export the model again")
    return folder / found[0]
