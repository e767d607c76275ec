import numpy as np
import pytest
import torch
from models.upstream_weights import state_dict
from shared import shared_parity

import leadline
from leadline import UserError
from leadline.nn.laplacian import laplacian_distance
from leadline.nn.warp import warp_clamped

NETWORKS = [("rife", "IFNet", 10_708_215, 10_071_550), ("rife-m", "IFNet_m", 10_710_780, 10_073_710)]
NAMES = [row[:2] for row in NETWORKS]


def case(original: str):
    """The frames of the fixture in [0, 1], the true one, and a function that reads what the original found."""
    with np.load(shared_parity(f"{original}_parity.npz")) as parity:
        content = {key.removeprefix("A/"): parity[key] for key in parity}
    frames = [torch.from_numpy(content[f"{name}_u8"]).permute(0, 3, 1, 2) / 255 for name in ("img0", "img1", "gt")]
    return *frames, lambda key: torch.from_numpy(content[key])


def close(found: torch.Tensor, expected: torch.Tensor, most: float) -> None:
    assert (found - expected).abs().max() < most


@pytest.mark.parametrize(("name", "original", "parameters", "without_teacher"), NETWORKS)
def test_parameters(name, original, parameters, without_teacher):
    def count(**config):
        return sum(p.numel() for p in leadline.create(name, **config).parameters())

    assert count() == count(large=True) == parameters
    assert count(teacher=False) == without_teacher


@pytest.mark.parametrize(("name", "original"), NAMES)
@torch.no_grad()
def test_every_stage_is_that_of_the_original(name, original):
    frame0, frame1, truth, expected = case(original)
    network = leadline.import_upstream(name, state_dict(original))
    time = torch.full((1, 1, 1, 1), float(expected("timestep")))
    found = network.stages(frame0, frame1, time, truth)
    for k in range(3):
        close(found.flows[k], expected(f"flow{k}"), 1e-3)
        close(found.frames[k], expected(f"merged{k}"), 1e-4)
    close(found.masks[2], expected("mask_logit"), 1e-4)
    close(found.teacher_flow, expected("flow_teacher"), 1e-3)
    close(found.teacher_frame, expected("merged_teacher"), 1e-4)
    assert found.distillation.item() == pytest.approx(expected("loss_distill").item(), rel=1e-4)
    assert laplacian_distance(found.frames[2], truth).item() == pytest.approx(expected("lap_student").item(), rel=1e-4)
    frames, own = network.forward_supervised((frame0, frame1, time), truth)
    assert own["teacher"].item() == pytest.approx(expected("lap_teacher").item(), rel=1e-4)
    assert torch.equal(frames[-1], found.frames[-1])
    assert torch.equal(network(frame0, frame1, time), found.frames[-1])
    assert torch.equal(network.flow(frame0, frame1, time), found.flows[-1])


@pytest.mark.parametrize(("name", "original"), NAMES)
@pytest.mark.parametrize(
    ("config", "key"),
    [({"tta": True}, "inference_tta"), ({"scale": 0.5}, "inference_scale0.5"), ({"scale": 2.0}, "inference_scale2")],
)
@torch.no_grad()
def test_variants_are_those_of_the_original(name, original, config, key):
    frame0, frame1, _, expected = case(original)
    network = leadline.import_upstream(name, state_dict(original), **config)
    close(network(frame0, frame1), expected(key), 1e-4)


@torch.no_grad()
def test_a_wrong_variant_would_be_seen():
    frame0, frame1, _, expected = case("IFNet_m")
    network = leadline.import_upstream("rife-m", state_dict("IFNet_m"))
    quarter = network(frame0, frame1, torch.full((1, 1, 1, 1), 0.25))
    assert (quarter - expected("merged2")).abs().max() > 0.1
    close(network(frame0, frame1), expected("merged2"), 1e-4)  # without a time: the middle
    turned = leadline.import_upstream("rife-m", state_dict("IFNet_m"), bgr=True)
    assert (turned(frame0, frame1) - expected("merged2")).abs().max() > 0.05
    close(turned(frame0.flip(1), frame1.flip(1)).flip(1), expected("merged2"), 1e-4)


