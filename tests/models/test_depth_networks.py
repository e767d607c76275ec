"""The networks for monocular depth: ranges, heads, memory, and what their heads' losses ask for."""

import math

import pytest
import torch

from leadline.errors import UserError
from leadline.models import create
from leadline.models.pose import PoseNet, rigid
from leadline.nn.depth_heads import DepthHead, bins_loss, chamfer_loss, ordinal_loss

SMALL = {"fastdepth": {"width": 0.25, "decoder": 4}, "dpt-xs": {"embedding": 32, "fusion": 8}}
HEADS = ["direct", "ordinal", "bins", "adaptive_bins"]


def _network(name: str, **config):
    torch.manual_seed(0)
    return create(name, **{**SMALL[name], **config}).eval()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", SMALL)
def test_depth_is_within_the_range_and_every_weight_learns(name: str, head: str):
    network = _network(name, head=head, min_depth=0.5, max_depth=4.0, planes=16)
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        depth = network(image)
    assert depth.shape == (2, 1, 64, 96)
    assert float(depth.min()) >= 0.5
    assert float(depth.max()) <= 4.0
    network.train()
    predictions, extra = network.forward_supervised((image,), torch.rand(2, 1, 64, 96) * 3 + 0.6)
    (predictions[-1].log().mean() + extra["head"]).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_other_sizes_and_ranges_are_refused():
    with pytest.raises(UserError, match="multiples of 32"):
        _network("fastdepth")(torch.rand(1, 3, 60, 64))
    for config, told in (
        ({"head": "ordnal"}, "did you mean 'ordinal'"),
        ({"min_depth": 3.0, "max_depth": 2.0}, "min_depth < max_depth"),
        ({"backbone": "mobilenetv4"}, "did you mean"),
        ({"planes": 1}, "outside 2..512"),
        ({"kernel": 4}, "not 3, 5 or 7"),
    ):
        with pytest.raises(UserError, match=told):
            _network("fastdepth", **config)


def test_the_published_size_has_the_published_number_of_weights():
    """FastDepth before pruning: 3.93 million, of which the decoder's last layers carry no BatchNorm there."""
    count = sum(p.numel() for p in create("fastdepth").parameters())
    assert count == pytest.approx(3.93e6, rel=0.01)


def test_memory_begins_as_a_single_image_and_then_remembers():
    network = _network("fastdepth", memory=8)
    first, second = torch.rand(2, 1, 3, 64, 64).unbind(0)
    with torch.no_grad():
        network.memory.leave.weight.mul_(1e4)  # what is remembered shall show
        alone, state = network.forward_state(first)
        torch.testing.assert_close(alone, network(first))
        after, later = network.forward_state(second, state)
        assert not torch.allclose(after, network(second), rtol=1e-4)
        assert not torch.equal(later[1], state[1])
        again, _ = network.forward_state(second, state)  # a state is a value: it can be used again
        assert torch.equal(after, again)
    with pytest.raises(UserError, match="no memory"):
        _network("fastdepth").forward_state(first)


def _head(kind: str, planes: int = 10) -> DepthHead:
    return DepthHead(kind, 4, planes, nearest=1.0, farthest=100.0, pooled=6)


def _depth(head: DepthHead, scores: torch.Tensor) -> torch.Tensor:
    """The head on features that its convolution passes on as these scores."""
    head.score = torch.nn.Identity()
    return head(scores, torch.zeros(1, 6, 2, 2))[0]


def test_an_ordinal_head_counts_thresholds_in_the_logarithm():
    """Sure of the first k of 10 thresholds at 100^((i + 1/2) / 10): the depth is 100^(k / 10)."""
    for k in (0, 3, 10):
        scores = torch.full((1, 10, 1, 1), -40.0)
        scores[:, :k] = 40.0
        assert float(_depth(_head("ordinal"), scores)) == pytest.approx(100 ** (k / 10), rel=1e-5)


