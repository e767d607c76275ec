"""plummet-r: where its second look compares, what it may learn from, and where it can go."""

import numpy as np
import pytest
import torch

import leadline
from leadline import UserError, create
from leadline.deploy import export
from leadline.models._plummet_refine import OFFSETS, Refinement
from leadline.predict import NetworkPredictor

SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "max_disparity": 32, "fine": 8, "refine": 8}  # fmt: skip
SIZE = (64, 128)


def pair(height=32, width=64):
    return torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(0)).unbind()


@pytest.mark.parametrize("wrong_by", [-2, -1, 0, 1, 2])
def test_the_offset_that_mends_the_disparity_compares_best(wrong_by):
    """The right view is the left one moved by 5 columns; the disparity at hand is wrong by some."""
    left = torch.nn.functional.normalize(torch.randn(1, 8, 12, 60, generator=torch.Generator().manual_seed(1)))
    right = torch.roll(left, -5, 3)
    start = torch.full((1, 1, 12, 60), 5.0 - wrong_by)
    scores = Refinement(8, 8)._compare(left, right, start)
    best = torch.tensor(OFFSETS)[scores.argmax(1)]
    assert (best[..., 10:-10] == wrong_by).all()
    assert scores.amax(1)[..., 10:-10].sub(1 / 8).abs().max() < 1e-4


def test_it_refines_but_does_not_train_what_it_refines():
    network = create("plummet-r", **SMALL).train()
    predictions = network.forward_all(*pair())
    assert [tuple(p.shape) for p in predictions] == [(1, 1, 32, 64)] * 4
    assert len(network.eval().forward_all(*pair())) == 1
    predictions[-1].sum().backward()
    trained = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert {name for name in trained if not name.startswith("refine.")} == {
        f"encoder.stem.{rest}" for rest in ("0.weight", "1.weight", "1.bias")
    }


def test_it_is_plummet_before_it_looks_again():
    torch.manual_seed(0)
    network = create("plummet-r", **SMALL).eval()
    plain = create("plummet-s", **{**SMALL, "refine": 0}).eval()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("refine.")})
    seen = []
    network.refine.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    refined = network(*pair())
    assert torch.equal(seen[0], plain(*pair()))
    assert (refined - seen[0]).abs().max() > 0


@pytest.mark.parametrize(
    ("target", "runtime"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("tflite", "litert_torch")]
)
def test_it_goes_where_grid_sample_goes(target, runtime, tmp_path):
    pytest.importorskip(runtime)
    network = create("plummet-r", **SMALL).eval()
    artifact = export(network, target, tmp_path, SIZE, verify_on="procedural:1,seed=5,size=64x128")
    assert artifact.verified, artifact.manifest.verification
    images = [np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8) for seed in (0, 1)]
    expected = NetworkPredictor(network, "cpu").predict(*images)
    np.testing.assert_allclose(leadline.load(tmp_path / target).predict(*images), expected, atol=1e-2)


def test_caffe_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="not for Caffe"):
        export(create("plummet-r", **SMALL).eval(), "caffe", tmp_path, SIZE, verify_on=None)


def test_a_negative_width_is_refused():
    with pytest.raises(UserError, match="refine"):
        create("plummet-s", refine=-1)
