"""Disparity from an exported TFLite model with LiteRT alone: no leadline, no PyTorch.

python tflite_minimal.py out/tflite left.png right.png disparity.pfm
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

folder, left, right, output = sys.argv[1:]
rows, columns = json.loads((Path(folder) / "manifest.json").read_text())["size"]
run = Interpreter(str(Path(folder) / "model.tflite"), num_threads=2).get_signature_runner()


def prepare(path):
    """RGB in [0, 1], NCHW, padded at the bottom and right to the model's size."""
    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, rows - height, 0, columns - width, cv2.BORDER_REPLICATE)
    return padded.transpose(2, 0, 1)[None].astype(np.float32) / 255, (height, width)


image, (height, width) = prepare(left)
(prediction,) = run(args_0=image, args_1=prepare(right)[0]).values()
disparity = np.ascontiguousarray(prediction[0, 0, :height, :width])
cv2.imwrite(output, disparity)
print(f"{output}: {width}x{height}, median {np.median(disparity):.2f} px")
