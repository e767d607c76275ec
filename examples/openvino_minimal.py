"""Disparity from an exported OpenVINO model with OpenVINO alone: no leadline, no PyTorch.

python openvino_minimal.py out/openvino-bfloat16 left.png right.png disparity.pfm
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import openvino

folder, left, right, output = sys.argv[1:]
manifest = json.loads((Path(folder) / "manifest.json").read_text())
core = openvino.Core()
# By itself OpenVINO computes in bfloat16 where the CPU can; most models are not made for that.
narrow = manifest["floats"] == "bfloat16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if narrow else "f32"}
model = core.compile_model(str(Path(folder) / "model.xml"), "CPU", settings)


def prepare(path):
    """RGB in [0, 1], NCHW, padded at the bottom and right to the model's size."""
    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    multiple = manifest["size_rule"]["multiple"]
    rows, columns = manifest["size"] or (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
    padded = cv2.copyMakeBorder(image, 0, rows - height, 0, columns - width, cv2.BORDER_REPLICATE)
    return padded.transpose(2, 0, 1)[None].astype(np.float32) / 255, (height, width)


image, (height, width) = prepare(left)
disparity = model({"left": image, "right": prepare(right)[0]})[0][0, 0, :height, :width]
cv2.imwrite(output, np.ascontiguousarray(disparity))
print(f"{output}: {width}x{height}, median {np.median(disparity):.2f} px")
