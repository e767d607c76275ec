"""SavedModels in TensorFlow, on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from leadline.artifacts.manifest import OUTPUT, Manifest
from leadline.artifacts.runtimes import Session, check_inputs, need
from leadline.errors import UserError

FOLDER = "saved_model"


def open_session(folder: Path, manifest: Manifest, threads: int | None = None) -> Session:
    """The model of a TensorFlow artifact; raises UserError where TensorFlow is missing or refuses it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; read when TensorFlow is first imported
    tf = need("tensorflow", "tensorflow")
    if threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            pass  # TensorFlow runs already in this process, and keeps the threads that it has
    try:
        loaded = tf.saved_model.load(str(folder / FOLDER))
        function = loaded.signatures["serving_default"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / FOLDER}: TensorFlow {tf.__version__} does not load it: {error}") from error
    _, specs = function.structured_input_signature
    check_inputs(folder / FOLDER, manifest, {name: spec.shape.as_list() for name, spec in specs.items()})
    output = OUTPUT[manifest.task][0]

    def run(*images: np.ndarray) -> np.ndarray:
        feed = {name: tf.constant(image) for name, image in zip(manifest.inputs, images, strict=True)}
        return function(**feed)[output].numpy()

    run.loaded = loaded  # its variables live as long as the function  # type: ignore[attr-defined]
    return run
