"""Flow networks and recurrent stereo in ONNX Runtime; what a target cannot take is told."""

import numpy as np
import pytest

import leadline
from leadline import UserError
from leadline.deploy import export
from leadline.predict import NetworkPredictor

SMALL = {
    "stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "sixteenth": 16, "hidden_quarter": 8, "hidden_eighth": 8,
    "hidden_sixteenth": 16, "hidden_coarsest": 16, "reach_rows": 1, "reach_columns": 2, "reach_eighth": 1,
    "reach_quarter": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "config", "size"),
    [("plumb-flow", {**SMALL, "registration": (0, 0, 0, 0)}, (64, 128)), ("raft-small", {"iterations": 2}, (128, 128))],
)
def test_onnx(name, config, size, tmp_path):
    pytest.importorskip("onnxruntime")
    network = leadline.create(name, **config).eval()
    artifact = export(network, "onnx", tmp_path, size, verify_on=f"procedural:1,seed=5,size={size[0]}x{size[1]}")
    assert artifact.manifest.task == "flow"
    frames = [np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8) for seed in (0, 1)]
    expected = NetworkPredictor(network, "cpu").predict(*frames)
    found = leadline.load(tmp_path / "onnx").predict(*frames)
    assert found.shape == (*size, 2)
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_registration_goes_to_onnx(tmp_path):
    """On a rendered pair: on noise it decides by the last digit which pixel's flow is better."""
    pytest.importorskip("onnxruntime")
    network = leadline.create("plumb-flow", **SMALL, registration=(0, 1, 0, 0)).eval()
    artifact = export(network, "onnx", tmp_path, (64, 128), verify_on="procedural:1,seed=5,size=64x128")
    assert artifact.verified, artifact.manifest.verification
    assert artifact.manifest.verification["tolerance"]["p999"] is None


def test_caffe_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="not for Caffe"):
        export(
            leadline.create("plumb-flow", **SMALL, registration=(0, 0, 0, 0)).eval(),
            "caffe",
            tmp_path,
            (64, 128),
            verify_on=None,
        )
    assert not (tmp_path / "caffe").exists()
