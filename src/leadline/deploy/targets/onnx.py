"""ONNX, by PyTorch's dynamo exporter."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch

from leadline.artifacts.manifest import OUTPUT
from leadline.artifacts.runtimes import need
from leadline.deploy.quantized import frozen, is_quantized
from leadline.deploy.targets.calling import first_line, quiet
from leadline.deploy.targets.onnx_quantized import OPSET as QUANTIZED_OPSET
from leadline.deploy.targets.onnx_quantized import tidy, translations
from leadline.deploy.targets.request import Made, Request
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models.network import Network
from leadline.predict.predictor import TIME, input_names

OPSET = 20
FILE = "model.onnx"


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes model.onnx: one file, weights inside, with the task, units and size rule in its metadata."""
    model = to_model(network, request)
    for key, value in _metadata(network).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    write_whole(folder / FILE, model.SerializeToString())
    return Made(
        {
            "exporter": f"torch.onnx {torch.__version__}, dynamo",
            "opset": str(model.opset_import[0].version),
            "nodes": str(len(model.graph.node)),
        }
    )


def to_model(network: Network, request: Request) -> Any:
    """The network as an ONNX ModelProto, quantised layers with their integers. Raises UserError as `to_onnx`."""
    need("onnx", "onnx")
    model = to_onnx(network, request).model_proto
    _forget_source(model)
    if is_quantized(network):
        tidy(model, network)
    return model


def _forget_source(model: Any) -> None:
    """Takes out which line of which file on this machine each node came from."""
    for part in (*model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]


def to_onnx(network: Network, request: Request) -> Any:
    """The network as an ONNXProgram, optimised (constants folded, BatchNorm folded into convolutions).

    Raises:
        UserError: a library is missing, or the exporter does not know something in the network.
    """
    need("onnxscript", "onnx")
    names = list(input_names(network.task, network.takes_time))
    multiple = network.size_multiple
    shapes = None
    if request.dynamic:
        # The same two symbols for every image, each a multiple of what the network asks for.
        height, width = (multiple * torch.export.Dim(name, min=1, max=4096) for name in ("rows", "columns"))
        shapes = tuple({} if name == TIME else {2: height, 3: width} for name in names)
        if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(network.forward).parameters.values()):
            shapes = (shapes,)  # one level more where forward takes *images
    quantized = is_quantized(network)
    with quiet():
        try:
            program = torch.onnx.export(
                frozen(network).eval(),
                request.example(network),
                dynamo=True,
                opset_version=QUANTIZED_OPSET if quantized else OPSET,
                input_names=names,
                output_names=[OUTPUT[network.task][0]],
                dynamic_shapes=shapes,
                external_data=False,
                optimize=False,
                verbose=False,
                custom_translation_table=translations() if quantized else None,
            )
            _optimize(program)
            return program
        except Exception as error:  # the exporter wraps whatever it met
            cause = error.__cause__ or error
            raise UserError(f"{network.name}: torch.onnx does not export it: {first_line(cause)}") from error


def _optimize(program: Any) -> None:
    """The exporter's own optimisation, after what makes its graph small: its rules take time as the graph squared."""
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    fold_constants(program.model)
    remove_unused_nodes(program.model)
    program.optimize()


def _metadata(network: Network) -> dict[str, str]:
    output, unit = OUTPUT[network.task]
    return {
        "task": network.task.value,
        "network": network.name,
        "config": json.dumps(network.config_dict()),
        "output": output,
        "unit": unit,
        "max_disparity": str(network.reach or ""),
        "input": "RGB, float32, 0..1, NCHW; normalisation is inside the model",
        "size_multiple": str(network.size_multiple),
        "needs_calibration": "no",
    }
