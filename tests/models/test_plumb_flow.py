"""plumb-flow: its promises (size, operators, what it answers before any training), not its accuracy."""

import pytest
import torch
import torch.nn.functional as F

from leadline import UserError, create
from leadline.checkpoint import load_network, save
from leadline.data.procedural import SceneConfig, render_motion
from leadline.models.plumb_flow import share_encoder
from leadline.zoo import find_checkpoint

SMALL = {
    "stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "sixteenth": 16, "hidden_quarter": 8, "hidden_eighth": 8,
    "hidden_sixteenth": 16, "hidden_coarsest": 16, "reach_rows": 2, "reach_columns": 3,
}  # fmt: skip

NONE = (0, 0, 0, 0)


def pair(height=64, width=128, batch=1):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, batch, 3, height, width, generator=generator).unbind()


def test_is_small():
    assert sum(parameter.numel() for parameter in create("plumb-flow").parameters()) < 1.5e6


def test_operators_suit_integer_targets():
    exported = torch.export.export(create("plumb-flow", **SMALL, registration=NONE).eval(), pair())
    names, widest = [], 0
    for node in exported.graph.nodes:
        if node.op == "call_function":
            names.append(str(node.target))
            value = node.meta["val"]
            widest = max(widest, value.dim() if isinstance(value, torch.Tensor) else 0)
    assert widest <= 4
    forbidden = ("gather", "scatter", "conv3d", "topk", "sort", "unfold", "im2col", "index")
    assert not [n for n in names if any(word in n for word in forbidden)]
    assert sum("grid_sampler" in n for n in names) == 2  # the warps at 1/8 and 1/4


def test_every_convolution_is_followed_by_batchnorm():
    kinds = [type(m).__name__ for m in create("plumb-flow").modules() if type(m).__name__ in ("Conv2d", "BatchNorm2d")]
    assert kinds[::2] == ["Conv2d"] * (len(kinds) // 2)
    assert kinds[1::2] == ["BatchNorm2d"] * (len(kinds) // 2)


@pytest.mark.parametrize("size", [(64, 64), (128, 192)])
def test_any_multiple_of_64(size):
    network = create("plumb-flow", **SMALL, registration=NONE).eval()  # which decides, pixel by pixel
    first, second = pair(*size, batch=2)
    flow = network(first, second)
    assert flow.shape == (2, 2, *size)
    torch.testing.assert_close(flow[:1], network(first[:1], second[:1]), atol=1e-3, rtol=1e-3)
    with pytest.raises(UserError, match="multiples of 64"):
        network(first[..., :-8], second[..., :-8])


def test_training_gives_four_predictions_and_every_weight_a_gradient():
    network = create("plumb-flow", **SMALL).train()
    predictions, scores, _ = network.forward_scores(*pair(64, 128, batch=2))
    assert [tuple(p.shape) for p in predictions] == [(2, 2, 64, 128)] * 4
    assert [tuple(s.scores.shape[-2:]) for s in scores] == [(4, 8)] * 2 + [(8, 16)] * 2 + [(16, 32)] * 2
    for window in scores:  # all corrections begin at zero
        assert window.scores.isfinite().all()
    torch.testing.assert_close(scores[0].scores, scores[1].scores)
    (sum(p.abs().mean() for p in predictions) + sum(s.scores.square().mean() for s in scores)).backward()
    assert not [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None]


def test_untrained_with_plummets_encoder_it_already_matches():
    """Most pixels that stay in view of scenes with some tens of pixels of motion are closer to the truth than still."""
    network = create("plumb-flow")
    share_encoder(network, load_network(find_checkpoint("plummet-s")))
    batch = render_motion(21, range(4), (192, 256), SceneConfig(slow=0.0))
    for norm in (network.match16[1], network.match8[1]):  # statistics of their inputs
        norm.momentum = None
    network.train()
    with torch.no_grad():
        network(*batch.frames)
        flow = network.eval()(*batch.frames)
    seen = ~batch.occluded
    error = (flow - batch.flow).norm(dim=1, keepdim=True)[seen]
    still = batch.flow.norm(dim=1, keepdim=True)[seen]
    assert (error < still).float().mean() > 0.7
    assert error.median() < 0.5 * still.median()


def test_checkpoint_round_trip(tmp_path):
    network = create("plumb-flow", **SMALL).eval()
    save(network, tmp_path / "a.safetensors")
    again = load_network(tmp_path / "a.safetensors")
    torch.testing.assert_close(network(*pair()), again(*pair()))


def test_warping_by_a_whole_shift():
    from leadline.models.plumb_flow import _warp

    values = torch.rand(1, 3, 6, 8)
    flow = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 6, 8)
    expected = F.pad(values, (0, 2, 1, 0))[..., :6, 2:]
    torch.testing.assert_close(_warp(values, flow), expected, atol=1e-5, rtol=0)


def test_registration_takes_what_is_nearly_right_nearer():
    network = create("plumb-flow").eval()
    batch = render_motion(5, range(3), (128, 192), SceneConfig(slow=1.0, photometric=0.3))
    seen = ~batch.occluded
    with torch.no_grad():
        found = network._register(batch.flow + 0.6, batch.frames, 3)
    before, after = ((f - batch.flow).norm(dim=1, keepdim=True)[seen].median() for f in (batch.flow + 0.6, found))
    assert after < 0.75 * before


@pytest.mark.parametrize("steps", [(1, 1, 1), (1, 1, 1, -1)])
def test_steps_of_registration_are_four(steps):
    with pytest.raises(UserError, match="four numbers"):
        create("plumb-flow", registration=steps)


@pytest.mark.parametrize("option", [{"reach_rows": 0}, {"reach_quarter": 40}])
def test_reach_out_of_range_is_refused(option):
    with pytest.raises(UserError, match="reach"):
        create("plumb-flow", **option)
