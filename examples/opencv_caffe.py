"""Disparity from an exported Caffe model with OpenCV's DNN module alone: no leadline, no PyTorch.

python opencv_caffe.py out/caffe left.png right.png disparity.pfm
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

folder, left, right, output = sys.argv[1:]
rows, columns = json.loads((Path(folder) / "manifest.json").read_text())["size"]
network = cv2.dnn.readNetFromCaffe(str(Path(folder) / "model.prototxt"), str(Path(folder) / "model.caffemodel"))


def prepare(path):
    """RGB in [0, 1], NCHW, padded at the bottom and right to the model's size."""
    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, rows - height, 0, columns - width, cv2.BORDER_REPLICATE)
    return padded.transpose(2, 0, 1)[None].astype(np.float32) / 255, (height, width)


image, (height, width) = prepare(left)
network.setInput(image, "left")
network.setInput(prepare(right)[0], "right")
disparity = np.ascontiguousarray(network.forward("disparity")[0, 0, :height, :width])
cv2.imwrite(output, disparity)
print(f"{output}: {width}x{height}, median {np.median(disparity):.2f} px")
