"""Registration against motion that is known in closed form."""

import torch

from leadline.nn.registration import adopt_neighbours, keep_better, register_flow, register_half, without_lighting

SIZE = (40, 56)


def _texture(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A smooth grey value at any place, (h, w) -> (1, 1, h, w) in [0, 1]."""
    value = torch.sin(0.7 * x + 0.2 * y) + torch.sin(0.35 * y - 0.15 * x) + 0.5 * torch.sin(0.5 * (x + y))
    return (value / 5 + 0.5)[None, None]


def _frames(u: float, v: float) -> tuple[torch.Tensor, torch.Tensor]:
    """frame1(x + u, y + v) = frame0(x, y)"""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SIZE), indexing="ij")
    return _texture(x, y), _texture(x - u, y - v)


def _inner(flow: torch.Tensor) -> torch.Tensor:
    return flow[..., 8:-8, 8:-8].mean((0, 2, 3))


def test_a_known_shift_is_found() -> None:
    frames, flow = _frames(0.8, -0.5), torch.zeros(1, 2, *SIZE)
    for _ in range(12):
        flow = register_flow(*frames, flow)
    torch.testing.assert_close(_inner(flow), torch.tensor([0.8, -0.5]), atol=0.03, rtol=0)


def test_the_half_flow_is_half_of_it() -> None:
    frames, flow = _frames(0.8, -0.5), torch.zeros(1, 2, *SIZE)
    for _ in range(12):
        flow = register_half(*frames, flow)
    torch.testing.assert_close(_inner(flow), torch.tensor([0.4, -0.25]), atol=0.015, rtol=0)


def test_exposure_does_not_matter_without_lighting() -> None:
    frame0, frame1 = _frames(0.8, -0.5)
    frames = without_lighting(frame0), without_lighting(0.7 * frame1 + 0.1)
    torch.testing.assert_close(without_lighting(0.7 * frame0 + 0.1), frames[0], atol=0.03, rtol=0)
    flow = torch.zeros(1, 2, *SIZE)
    for _ in range(12):
        flow = register_flow(*frames, flow)
    torch.testing.assert_close(_inner(flow), torch.tensor([0.8, -0.5]), atol=0.05, rtol=0)


def test_a_neighbour_that_knows_better_is_followed() -> None:
    frames = _frames(6.0, 0.0)
    right, flow = torch.tensor([6.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, *SIZE), torch.zeros(1, 2, *SIZE)
    flow[..., 20:24] = right[..., 20:24]
    adopted = adopt_neighbours(*frames, flow, reach=4, half=False)
    assert (adopted[0, 0, 10:-10, 25:28] > 5).float().mean() > 0.9


def test_what_agrees_worse_is_not_kept() -> None:
    frames = _frames(2.0, 0.0)
    right = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, *SIZE)
    wrong = -right
    torch.testing.assert_close(_inner(keep_better(*frames, right, wrong)), torch.tensor([2.0, 0.0]), atol=0.2, rtol=0)
    torch.testing.assert_close(_inner(keep_better(*frames, wrong, right)), torch.tensor([2.0, 0.0]), atol=0.2, rtol=0)
