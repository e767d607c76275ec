import math

import numpy as np
import pytest
import torch
from models.upstream_weights import fill, state_dict
from shared import shared_parity
from torch import nn

import leadline
from leadline import UserError
from leadline.models import _mobilestereonet_parts as blocks

# name, the original's name, parameters, of which for training alone
NETWORKS = [
    ("mobilestereonet-2d", "MSNet2D", 2_352_706, 124_704),
    ("mobilestereonet-3d", "MSNet3D", 1_855_608, 85_728),
]
MOST, MEAN = 0.03, 0.002  # px; what float32 itself leaves open at 48 disparities is .005 and .0003


@pytest.mark.parametrize(("name", "original", "parameters", "training_only"), NETWORKS)
def test_parameters(name, original, parameters, training_only):
    network = leadline.create(name)
    heads = (network.classif0, network.classif1, network.classif2)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(p.numel() for head in heads for p in head.parameters()) == training_only


def parity_case(name: str, original: str):
    """The network with the fixture's weights, the pair in [0, 1], and the original's four outputs."""
    with np.load(shared_parity(f"{original}_parity.npz")) as parity:
        pair = [torch.from_numpy(parity[f"A/{side}_u8"]).permute(0, 3, 1, 2) / 255 for side in ("left", "right")]
        expected = [parity[f"A/{key}"] for key in ("head_pred0", "head_pred1", "head_pred2", "pred")]
        network = leadline.import_upstream(name, state_dict(original), max_disparity=int(parity["A/maxdisp"]))
    return network, pair, [torch.from_numpy(disparity).unsqueeze(1) for disparity in expected]


@pytest.mark.parametrize(("name", "original"), [row[:2] for row in NETWORKS])
@torch.no_grad()
def test_outputs_are_those_of_the_original(name, original):
    network, pair, expected = parity_case(name, original)
    outputs = network.forward_all(*pair)
    assert torch.equal(outputs[-1], network(*pair))
    assert len(outputs) == 4
    for ours, theirs in zip(outputs, expected, strict=True):
        error = (ours - theirs).abs()
        assert error.max() < MOST
        assert error.mean() < MEAN


def swap_relu6(network: nn.Module) -> None:
    for module in network.modules():
        for key, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, key, nn.ReLU())


