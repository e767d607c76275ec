"""From a network to a proven artifact in a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from leadline.artifacts.artifact import Artifact, is_artifact
from leadline.artifacts.manifest import Manifest, describe_files
from leadline.data import open_data
from leadline.deploy.quantized import check_target, precision
from leadline.deploy.targets.request import Request
from leadline.deploy.verify import Tolerance, verify
from leadline.errors import UserError, unknown_name
from leadline.evaluation.runner import Samples
from leadline.models.network import Network, Task
from leadline.nn import forms
from leadline.predict.predictor import input_names
from leadline.predict.tiled import to_model_image
from leadline.surgeries import with_plain_weights

SIZE = (384, 1248)  # KITTI's, padded; what a model is made for unless told otherwise
CALIBRATION_PAIRS = 8
CALIBRATION_SEED = 77_000_000  # scenes that no training and no verification sees
VERIFICATION_SEED = 88_000_000
RENDERED = "procedural"  # as data to verify on: scenes of the model's own size


@dataclass(frozen=True)
class Target:
    """A format that a network can become."""

    module: str  # in leadline.deploy.targets
    precision: str
    dynamic: bool  # whether height and width can stay free
    about: str  # for people


TARGETS = {
    "onnx": Target("onnx", "float32", True, "ONNX, run in ONNX Runtime"),
    "tensorflow": Target("tensorflow", "float32", False, "SavedModel, run in TensorFlow"),
    "tflite": Target("tflite", "float32", False, "TFLite, run in LiteRT"),
    "tflite-float16": Target("tflite", "float16", False, "TFLite, weights in half precision"),
    "tflite-int8": Target("tflite", "int8", False, "TFLite, convolutions in static int8"),
    "caffe": Target("caffe", "float32", False, "Caffe, run in OpenCV"),
    "openvino": Target("openvino", "float32", True, "OpenVINO IR, run in OpenVINO"),
    "openvino-float16": Target("openvino", "float16", True, "OpenVINO IR, weights in half precision"),
    "openvino-bfloat16": Target("openvino", "bfloat16", True, "OpenVINO IR, computed in bfloat16 where the CPU can"),
    "ncnn": Target("ncnn", "float32", False, "ncnn, run in ncnn"),
}


def export(
    network: Network,
    target: str,
    folder: str | os.PathLike,
    size: tuple[int, int] | None = None,
    *,
    dynamic: bool = False,
    few_operations: bool = False,
    verify_on: Samples | str | None = RENDERED,
    calibrate_on: Samples | str | None = None,
    tolerance: Tolerance | None = None,
    threads: int | None = None,
) -> Artifact:
    """Converts `network`, proves the result in its runtime, and leaves it in `folder`/`target`.

    Args:
        network: any, with the weights that shall ship.
        target: one of TARGETS.
        folder: made where missing. An artifact that is there already is replaced, once the new one is whole.
        size: (h, w) that the model is to take, one that the network accepts; None: SIZE, or the nearest above.
        dynamic: leave height and width free instead.
        few_operations: keep to what compilers for small chips know: correlations by shifts, products and means rather
            than by matrix products, softmax as one operation. Slower on CPUs; Caffe and ncnn always have it.
        verify_on: pairs, or FORMAT:PATH; "procedural": three rendered scenes; None: do not verify.
        calibrate_on: pairs, or FORMAT:PATH, for the ranges of static int8; None: rendered scenes.
        tolerance: None: that of the target's precision.
        threads: of the runtime while it is verified.

    Returns:
        the artifact; `.verified` says whether it held the tolerance, `.manifest.verification` how far off it is.

    Raises:
        UserError: an unknown target, a size or a network that cannot be converted, a missing extra, a folder that
            cannot be written or holds something else.
    """
    if target not in TARGETS:
        raise unknown_name("target", target, list(TARGETS))
    about = TARGETS[target]
    if dynamic and not about.dynamic:
        raise UserError(f"{target}: models of this format have one size: give size (--size HxW) and leave dynamic out")
    network = with_plain_weights(network.cpu().eval())
    check_target(network, target)
    height, width = size or network.padded_size(*SIZE)
    network.check_size(height, width)
    place = Path(folder) / target
    if place.exists() and not is_artifact(place) and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"{place}: is there already and no artifact: choose another folder, or remove it")
    request = Request(
        (height, width), dynamic, about.precision, _calibration(about, calibrate_on, network, (height, width))
    )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target}.", dir=place.parent))
    except OSError as error:
        raise UserError(f"{place.parent}: cannot be written ({error.strerror}): choose another folder") from error
    try:
        with forms.few_operations() if few_operations else nullcontext():
            made = import_module(f"leadline.deploy.targets.{about.module}").convert(network, work, request)
        made_with = made.made_with | ({"operations": "few"} if few_operations else {})
        manifest = _manifest(network, target, request, made_with, work)
        if verify_on is not None:
            data = _rendered(height, width, network.task) if verify_on == RENDERED else verify_on
            record = verify(Artifact(work, manifest), network, data, tolerance=tolerance, threads=threads)
            manifest = replace(manifest, verification=record)
        manifest.write(work)
        work.chmod(0o755)
        if place.exists():
            shutil.rmtree(place)
        work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Artifact(place, manifest)


def _manifest(network: Network, target: str, request: Request, made_with: dict[str, str], work: Path) -> Manifest:
    return Manifest(
        target=target.partition("-")[0],
        precision=precision(network) or request.precision,
        floats="bfloat16" if request.precision == "bfloat16" else "float32",
        task=network.task,
        network={
            "name": network.name,
            "config": network.config_dict(),
            "surgeries": getattr(network, "surgeries", []),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        },
        inputs=list(input_names(network.task, network.takes_time)),
        size=None if request.dynamic else request.size,
        size_multiple=network.size_multiple,
        min_size=network.min_size,
        max_disparity=network.reach,
        made_with=made_with,
        files=describe_files(work),
        provenance=getattr(network, "provenance", {}),
    )


def _rendered(height: int, width: int, task: Task) -> Any:
    return open_data(f"procedural:3,seed={VERIFICATION_SEED},size={height}x{width}", task)


def _calibration(about: Target, data: Samples | str | None, network: Network, size: tuple[int, int]) -> list[tuple]:
    """The images that static int8 finds its ranges on; none where the target needs none."""
    if about.precision != "int8":
        return []
    source = data or f"procedural:{CALIBRATION_PAIRS},seed={CALIBRATION_SEED},size={size[0]}x{size[1]}"
    samples = open_data(source, network.task) if isinstance(source, str) else source
    pairs = []
    for index in range(min(len(samples), CALIBRATION_PAIRS)):
        sample = samples[index]
        images = [to_model_image(image[: size[0], : size[1]], size) for image in sample.images]
        if network.takes_time:
            images.append(np.full((1, 1, 1, 1), sample.time, np.float32))
        pairs.append(tuple(images))
    return pairs
