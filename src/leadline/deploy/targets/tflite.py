"""TFLite: float32, float16 and static int8, by litert-torch and ai-edge-quantizer."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from leadline.artifacts.runtimes import need
from leadline.deploy.quantized import is_quantized, precision
from leadline.deploy.targets.calling import first_line, quiet
from leadline.deploy.targets.litert_private import convert as convert_float
from leadline.deploy.targets.litert_private import litert_version
from leadline.deploy.targets.request import Made, Request
from leadline.deploy.targets.tflite_int4 import pack_int4
from leadline.errors import UserError
from leadline.models.network import Network

FILE = "model.tflite"
SIGNATURE = "serving_default"
# What is computed in int8: convolutions and what stands between them. Everything after the scores, from softmax on,
# is arithmetic with coordinates, whose range of hundreds of pixels 8 bits cannot hold.
INT8_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes model.tflite, NCHW in and out, of fixed size."""
    model = convert_float(network, request)
    made = {"converter": f"litert-torch {litert_version('tflite')}"}
    with quiet():
        if is_quantized(network):
            model.export(str(folder / FILE))
            packed = pack_int4(folder / FILE) if precision(network) == "int4" else 0
            return Made(made | ({"int4_tensors": str(packed)} if packed else {}))
        if request.precision == "float32":
            model.export(str(folder / FILE))
            return Made(made)
        with tempfile.TemporaryDirectory() as place:
            plain = str(Path(place) / FILE)
            model.export(plain)
            try:
                quantize = to_float16 if request.precision == "float16" else to_int8
                quantize(plain, request).export_model(str(folder / FILE))
            except Exception as error:
                raise UserError(f"{network.name}: ai-edge-quantizer fails: {first_line(error)}") from error
    made["quantizer"] = f"ai-edge-quantizer {version('ai-edge-quantizer')}"
    if request.precision == "int8":
        made["calibrated_on"] = f"{len(request.calibration)} pairs"
        made["int8_operators"] = ", ".join(INT8_OPERATORS)
    return Made(made)


def to_float16(path: str, request: Request) -> Any:
    """Weights in half precision; they are widened when the model is loaded, and computed with in float32."""
    qtyping = need("ai_edge_quantizer.qtyping", "tflite")
    algorithms = need("ai_edge_quantizer.algorithm_manager", "tflite").AlgorithmName
    half = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    work = need("ai_edge_quantizer.quantizer", "tflite").Quantizer(path)
    for operator in INT8_OPERATORS:
        work.update_quantization_recipe(
            ".*", qtyping.TFLOperationName(operator), half, algorithm_key=algorithms.FLOAT_CASTING
        )
    return work.quantize()


def to_int8(path: str, request: Request) -> Any:
    """Weights int8 per channel, activations int8 per tensor, ranges from the calibration pairs."""
    qtyping = need("ai_edge_quantizer.qtyping", "tflite")
    work = need("ai_edge_quantizer.quantizer", "tflite").Quantizer(path)
    for operator in INT8_OPERATORS:
        work.add_static_config(".*", qtyping.TFLOperationName(operator), activation_num_bits=8, weight_num_bits=8)
    feeds = [{f"args_{i}": image for i, image in enumerate(images)} for images in request.calibration]
    return work.quantize(work.calibrate({SIGNATURE: feeds}))
