"""Caffe models on the CPU, run by OpenCV: Caffe itself is no longer maintained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leadline.artifacts.manifest import OUTPUT, Manifest
from leadline.artifacts.runtimes import Session, need, single_file
from leadline.errors import UserError


def open_session(folder: Path, manifest: Manifest, threads: int | None = None) -> Session:
    """The model of a Caffe artifact; raises UserError where OpenCV cannot read Caffe, or refuses the model."""
    cv2 = need("cv2", "caffe")
    structure, weights = (single_file(folder, manifest, suffix) for suffix in (".prototxt", ".caffemodel"))
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise UserError(
            f"OpenCV {cv2.__version__} no longer reads Caffe models: pip install 'opencv-python-headless<5'"
        )
    try:
        net = cv2.dnn.readNetFromCaffe(str(structure), str(weights))
    except cv2.error as error:
        raise UserError(f"{structure}: OpenCV {cv2.__version__} does not load it: {error.err or error}") from error
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    output = OUTPUT[manifest.task][0]

    def run(*images: np.ndarray) -> np.ndarray:
        before = cv2.getNumThreads()  # one number for all of OpenCV
        cv2.setNumThreads(threads or before)
        try:
            for name, image in zip(manifest.inputs, images, strict=True):
                net.setInput(image, name)
            return np.array(net.forward(output))
        finally:
            cv2.setNumThreads(before)

    return run
