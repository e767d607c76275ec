"""plummet: its promises (cost, operators, sizes, range), not its accuracy."""

import json
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from leadline import UserError, create
from leadline.checkpoint import load_network, read_about, save
from leadline.nn.regression import local_soft_argmin
from leadline.zoo import find_checkpoint

SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "hidden_thirtysecond": 8, "max_disparity": 64}  # fmt: skip


def pair(height=32, width=64, batch=1):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, batch, 3, height, width, generator=generator).unbind()


@pytest.mark.parametrize(
    ("name", "limit"), [("plummet-s", 11.6), ("plummet-r", 14.6), ("plummet-m", 23.6), ("plummet-w", 29.0)]
)
def test_cost_at_kitti_size(name, limit):
    network = create(name).eval()
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        image = torch.empty(1, 3, 384, 1248)
        network.to("meta")(image, image)
    # Convolutions alone are counted: the correlation's products come on top.
    planes, matching = network.planes, network.config.matching + 2 * network.config.fine
    correlation = planes * matching * 96 * 312 + planes / 2 * network.config.eighth * 48 * 156
    assert counter.get_total_flops() / 2e9 + correlation / 1e9 <= limit


@pytest.mark.parametrize("name", ["plummet-s", "plummet-w"])
def test_operators_suit_integer_targets(name):
    exported = torch.export.export(create(name).eval(), pair(64, 128))
    names, widest = set(), 0
    for node in exported.graph.nodes:
        if node.op == "call_function":
            names.add(str(node.target))
            value = node.meta["val"]
            widest = max(widest, value.dim() if isinstance(value, torch.Tensor) else 0)
    assert widest <= 4
    forbidden = ("gather", "scatter", "grid_sampler", "index", "conv3d", "topk", "sort", "unfold", "im2col")
    assert not [n for n in names if any(word in n for word in forbidden)]


@pytest.mark.parametrize("name", ["plummet-s", "plummet-w"])
def test_every_convolution_is_followed_by_batchnorm(name):
    network = create(name)
    kinds = [type(m).__name__ for m in network.modules() if type(m).__name__ in ("Conv2d", "BatchNorm2d")]
    assert kinds[::2] == ["Conv2d"] * (len(kinds) // 2)
    assert kinds[1::2] == ["BatchNorm2d"] * (len(kinds) // 2)


@pytest.mark.parametrize("size", [(16, 16), (32, 208), (48, 80)])
def test_any_multiple_of_16(size):
    network = create("plummet-s", **SMALL).eval()
    left, right = pair(*size, batch=2)
    disparity = network(left, right)
    assert disparity.shape == (2, 1, *size)
    assert 0 <= disparity.min() <= disparity.max() <= 62
    torch.testing.assert_close(disparity[:1], network(left[:1], right[:1]), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(("name", "factor"), [("plummet-s", Fraction(9, 8)), ("plummet-m", Fraction(5, 4))])
@torch.no_grad()
def test_scale_is_what_a_caller_would_do(name, factor):
    network = create(name, **SMALL).eval()
    plain = create(name, **SMALL, scale=1.0).eval()
    plain.load_state_dict(network.state_dict())
    left, right = (F.interpolate(image, scale_factor=4.0, mode="bilinear") for image in pair(16, 32))
    size = int(64 * factor), int(128 * factor)
    larger = (F.interpolate(image, size=size, mode="bilinear") for image in (left, right))
    padded = [F.pad(image, (0, -size[1] % 16, 0, -size[0] % 16), value=0.5) for image in larger]
    there = plain(*padded)[..., : size[0], : size[1]] * 128 / size[1]
    torch.testing.assert_close(network(left, right), F.interpolate(there, size=(64, 128), mode="bilinear"))
    assert network.reach == int(64 / factor)
    assert plain.reach == 64


def test_training_takes_images_as_they_are():
    network = create("plummet-s", **SMALL)
    plain = create("plummet-s", **SMALL, scale=1.0)
    plain.load_state_dict(network.state_dict())
    assert all(map(torch.equal, network.forward_all(*pair()), plain.forward_all(*pair())))
    network.eval(), plain.eval()
    assert torch.equal(network.forward_scores(*pair())[1], plain.forward_scores(*pair())[1])


@pytest.mark.parametrize("scale", [0.5, 5.0])
def test_a_scale_beyond_reason_is_refused(scale):
    with pytest.raises(UserError, match="scale"):
        create("plummet-s", scale=scale)


def test_other_sizes_are_refused_with_the_reason():
    with pytest.raises(UserError, match="multiples of 16"):
        create("plummet-s", **SMALL).eval()(*pair(40, 64))


@pytest.mark.parametrize("bad", [{"max_disparity": 100}, {"max_disparity": 8}, {"coarse_groups": 7}])
def test_configs_that_cannot_be_built(bad):
    with pytest.raises(UserError):
        create("plummet-s", **bad)


def test_an_option_of_another_type_is_named():
    with pytest.raises(UserError, match="max_disparity is a int such as 216, not 'abc'"):
        create("plummet-s", max_disparity="abc")


def test_training_gives_coarse_to_fine_and_gradients_everywhere():
    network = create("plummet-s", **SMALL)
    predictions, scores, spacing = network.forward_scores(*pair(batch=2))
    assert [tuple(p.shape) for p in predictions] == [(2, 1, 32, 64)] * 3
    assert scores.shape == (2, 32, 8, 16)
    assert spacing == 2.0
    (sum(p.mean() for p in predictions) + scores.square().mean()).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None]
    assert not missing


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (64, 96)])
@torch.no_grad()
def test_an_hourglass_to_a_32nd_begins_as_one_that_ends_at_a_16th(size):
    deep = create("plummet-s", **SMALL).eval()
    plain = create("plummet-s", **{**SMALL, "hidden_thirtysecond": 0}).eval()
    missing, unexpected = plain.load_state_dict(deep.state_dict(), strict=False)
    assert not missing
    assert {".".join(name.split(".")[:3]) for name in unexpected} == {"aggregation.at_sixteenth.2"}
    assert torch.equal(deep(*pair(*size)), plain(*pair(*size)))
    norm = deep.get_submodule("aggregation.at_sixteenth.2.up.1")
    norm.weight.fill_(1.0)
    norm.bias.fill_(1.0)
    assert not torch.equal(deep(*pair(*size)), plain(*pair(*size)))


