"""plummet-r: where its second look compares, what it may learn from, and where it can go."""

import numpy as np
import pytest
import torch

import leadline
from leadline import UserError, create
from leadline.deploy import export
from leadline.models._plummet_refine import OFFSETS, Refinement
from leadline.nn.contradiction import right_from_left_scores
from leadline.nn.warp import inside
from leadline.predict import NetworkPredictor

SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "hidden_thirtysecond": 8, "max_disparity": 32, "fine": 8, "refine": 8,
         "scale": 1.0}  # fmt: skip
SIZE = (64, 128)


def pair(height=32, width=64):
    return torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(0)).unbind()


@pytest.mark.parametrize("wrong_by", [-2, -1, 0, 1, 2])
def test_the_offset_that_mends_the_disparity_compares_best(wrong_by):
    """The right view is the left one moved by 5 columns; the disparity at hand is wrong by some."""
    left = torch.nn.functional.normalize(torch.randn(1, 8, 12, 60, generator=torch.Generator().manual_seed(1)))
    right = torch.roll(left, -5, 3)
    tried = torch.full((1, 1, 12, 60), 5.0 - wrong_by) + torch.tensor(OFFSETS).view(1, -1, 1, 1)
    scores = Refinement(8, 8, beside=False, looks=1)._compare(torch.cat([left, right]), tried)
    best = torch.tensor(OFFSETS)[scores.argmax(1)]
    assert (best[..., 10:-10] == wrong_by).all()
    assert scores.amax(1)[..., 10:-10].sub(1 / 8).abs().max() < 1e-4


def test_background_is_proposed_where_the_right_view_contradicts():
    """A square at 12 px before a wall at 4 px; the disparity at hand has the square too wide to the left by 6 px."""
    planes, rows, columns = 8, 6, 30  # of 4 px, at 1/4
    truth = torch.full((rows, columns), 1)
    truth[:, 12:20] = 3
    scores = torch.nn.functional.one_hot(truth, planes).permute(2, 0, 1)[None] * 20.0
    scores[:, :, :, 10:12] = 0  # hidden in the right view: nothing matches
    start = torch.full((1, 1, 2 * rows, 2 * columns), 2.0)  # at 1/2, in its own columns
    start[..., 21:40] = 6.0
    seen_right = right_from_left_scores(scores, 2.0).repeat_interleave(2, 2).repeat_interleave(2, 3)
    proposals, contradiction = Refinement(8, 8, beside=True, looks=1)._propose(start, seen_right, inside(start))
    behind, nearest, farthest = proposals[0]
    assert (contradiction[0, 0, :, 25:38] < 1).all()
    assert (contradiction[0, 0, :, 21:24] > 1).all()
    assert (behind[:, 21:24] == 2).all()
    assert (behind[:, 25:38] == 6).all()
    assert (nearest[:, 17:44] == 6).all()
    assert (farthest[:, 25:36] == 6).all()
    assert (farthest[:, 38:] == 2).all()


def test_it_refines_but_does_not_train_what_it_refines():
    network = create("plummet-r", **SMALL, informed=False, looks=2).train()
    predictions = network.forward_all(*pair())
    assert [tuple(p.shape) for p in predictions] == [(1, 1, 32, 64)] * 5  # 1/8, 1/4, upsampled, and two looks
    assert len(network.eval().forward_all(*pair())) == 1
    predictions[-1].sum().backward()
    trained = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert {name for name in trained if not name.startswith("refine.")} == {
        f"encoder.stem.{rest}" for rest in ("0.weight", "1.weight", "1.bias")
    }


def test_it_hears_of_the_surroundings_once_it_has_learned_to():
    torch.manual_seed(0)
    told = create("plummet-r", **SMALL, informed=True).eval()
    plain = create("plummet-r", **SMALL, informed=False).eval()
    assert not plain.load_state_dict(told.state_dict(), strict=False).missing_keys
    assert torch.equal(told(*pair()), plain(*pair()))
    torch.nn.init.ones_(told.refine.surroundings[1].weight)
    assert not torch.equal(told(*pair()), plain(*pair()))
    told.train().forward_all(*pair())[-1].sum().backward()
    gradient = told.get_parameter("aggregation.out_quarter.0.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0  # the hourglass is trained by what the second look makes of it


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


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("target", "runtime"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("tflite", "litert_torch")]
)
def test_it_goes_where_grid_sample_goes(target, runtime, beside, tmp_path):
    pytest.importorskip(runtime)
    network = create("plummet-r", **SMALL, beside=beside).eval()
    artifact = export(network, target, tmp_path, SIZE, verify_on="procedural:1,seed=5,size=64x128")
    assert artifact.verified, artifact.manifest.verification
    images = [np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8) for seed in (0, 1)]
    expected = NetworkPredictor(network, "cpu").predict(*images)
    np.testing.assert_allclose(leadline.load(tmp_path / target).predict(*images), expected, atol=1e-2)


def test_a_further_look_begins_with_what_the_one_before_has_found():
    torch.manual_seed(0)
    twice = create("plummet-r", **SMALL, looks=2).eval()
    once = create("plummet-r", **SMALL, looks=1).eval()
    once.load_state_dict(twice.state_dict())
    refinement, found = twice.refine, []
    look = refinement._look
    refinement._look = lambda *given: found.append((given[2], result := look(*given))) or result
    assert not torch.equal(twice(*pair()), once(*pair()))
    assert len(found) == 2
    assert torch.equal(found[1][0], found[0][1][0])


def test_caffe_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="not for Caffe"):
        export(create("plummet-r", **SMALL).eval(), "caffe", tmp_path, SIZE, verify_on=None)


def test_less_than_nothing_is_refused():
    with pytest.raises(UserError, match="refine"):
        create("plummet-s", refine=-1)
    with pytest.raises(UserError, match="hidden_thirtysecond"):
        create("plummet-s", hidden_thirtysecond=-8)
    with pytest.raises(UserError, match="looks"):
        create("plummet-r", looks=0)


def test_onnx_of_any_size(tmp_path):
    """Exported at one size with height and width left free, it computes the network at another."""
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = create("plummet-r", max_disparity=64).eval()
    artifact = export(network, "onnx", tmp_path, (32, 96), dynamic=True, verify_on=None)
    left, right = torch.rand(2, 1, 3, 64, 160)
    with torch.inference_mode():
        expected = network(left, right)
    found = torch.from_numpy(artifact.predictor(1).session(left.numpy(), right.numpy()))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
