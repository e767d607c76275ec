"""OpenVINO, from the ONNX graph."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from leadline.artifacts.runtimes import need
from leadline.deploy.planes import planes_together
from leadline.deploy.targets.onnx import to_model
from leadline.deploy.targets.request import Made, Request
from leadline.models.network import Network
from leadline.nn.forms import for_bfloat16

FILES = ("model.xml", "model.bin")


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes model.xml and model.bin. With float16 the weights are stored in half; the CPU computes in float32.

    A network of 8 bits keeps them: OpenVINO's CPU plugin runs its convolutions in integers. With bfloat16 the graph is
    one that bears being computed in it.
    """
    openvino = need("openvino", "openvino")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        with for_bfloat16() if request.precision == "bfloat16" else nullcontext():
            graph = to_model(planes_together(network), request)
        path.write_bytes(graph.SerializeToString())
        model = openvino.convert_model(str(path))
        _gather_flips(model)
        openvino.save_model(model, str(folder / FILES[0]), compress_to_fp16=request.precision == "float16")
    return Made({"converter": f"openvino {openvino.__version__}, from ONNX"})


def _gather_flips(model: Any) -> None:
    """Slices with step -1 become gathers: the CPU plugin has fast code for these, and its slowest for those."""
    opset = need("openvino.opset13", "openvino")
    for flip in [node for node in model.get_ordered_ops() if node.get_type_name() == "Slice"]:
        given, step, axes = flip.input_value(0), flip.input_value(3).get_node(), flip.input_value(4).get_node()
        if any(node.get_type_name() != "Constant" for node in (step, axes)) or set(step.get_data().flat) != {-1}:
            continue
        lengths = [given.partial_shape[axis] for axis in axes.get_data().tolist()]
        if any(length.is_dynamic for length in lengths) or flip.output(0).partial_shape != given.partial_shape:
            continue
        turned = given
        for axis, length in zip(axes.get_data().tolist(), lengths, strict=True):
            order = np.arange(length.get_length(), dtype=np.int64)[::-1].copy()
            turned = opset.gather(turned, opset.constant(order), opset.constant(np.int64(axis))).output(0)
        flip.output(0).replace(turned)