@torch.no_grad()
def test_each_sample_has_its_own_time():
    torch.manual_seed(0)
    network = leadline.create("rife-m").eval()
    frames = torch.rand(2, 2, 3, 32, 48)
    times = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1)
    both = network(frames[0], frames[1], times)
    for k in range(2):
        close(network(frames[0, k : k + 1], frames[1, k : k + 1], times[k : k + 1]), both[k : k + 1], 1e-5)


def prefixed(weights: dict) -> dict:
    return {f"module.{key}": value for key, value in weights.items()}


@torch.no_grad()
def test_checkpoints_with_and_without_prefix_and_teacher(tmp_path):
    torch.manual_seed(3)
    whole = leadline.create("rife").state_dict()
    bare = {key: value for key, value in whole.items() if not key.startswith("block_tea.")}
    torch.save(prefixed(whole), tmp_path / "flownet.pkl")
    frames = torch.rand(2, 1, 3, 32, 32)
    expected = leadline.import_upstream("rife", whole)(*frames)
    for content in (tmp_path / "flownet.pkl", prefixed(bare), bare):
        network = leadline.import_upstream("rife", content)
        assert torch.equal(network(*frames), expected)
        assert network.config.teacher == (content is not bare and isinstance(content, type(tmp_path)))
    assert leadline.import_upstream("rife", whole, teacher=False).block_tea is None
    with pytest.raises(UserError, match=r"missing block_tea"):
        leadline.import_upstream("rife", bare, teacher=True)
    with pytest.raises(UserError, match=r"block0.conv0.0.0.weight is \(120, 6, 3, 3\) for \(120, 7, 3, 3\)"):
        leadline.import_upstream("rife-m", whole)


@pytest.mark.parametrize(
    ("config", "multiple"),
    [({}, 16), ({"scale": 0.5}, 32), ({"scale": 0.25}, 64), ({"scale": 2.0}, 16), ({"large": True}, 8)],
)
@torch.no_grad()
def test_sizes(config, multiple):
    network = leadline.create("rife", teacher=False, **config).eval()
    assert network.padded_size(1, multiple + 1) == (multiple, 2 * multiple)
    frames = torch.rand(2, 1, 3, multiple, 2 * multiple)
    assert network(*frames).shape == (1, 3, multiple, 2 * multiple)
    with pytest.raises(UserError, match=f"multiples of {multiple}"):
        network(*torch.rand(2, 1, 3, multiple, 2 * multiple + 1))


def test_scales_that_there_are_not():
    with pytest.raises(UserError, match=r"scale 3\.0 is none of 0\.25, 0\.5, 1, 2, 4"):
        leadline.create("rife", scale=3.0)


def test_every_parameter_learns_and_no_gradient_is_nan():
    torch.manual_seed(0)
    network = leadline.create("rife-m").train()
    frames = torch.rand(3, 1, 3, 32, 32)
    found, own = network.forward_supervised((frames[0], frames[1], torch.full((1, 1, 1, 1), 0.3)), frames[2])
    assert own["flows"].shape == (3, 1, 4, 32, 32)
    (laplacian_distance(found[-1], frames[2]) + own["teacher"] + 0.01 * own["distillation"]).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


def test_the_distillation_is_finite_where_student_and_teacher_agree():
    torch.manual_seed(0)
    network = leadline.create("rife")
    torch.nn.init.zeros_(network.block_tea.lastconv.weight)
    torch.nn.init.zeros_(network.block_tea.lastconv.bias)
    frames = torch.rand(3, 1, 3, 32, 32)
    network.forward_supervised((frames[0], frames[1]), frames[2])[1]["distillation"].backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_warping_is_that_of_the_original():
    with np.load(shared_parity("ops_parity.npz")) as parity:
        image, flow, expected = (torch.from_numpy(parity[f"rife/warp/{key}"]) for key in ("img", "flow", "out"))
    close(warp_clamped(image, flow), expected, 1e-5)