def other_epsilon(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.eps = 1e-3


def undilated(network: nn.Module) -> None:
    for module in network.feature_extraction.layer4.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.dilation = module.padding = (1, 1)


def without_stem_relu(network: nn.Module) -> None:
    for index in (1, 3, 5):
        network.feature_extraction.firstconv[index] = nn.Identity()


def with_3d_sums(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, blocks.InvertedResidual):
            first, last = module.conv[0], module.conv[6]
            module.adds_input |= module.conv[3].stride == (1, 1, 1) and first.in_channels == last.out_channels


@pytest.mark.parametrize(
    ("name", "original", "change", "least"),
    [
        ("mobilestereonet-2d", "MSNet2D", swap_relu6, 20),
        ("mobilestereonet-2d", "MSNet2D", other_epsilon, 5),
        ("mobilestereonet-2d", "MSNet2D", undilated, 20),
        ("mobilestereonet-2d", "MSNet2D", without_stem_relu, 20),
        ("mobilestereonet-3d", "MSNet3D", undilated, 10),
        ("mobilestereonet-3d", "MSNet3D", with_3d_sums, 20),
    ],
)
@torch.no_grad()
def test_a_wrong_variant_would_be_seen(name, original, change, least):
    network, pair, expected = parity_case(name, original)
    change(network)
    assert (network(*pair) - expected[-1]).abs().max() > least  # px


@pytest.mark.parametrize(
    ("fixture", "make"),
    [
        ("v2_res", lambda: blocks.InvertedResidual(6, 6, 1, 3)),
        ("v2_s2", lambda: blocks.InvertedResidual(6, 10, 2, 2)),
        ("v1_dil2", lambda: blocks.SeparableResidual(6, 6, dilation=2)),
        ("v1_down", lambda: blocks.SeparableResidual(4, 8, stride=2)),
        ("v2_3d_same_int_stride", lambda: blocks.InvertedResidual(5, 5, 1, 2, dims=3)),
        ("hourglass2D", lambda: blocks.Hourglass(4, dims=2)),
        ("hourglass3D", lambda: blocks.Hourglass(4, dims=3)),
    ],
)
@torch.no_grad()
def test_blocks_are_those_of_the_original(fixture, make):
    with np.load(shared_parity("ops_parity.npz")) as parity:
        x, expected = (torch.from_numpy(parity[f"msn/block/{fixture}/{end}"]) for end in ("in", "out"))
    torch.testing.assert_close(fill(make(), f"ops.{fixture}")(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [row[0] for row in NETWORKS])
@torch.no_grad()
def test_forward_leaves_the_training_outputs_out(name):
    network = leadline.create(name, max_disparity=48).eval()
    called = []
    for head in (network.classif0, network.classif1, network.classif2):
        head.register_forward_hook(lambda *_: called.append(1))
    pair = torch.rand(1, 3, 16, 192), torch.rand(1, 3, 16, 192)
    assert network(*pair).shape == (1, 1, 16, 192)
    assert not called
    network.forward_all(*pair)
    assert len(called) == 3


@pytest.mark.parametrize("name", [row[0] for row in NETWORKS])
@torch.no_grad()
def test_a_batch_gives_what_its_pairs_give(name):
    torch.manual_seed(0)
    network = leadline.create(name, max_disparity=64).eval()
    left, right = torch.rand(2, 3, 32, 208), torch.rand(2, 3, 32, 208)
    together = network(left, right)
    for i in range(2):
        torch.testing.assert_close(network(left[i : i + 1], right[i : i + 1]), together[i : i + 1], atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", [row[0] for row in NETWORKS])
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    network = leadline.create(name, max_disparity=48).train()
    outputs = network.forward_all(torch.rand(2, 3, 32, 192), torch.rand(2, 3, 32, 192))
    sum((output - 3).square().mean() for output in outputs).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


def test_initial_weights_follow_the_original():
    weight = leadline.create("mobilestereonet-3d").classif0[0][0].weight  # 3x3x3, 32 -> 32
    assert math.isclose(weight.std().item(), math.sqrt(2 / (27 * 32)), rel_tol=0.05)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("mobilestereonet-2d", 40, "less than the 48 planes"),
        ("mobilestereonet-3d", 40, "10 planes.*cannot halve twice: use 32 or 48"),
        ("mobilestereonet-3d", 8, "use 16$"),
        ("mobilestereonet-3d", -64, "use 16$"),
    ],
)
def test_max_disparities_that_the_architecture_cannot_have(name, value, reason):
    with pytest.raises(UserError, match=reason):
        leadline.create(name, max_disparity=value)


@pytest.mark.parametrize(
    ("name", "size", "padded"),
    [
        ("mobilestereonet-2d", (16, 176), (16, 192)),
        ("mobilestereonet-2d", (30, 200), (32, 208)),
        ("mobilestereonet-3d", (1, 1), (16, 16)),
    ],
)
def test_sizes_that_have_to_be_padded(name, size, padded):
    network = leadline.create(name).eval()
    assert network.padded_size(*size) == padded
    with pytest.raises(UserError, match=f"got {size[0]}x{size[1]}: pad"):
        network(torch.rand(1, 3, *size), torch.rand(1, 3, *size))


@pytest.mark.parametrize("value", [192.0, "192", True])
def test_max_disparities_that_are_no_number_of_pixels(value):
    with pytest.raises(UserError, match="whole number"):  # the function, as runtime type checks would be first here
        blocks.check_max_disparity("mobilestereonet-2d", value)


def test_views_of_different_size():
    with pytest.raises(UserError, match="differ in shape"):
        blocks.check_pair(leadline.create("mobilestereonet-3d"), torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 32))


@torch.no_grad()
def test_3d_accepts_what_2d_cannot():
    """More planes than columns: the planes beyond stay empty."""
    network = leadline.create("mobilestereonet-3d", max_disparity=83).eval()
    assert network(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)).isfinite().all()


@torch.no_grad()
def test_the_scores_of_2d_are_what_its_disparity_is_read_from():
    torch.manual_seed(0)
    network = leadline.create("mobilestereonet-2d").eval()
    left, right = torch.rand(2, 1, 3, 32, 208).unbind()
    predictions, scores, spacing = network.forward_scores(left, right)
    assert (scores.shape, spacing) == ((1, 192, 8, 52), 1.0)
    upsampled = torch.nn.functional.interpolate(scores, scale_factor=4, mode="bilinear")
    expected = (upsampled.softmax(1) * torch.arange(192.0).view(1, -1, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(predictions[-1], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(predictions[-1], network(left, right))