def test_a_sharp_score_gives_its_plane():
    from leadline.nn.regression import soft_argmin

    scores = torch.full((1, 16, 2, 3), -50.0)
    scores[:, 5] = 50.0
    torch.testing.assert_close(soft_argmin(scores, 4.0), torch.full((1, 1, 2, 3), 20.0))


def test_checkpoint_round_trip_is_exact(tmp_path):
    network = create("plummet-s", **SMALL).eval()
    path = save(network, tmp_path / "x.safetensors", {"seed": 3})
    again = load_network(path)
    assert again.config == network.config
    assert again.provenance == {"seed": 3}
    assert torch.equal(again(*pair()), network(*pair()))


@torch.no_grad()
def test_half_a_checkpoint_computes_nearly_the_same(tmp_path):
    torch.manual_seed(0)
    network = load_network(find_checkpoint("plummet-s"))
    whole = save(network, tmp_path / "whole.safetensors")
    half = save(network, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    loaded = load_network(half)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    pair = torch.rand(2, 1, 3, 64, 96)
    assert (loaded(*pair) - network(*pair)).abs().mean() < 0.1  # px, of 192, on noise


def test_broken_checkpoints_are_one_line(tmp_path):
    path = save(create("plummet-s", **SMALL), tmp_path / "x.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="copy it again"):
        load_network(path)
    other = content.replace(b'stem\\": 8', b'stem\\": 9', 1)
    assert other != content
    path.write_bytes(other)
    with pytest.raises(UserError, match="do not fit"):
        load_network(path)
    with pytest.raises(UserError, match="no such checkpoint"):
        load_network(tmp_path / "y.safetensors")


def test_fine_matching_is_the_correlation_at_half_the_spacing():
    network = create("plummet-s", **SMALL, fine=8).eval()
    fine = network.fine
    half, quarter = torch.rand(2, 8, 24, 64), torch.rand(2, 8, 12, 32)
    even, odd = fine(half, quarter)
    features = fine.at_half(fine.join(half + fine.double_to_half(fine.from_quarter(quarter), half)))
    # The same features at every column, by the same convolution without a stride.
    conv, norm = fine.describe
    left, right = norm(torch.nn.functional.conv2d(features, conv.weight, padding=1))[:, :, ::2].chunk(2)
    for k in range(2 * network.planes - 1):
        volume = even if k % 2 == 0 else odd
        for column in (k // 2 + 1, 20, 31):
            if 2 * column - k < 1:  # beside the right view's edge the moved view has another border
                continue
            expected = (left[..., 2 * column] * right[..., 2 * column - k]).mean(1)
            torch.testing.assert_close(volume[:, k // 2, :, column], expected, atol=1e-5, rtol=1e-5)


def test_scores_of_both_spacings_are_in_order_and_regressed_alike():
    network = create("plummet-s", **SMALL, fine=8).eval()
    _, scores, spacing = network.forward_scores(*pair(32, 96))
    assert (scores.shape[1], spacing) == (32, 2.0)
    _, parts = network._forward(*pair(32, 96))
    torch.testing.assert_close(scores[:, 1::2], parts[1])
    expected = local_soft_argmin(scores, 2.0, reach=4.0)
    torch.testing.assert_close(network._regress(parts), expected, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_from_before_fine_matching_loads_as_it_was(tmp_path):
    network = create("plummet-s", **SMALL, fine=0).eval()
    path = save(network, tmp_path / "old.safetensors")
    about = read_about(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del about["config"]["fine"]
    save_file(tensors, path, {"leadline": json.dumps(about)})
    loaded = load_network(path)
    assert loaded.config == network.config
    torch.testing.assert_close(loaded(*pair()), network(*pair()))
