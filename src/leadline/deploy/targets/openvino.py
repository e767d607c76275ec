"""OpenVINO, from the ONNX graph."""

from __future__ import annotations

import tempfile
from pathlib import Path

from leadline.artifacts.runtimes import need
from leadline.deploy.planes import planes_together
from leadline.deploy.targets.onnx import to_model
from leadline.deploy.targets.request import Made, Request
from leadline.models.network import Network

FILES = ("model.xml", "model.bin")


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes model.xml and model.bin. With float16 the weights are stored in half; the CPU computes in float32.

    A network of 8 bits keeps them: OpenVINO's CPU plugin runs its convolutions in integers.
    """
    openvino = need("openvino", "openvino")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        path.write_bytes(to_model(planes_together(network), request).SerializeToString())
        model = openvino.convert_model(str(path))
        openvino.save_model(model, str(folder / FILES[0]), compress_to_fp16=request.precision == "float16")
    return Made({"converter": f"openvino {openvino.__version__}, from ONNX"})
