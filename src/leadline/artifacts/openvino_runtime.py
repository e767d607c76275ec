"""OpenVINO models on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from leadline.artifacts.manifest import Manifest
from leadline.artifacts.runtimes import Session, check_inputs, need, single_file
from leadline.errors import UserError


def open_session(folder: Path, manifest: Manifest, threads: int | None = None) -> Session:
    """The model of an OpenVINO artifact; raises UserError where OpenVINO is missing or refuses it."""
    openvino = need("openvino", "openvino")
    path = single_file(folder, manifest, ".xml")
    core = openvino.Core()
    # float32 stays float32: by itself the CPU plugin computes in bfloat16 where the CPU can, or imitates it.
    narrow = manifest.floats == "bfloat16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    config = {"INFERENCE_PRECISION_HINT": "bf16" if narrow else "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = str(threads)
    try:
        model = core.compile_model(str(path), "CPU", config)
    except RuntimeError as error:
        raise UserError(f"{path}: OpenVINO {openvino.__version__} does not load it: {error}") from error
    shapes = {node.get_any_name(): list(node.get_partial_shape()) for node in model.inputs}
    check_inputs(path, manifest, {name: _sides(shape) for name, shape in shapes.items()})

    def run(*images: np.ndarray) -> np.ndarray:
        return model(dict(zip(manifest.inputs, images, strict=True)))[0]

    return run


def _sides(shape: list[Any]) -> list[int | None]:
    return [None if side.is_dynamic else side.get_length() for side in shape]
