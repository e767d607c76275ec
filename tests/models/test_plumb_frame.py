import numpy as np
import pytest
import torch

import leadline
from leadline import UserError
from leadline.models.plumb_frame import bilateral_correlation
from leadline.nn.registration import register_half


def pattern(x=0.0, y=0.0, size=(96, 128)) -> torch.Tensor:
    """A smooth colour pattern moved by (x, y) px."""
    rows, columns = torch.meshgrid(torch.arange(size[0]) - float(y), torch.arange(size[1]) - float(x), indexing="ij")
    waves = [torch.sin(columns / 7 + k) + torch.cos(rows / 6 - k) + torch.sin((rows + columns) / 23) for k in range(3)]
    return (0.5 + 0.15 * torch.stack(waves))[None]


def test_size():
    assert sum(p.numel() for p in leadline.create("plumb-frame").parameters()) < 700_000


@torch.no_grad()
def test_equal_frames_give_the_same_frame():
    torch.manual_seed(0)
    network = leadline.create("plumb-frame").eval()
    frame = torch.rand(1, 3, 32, 48)
    torch.testing.assert_close(network(frame, frame), frame, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [(6.0, 0.0), (-3.0, 5.0), (20.0, -11.0)])
@torch.no_grad()
def test_a_pattern_that_moves_evenly_is_in_the_middle(shift):
    """Before any training: what registration alone finds."""
    network = leadline.create("plumb-frame").eval()
    frames, middle = (pattern(), pattern(*shift)), pattern(shift[0] / 2, shift[1] / 2)
    frame, flows = network.forward_flows(*frames)
    inner = (..., slice(24, -24), slice(24, -24))
    assert (frame - middle)[inner].abs().mean() < 0.004
    assert ((frames[0] + frames[1]) / 2 - middle)[inner].abs().mean() > 0.007
    found = flows[-1][inner].mean((0, 2, 3))
    assert found.tolist() == pytest.approx([shift[0] / 2, shift[1] / 2], abs=0.2)
    assert all(flow.shape == (1, 2, 96, 128) for flow in flows)


@torch.no_grad()
def test_forwards_and_backwards_are_the_same():
    network = leadline.create("plumb-frame").eval()
    frames = pattern(), pattern(7, 3)
    torch.testing.assert_close(network(*frames), network(*frames[::-1]), atol=1e-3, rtol=0)


@torch.no_grad()
def test_registration_finds_a_fraction_of_a_pixel():
    flow = torch.zeros(1, 2, 96, 128)
    for _ in range(100):
        flow = register_half(pattern(), pattern(1.3, -0.7), flow)
    found = flow[..., 16:-16, 16:-16]
    for axis, expected in enumerate((0.65, -0.35)):
        assert (found[:, axis] - expected).abs().mean() < 0.04
        assert (found[:, axis] - expected).abs().max() < 0.15


@torch.no_grad()
def test_registration_carries_motion_into_what_has_no_texture():
    flat = torch.full((1, 3, 32, 32), 0.5)
    flow = torch.zeros(1, 2, 32, 32)
    flow[..., :8] = 1.0
    for _ in range(200):
        flow = register_half(flat, flat, flow)
    assert (flow[:, 0] - flow[:, 0].mean()).abs().max() < 0.25  # evened out
    assert torch.isfinite(flow).all()


@torch.no_grad()
def test_the_correlation_by_hand():
    torch.manual_seed(0)
    one, two = torch.randn(2, 1, 4, 6, 7)
    found = bilateral_correlation(one, two, reach=1)
    assert found.shape == (1, 9, 6, 7)
    for k, (dy, dx) in enumerate((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
        for y, x in ((0, 0), (2, 3), (5, 6)):
            a, b = (y - dy, x - dx), (y + dy, x + dx)
            inside = all(0 <= r < 6 and 0 <= c < 7 for r, c in (a, b))
            expected = torch.cosine_similarity(one[0, :, *a], two[0, :, *b], dim=0) if inside else torch.tensor(0.0)
            assert found[0, k, y, x].item() == pytest.approx(expected.item(), abs=1e-3)


def test_every_parameter_learns_in_the_end():
    torch.manual_seed(0)
    network = leadline.create("plumb-frame", steps=[1, 1, 1, 1, 1]).train()
    for conv in (network.match_sixteenth.correct, network.match_eighth.correct, network.match_quarter.correct):
        torch.nn.init.normal_(conv.weight, std=0.01)  # they begin at 0, and what is before them waits for a first step
    torch.nn.init.normal_(network.blending.last.weight, std=0.01)
    frames, own = network.forward_supervised(
        (pattern(size=(32, 48)), pattern(3, size=(32, 48))), pattern(1.5, size=(32, 48))
    )
    assert own["flows"].shape == (4, 1, 4, 32, 48)
    torch.testing.assert_close(own["flows"][:, :, :2], -own["flows"][:, :, 2:])
    (frames[-1].square().mean() + own["flows"].square().mean()).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


def test_what_it_does_not_take():
    with pytest.raises(UserError, match="multiples of 16"):
        leadline.create("plumb-frame").eval()(torch.rand(1, 3, 24, 32), torch.rand(1, 3, 24, 32))
    with pytest.raises(UserError, match="give five numbers"):
        leadline.create("plumb-frame", steps=[1, 2])


def test_a_checkpoint_keeps_its_steps(tmp_path):
    from leadline.checkpoint import load_network

    network = leadline.create("plumb-frame", steps=[2, 1, 1, 1, 0]).eval()
    leadline.save(network, tmp_path / "a.safetensors")
    again = load_network(tmp_path / "a.safetensors")
    assert again.config == network.config
    frames = pattern(size=(32, 32)), pattern(2, size=(32, 32))
    assert torch.equal(again(*frames), network(*frames))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config"), [("plumb-frame", {"steps": [1, 0, 0, 0, 1]}), ("rife-m", {"teacher": False})]
)
def test_onnx_gives_the_same_frame_at_any_size_and_time(name, config, tmp_path):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = leadline.create(name, **config).eval()
    artifact = leadline.export(network, "onnx", tmp_path, (32, 48), dynamic=True, threads=1)
    assert artifact.verified, artifact.manifest.verification
    assert artifact.manifest.inputs == ["frame0", "frame1", *(["time"] if name == "rife-m" else [])]
    predictor = leadline.load(tmp_path / "onnx")
    frames = [(pattern(x, size=(50, 70))[0].permute(1, 2, 0) * 255).byte().numpy() for x in (0, 4)]
    from leadline.predict import NetworkPredictor

    for time in (0.5, 0.2) if predictor.takes_time else (0.5,):
        expected = NetworkPredictor(network, "cpu").predict(*frames, time=time)
        assert np.abs(predictor.predict(*frames, time=time).astype(int) - expected).max() <= 1
