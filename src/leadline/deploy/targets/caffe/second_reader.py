"""A second reader of the Caffe model, written by others than the first: MNN, whose converter reads Caffe.

One reader may make up for a mistake in a file, or share it; two that know nothing of each other hardly do. MNN (3.6)
breaks down on some Scales and on Silence, so what it sees is a twin of the model with 1x1 convolutions for the one and
without the other. All other layers and all weights are those of the model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from leadline.deploy.targets.caffe.layers import CAFFEMODEL, PROTOTXT, Layer, write_files
from leadline.errors import UserError


def has_second_reader() -> bool:
    return find_spec("MNN") is not None


def read_again(layers: list[Layer], images: Sequence[np.ndarray], output: str) -> np.ndarray:
    """What MNN computes for these images, given the layers of a model as they were written.

    Raises:
        UserError: MNN does not read it, or breaks down. It runs in a process of its own, which it can take along.
    """
    inputs = [layer.name for layer in layers if layer.type == "Input"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_files(twin(layers), "twin", folder)
        named: dict[str, Any] = dict(zip(inputs, images, strict=True))
        np.savez(folder / "images.npz", **named)
        child = Path(__file__).with_name("mnn_process.py")
        names = (PROTOTXT, CAFFEMODEL, "images.npz", output, "found.npy")
        done = subprocess.run([sys.executable, str(child), *names], cwd=folder, capture_output=True, text=True)
        if done.returncode or not (folder / "found.npy").is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise UserError(f"MNN does not read the Caffe model (exit code {done.returncode}): {last}")
        return np.load(folder / "found.npy")


def twin(layers: list[Layer]) -> list[Layer]:
    """The same network without Scale and Silence."""
    return [_without_scale(layer) for layer in layers if layer.type != "Silence"]


def _without_scale(layer: Layer) -> Layer:
    """A 1x1 convolution with a group per channel in its place."""
    if layer.type != "Scale":
        return layer
    scale, shift = layer.blobs
    channels = len(scale)
    parameters = {"num_output": channels, "bias_term": True, "group": channels, "kernel_h": 1, "kernel_w": 1}
    return replace(layer, type="Convolution", parameters=parameters, blobs=[scale.reshape(-1, 1, 1, 1), shift])
