"""The runtimes by target: each module has `open_session(folder, manifest, threads)`, imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32

from leadline.artifacts.manifest import Manifest
from leadline.errors import UserError, unknown_name
from leadline.predict.predictor import TIME

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


class NotInstalled(UserError):
    """An extra is missing."""


def need(module: str, extra: str) -> ModuleType:
    """An optional library. Raises NotInstalled with the extra to install where it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise NotInstalled(f"{module.split('.')[0]} is not installed: pip install 'leadline[{extra}]'") from error


def check_inputs(path: Path, manifest: Manifest, found: Mapping[str, Sequence[Any]]) -> None:
    """Raises UserError where the model of `path` has other inputs than its manifest says.

    Args:
        found: shape by name, as the runtime tells; what is not a number is free.
    """
    for name in manifest.inputs:
        if name not in found:
            told, expected = ", ".join(found), ", ".join(manifest.inputs)
            raise UserError(f"{path}: takes {told}, but its manifest names {expected}: export the model again")
        if name == TIME:  # one number, whatever the images' size
            continue
        sides = tuple(side for side in found[name][2:] if isinstance(side, int | np.integer) and side > 0)
        if sides != (manifest.size or ()):
            told, expected = ("x".join(map(str, size)) or "any size" for size in (sides, manifest.size or ()))
            raise UserError(f"{path}: takes images of {told}, but its manifest says {expected}: export the model again")


def single_file(folder: Path, manifest: Manifest, suffix: str) -> Path:
    """The one file of the artifact with this suffix."""
    found = [name for name in manifest.files if name.endswith(suffix)]
    if len(found) != 1:
        raise UserError(f"{folder}: the manifest names {len(found)} {suffix} files, not one: export the model again")
    return folder / found[0]
