"""Monocular networks in other runtimes: every head and both kinds of encoder say there what they say in PyTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch

import leadline
from leadline import UserError
from leadline.deploy import export
from leadline.models import create

SIZE = (64, 96)
NETWORKS = {
    "direct": ("fastdepth", {"width": 0.25, "decoder": 4}),
    "adaptive bins and memory": (
        "fastdepth",
        {"width": 0.25, "decoder": 4, "head": "adaptive_bins", "planes": 8, "memory": 4, "pose": True},
    ),
    "transformer": ("dpt-xs", {"embedding": 32, "fusion": 8, "head": "ordinal", "planes": 8}),
}


def _network(kind: str):
    torch.manual_seed(0)
    name, config = NETWORKS[kind]
    network = create(name, **config).eval()
    with torch.no_grad():  # depths that differ from pixel to pixel
        network.head.score.weight.mul_(50)
    return network


@pytest.mark.parametrize(("kind", "target"), [(kind, "onnx") for kind in NETWORKS] + [("direct", "caffe")])
def test_export_is_verified_in_metres(tmp_path: Path, kind: str, target: str):
    pytest.importorskip({"onnx": "onnxruntime", "caffe": "MNN"}[target])
    network = _network(kind)
    artifact = export(network, target, tmp_path / "a", size=SIZE, verify_on="procedural:1,seed=3,size=64x96")
    record = artifact.manifest.verification
    assert record["status"] == "verified"
    assert record["unit"] == "m"
    assert "abs_rel" in record["accuracy"]
    image = np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8)
    predictor = leadline.load(artifact.folder)
    expected = leadline.predict.NetworkPredictor(network, "cpu").predict(image)
    assert expected.std() > 1e-3
    # an image smaller than the model is padded to its size, which a network of free size does not do
    assert predictor.predict(image).shape == (50, 80)
    with pytest.raises(UserError, match="--resize"):
        predictor.predict(np.zeros((80, 96, 3), np.uint8))
