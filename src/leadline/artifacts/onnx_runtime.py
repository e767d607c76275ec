"""ONNX models in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leadline.artifacts.manifest import Manifest
from leadline.artifacts.runtimes import Session, check_inputs, need, single_file
from leadline.errors import UserError


def open_session(folder: Path, manifest: Manifest, threads: int | None = None) -> Session:
    """The model of an ONNX artifact; raises UserError where ONNX Runtime is missing or refuses it."""
    onnxruntime = need("onnxruntime", "onnx")
    path = single_file(folder, manifest, ".onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise UserError(f"{path}: ONNX Runtime {onnxruntime.__version__} does not load it: {error}") from error
    check_inputs(path, manifest, {node.name: node.shape for node in session.get_inputs()})

    def run(*images: np.ndarray) -> np.ndarray:
        return session.run(None, dict(zip(manifest.inputs, images, strict=True)))[0]

    return run
