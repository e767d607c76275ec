"""The device-side examples run as they stand, import neither leadline nor torch, and say what leadline says."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from deploy.networks import noise_pair, small_plummet

import leadline
from leadline.deploy import export

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CASES = {
    "onnx": ("onnx_minimal.py", "onnxruntime"),
    "openvino": ("openvino_minimal.py", "openvino"),
    "openvino-bfloat16": ("openvino_minimal.py", "openvino"),
    "tflite": ("tflite_minimal.py", "ai_edge_litert"),
    "caffe": ("opencv_caffe.py", "cv2"),
}


@pytest.mark.parametrize("target", CASES)
def test_example(target, tmp_path):
    script, runtime = CASES[target]
    pytest.importorskip(runtime)
    if target == "tflite":
        pytest.importorskip("litert_torch")
    artifact = export(small_plummet(), target, tmp_path, (64, 96), verify_on=None)
    pair = noise_pair(50, 90)
    for name, image in zip(("left", "right"), pair, strict=True):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image[..., ::-1])
    blocked = tmp_path / "blocked"
    for package in ("leadline", "torch"):
        (blocked / package).mkdir(parents=True)
        (blocked / package / "__init__.py").write_text(f"raise ImportError('{package} is not for devices')")
    subprocess.run(
        [sys.executable, EXAMPLES / script, artifact.folder, "left.png", "right.png", "disparity.pfm"],
        cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(blocked)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    found = cv2.imread(str(tmp_path / "disparity.pfm"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(found, leadline.load(artifact.folder).predict(*pair), atol=1e-2)


@pytest.mark.parametrize("script", [script for script, _ in CASES.values()])
def test_short_enough_to_read(script):
    text = (EXAMPLES / script).read_text()
    assert len(text.splitlines()) < 40
    assert "import leadline" not in text
    assert "import torch" not in text