def test_a_bins_head_takes_the_mean_of_its_bins_in_the_logarithm():
    scores = torch.full((1, 10, 1, 1), -40.0)
    scores[:, 2] = scores[:, 3] = 5.0
    assert float(_depth(_head("bins"), scores)) == pytest.approx(100 ** (0.3), rel=1e-5)
    adaptive = _head("adaptive_bins")
    with torch.no_grad():
        adaptive.widths.bias[0] = math.log(10)  # the first bin is ten times as wide as each of nine others
    scores = torch.full((1, 10, 1, 1), -40.0)
    scores[:, 0] = 5.0
    assert float(_depth(adaptive, scores)) == pytest.approx(100 ** (10 / 19 / 2), rel=1e-5)


@pytest.mark.parametrize("kind", ["ordinal", "bins"])
def test_the_loss_of_a_head_is_least_where_the_head_says_the_truth(kind: str):
    torch.manual_seed(1)
    head, truth = _head(kind, planes=24), torch.rand(1, 1, 6, 8) * 60 + 2
    truth[..., :2] = 0  # unknown: must not pull anywhere
    scores = torch.zeros(1, 24, 6, 8, requires_grad=True)
    head.score = torch.nn.Identity()
    optimizer = torch.optim.Adam([scores], lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        depth, given, positions = head(scores, torch.zeros(1, 6, 2, 2))
        head.loss(given, positions, truth).backward()
        optimizer.step()
    known = truth > 0
    ratio = (depth / truth.clamp(min=1e-6))[known].log().abs()
    assert float(ratio.max()) < math.log(100) / 24  # the ordinal head's thresholds are that far apart
    assert torch.equal(scores.detach()[..., :2], torch.zeros(1, 24, 6, 2))


def test_losses_by_hand():
    known = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    share = torch.full((1, 1, 1, 1), 0.6)
    # two thresholds at 1/4 and 3/4: beyond the first, not beyond the second
    expected = (-math.log(1 / (1 + math.exp(-2.0))) - math.log(1 - 1 / (1 + math.exp(-1.0)))) / 2
    assert float(ordinal_loss(torch.tensor([2.0, 1.0]).view(1, 2, 1, 1), share, known)) == pytest.approx(expected)
    # centres at 1/4 and 3/4: 0.6 is 0.7 of the way
    logs = torch.log_softmax(torch.tensor([2.0, 1.0]), 0)
    expected = -(0.3 * logs[0] + 0.7 * logs[1])
    assert float(bins_loss(torch.tensor([2.0, 1.0]).view(1, 2, 1, 1), share, known)) == pytest.approx(float(expected))
    # bins at 0.2 and 0.9, truths at 0.3 and 0.4: (0.1² + 0.5²) / 2 + (0.1² + 0.2²) / 2
    truths = torch.tensor([0.3, 0.4]).view(1, 1, 1, 2)
    found = chamfer_loss(torch.tensor([[0.2, 0.9]]), truths, torch.ones(1, 1, 1, 2, dtype=torch.bool))
    assert float(found) == pytest.approx((0.01 + 0.25) / 2 + (0.01 + 0.04) / 2)


def test_rigid_motions_are_the_matrix_exponential():
    torch.manual_seed(0)
    turn = torch.randn(5, 3, dtype=torch.float64)
    turn[0] = 1e-7
    shift = torch.randn(5, 3, dtype=torch.float64)
    for motion, w, t in zip(rigid(turn, shift), turn, shift, strict=True):
        skew = torch.tensor([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
        torch.testing.assert_close(motion[:3, :3], torch.linalg.matrix_exp(skew))
        torch.testing.assert_close(motion[:3, 3], t)


def test_a_pose_network_begins_with_hardly_any_motion():
    torch.manual_seed(0)
    motion = PoseNet().eval()(*torch.rand(2, 1, 3, 64, 96))
    torch.testing.assert_close(motion, torch.eye(4)[None], atol=0.02, rtol=0)
