"""ONNX, by PyTorch's dynamo exporter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from leadline.artifacts.manifest import OUTPUT
from leadline.artifacts.runtimes import need
from leadline.deploy.targets.calling import first_line, quiet
from leadline.deploy.targets.request import Made, Request
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models.network import Network
from leadline.predict.predictor import VIEWS

OPSET = 20
FILE = "model.onnx"


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes model.onnx: one file, weights inside, with the task, units and size rule in its metadata."""
    program = to_onnx(network, request)
    need("onnx", "onnx")
    model = program.model_proto
    for key, value in _metadata(network).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    write_whole(folder / FILE, model.SerializeToString())
    return Made(
        {
            "exporter": f"torch.onnx {torch.__version__}, dynamo",
            "opset": str(OPSET),
            "nodes": str(len(model.graph.node)),
        }
    )


def to_onnx(network: Network, request: Request) -> Any:
    """The network as an ONNXProgram, optimised (constants folded, BatchNorm folded into convolutions).

    Raises:
        UserError: a library is missing, or the exporter does not know something in the network.
    """
    need("onnxscript", "onnx")
    names = list(VIEWS[network.task])
    multiple = network.size_multiple
    shapes = None
    if request.dynamic:
        # The same two symbols for every image, each a multiple of what the network asks for.
        height, width = (multiple * torch.export.Dim(name, min=1, max=4096) for name in ("rows", "columns"))
        shapes = (tuple({2: height, 3: width} for _ in names),)  # one level more: forward takes *images
    with quiet():
        try:
            return torch.onnx.export(
                network.eval(),
                request.example(network),
                dynamo=True,
                opset_version=OPSET,
                input_names=names,
                output_names=[OUTPUT[network.task][0]],
                dynamic_shapes=shapes,
                external_data=False,
                optimize=True,
                verbose=False,
            )
        except Exception as error:  # the exporter wraps whatever it met
            cause = error.__cause__ or error
            raise UserError(f"{network.name}: torch.onnx does not export it: {first_line(cause)}") from error


def _metadata(network: Network) -> dict[str, str]:
    output, unit = OUTPUT[network.task]
    return {
        "task": network.task.value,
        "network": network.name,
        "config": json.dumps(network.config_dict()),
        "output": output,
        "unit": unit,
        "max_disparity": str(getattr(network.config, "max_disparity", "")),
        "input": "RGB, float32, 0..1, NCHW; normalisation is inside the model",
        "size_multiple": str(network.size_multiple),
        "needs_calibration": "no",
    }
