"""From a network to the two files of a Caffe model."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from leadline.artifacts.manifest import OUTPUT
from leadline.data import open_data
from leadline.deploy.targets.caffe.layers import Layer, write_files
from leadline.deploy.targets.caffe.lower import Unsupported, lower, trace
from leadline.deploy.targets.caffe.second_reader import has_second_reader, read_again
from leadline.deploy.targets.caffe.simplify import name_output, simplify
from leadline.deploy.targets.request import Made, Request
from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.predict.predictor import input_names
from leadline.predict.tiled import to_model_image

_SCENE = "procedural:1,seed=88000000,size={}x{}"
_SMALLEST_SCENE = 48  # px


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes model.prototxt and model.caffemodel, for images of the one size asked for.

    Raises:
        UserError: protobuf is missing, or the network does something that Caffe has no layers for; says where.
    """
    layers = to_layers(network, request)
    write_files(layers, network.name, folder)
    kinds = Counter(layer.type for layer in layers)
    return Made(
        {
            "converter": f"leadline, from torch.export {torch.__version__}",
            "layers": str(len(layers)),
            "layer_types": ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())),
            "second_reader": _read_again(layers, network, request),
        }
    )


def to_layers(network: Network, request: Request) -> list[Layer]:
    """The network in Caffe's layers."""
    program = trace(network, request.example(network))
    layers, output, failed = lower(program, list(input_names(network.task, network.takes_time)))
    if failed or output is None:
        raise UserError(_refusal(network, failed))
    maker = next(layer for layer in layers.layers if output in layer.tops)
    if maker.type in ("Window", "Input"):  # the output is to be all that its layer gives
        output = layers.affine(output, 1.0, 0.0)
    return name_output(simplify(layers.layers, output), output, OUTPUT[network.task][0])


def unsupported(network: Network, size: tuple[int, int]) -> list[Unsupported]:
    """Every place of the network that Caffe has no layers for, at this (h, w); none: it can be converted."""
    program = trace(network, Request(size).example(network))
    return lower(program, list(input_names(network.task, network.takes_time)))[2]


def _read_again(layers: list[Layer], network: Network, request: Request) -> str:
    """How far MNN's reading of the same layers is from the network, on one rendered scene (noise for other tasks than
    stereo); or why that is not known."""
    if not has_second_reader():
        return "none: MNN is not installed"
    images = request.example(network)
    if network.task is Task.STEREO and min(request.size) >= _SMALLEST_SCENE:
        (height, width), scene = request.size, open_data(_SCENE.format(*request.size))[0]
        images = tuple(torch.from_numpy(to_model_image(image, (height, width))) for image in scene.images)
    output, unit = OUTPUT[network.task]
    try:
        found = read_again(layers, [image.numpy() for image in images], output)
    except UserError as error:
        return f"none: {error}"
    with torch.inference_mode():
        difference = np.abs(found - network(*images).numpy())
    return (
        f"MNN {version('MNN')}: mean difference {difference.mean():.2g} {unit}, "
        f"99.9 % within {np.quantile(difference, 0.999):.2g} {unit}"
    )


def _refusal(network: Network, failed: list[Unsupported]) -> str:
    more = f" (and {len(failed) - 1} more places)" if len(failed) > 1 else ""
    return f"{network.name}: not for Caffe: {failed[0]}{more}"
