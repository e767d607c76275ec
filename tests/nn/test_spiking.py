"""Neurons and codes against snnTorch and against closed forms."""

import pytest
import torch
from torch import nn

from leadline.nn.spiking import (
    IntegrateAndFire,
    LeakyIntegrateAndFire,
    decode_mean,
    direct_code,
    latency_code,
    rate_code,
    spike,
)

snntorch = pytest.importorskip("snntorch")
spikegen = pytest.importorskip("snntorch.spikegen")
STEPS = 8


def test_leaky_neuron_is_snntorchs_forward_and_backward():
    from snntorch import surrogate

    current = torch.randn(STEPS * 3, 5, 2, requires_grad=True)
    again = current.detach().clone().requires_grad_()
    mine = LeakyIntegrateAndFire(STEPS, beta=0.8)(current)
    neuron = snntorch.Leaky(beta=0.8, threshold=1.0, spike_grad=surrogate.atan(alpha=2.0))
    membrane, spikes = neuron.init_leaky(), []
    for now in again.chunk(STEPS):
        fired, membrane = neuron(now, membrane)
        spikes.append(fired)
    theirs = torch.cat(spikes)
    assert 0.05 < mine.mean() < 0.95
    assert torch.equal(mine, theirs)
    weights = torch.randn_like(mine)
    (mine * weights).sum().backward()
    (theirs * weights).sum().backward()
    # snnTorch lets no gradient through the reset; what is left of the difference is that path.
    first = slice(-3, None)  # the last step's current has none after it
    torch.testing.assert_close(current.grad[first], again.grad[first])


def test_surrogate_is_the_derivative_of_an_arctangent():
    over = torch.linspace(-2, 2, 9, dtype=torch.double, requires_grad=True)
    smooth = over.detach().clone().requires_grad_()
    spike(over, alpha=2.0).sum().backward()
    (torch.atan(torch.pi / 2 * 2.0 * smooth) / torch.pi).sum().backward()
    torch.testing.assert_close(over.grad, smooth.grad)


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_integrate_and_fire_is_a_rounded_and_clipped_relu(steps):
    current = torch.linspace(-1, 3, 401)[:, None]
    mean = decode_mean(IntegrateAndFire(steps, threshold=2.0)(direct_code(current, steps)), steps)
    expected = 2.0 / steps * torch.floor(current * steps / 2.0 + 0.5).clamp(0, steps)
    off = (mean - expected).abs() > 1e-5
    assert off.float().mean() < 0.02  # ties of rounding
    assert (mean - current.clamp(0, 2)).abs().max() <= 1.0 / steps + 1e-5


def test_rate_codes():
    x = torch.rand(2, 3, 4, 5)
    spikes = rate_code(x, STEPS)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    assert (decode_mean(spikes, STEPS) - x).abs().max() <= 1 / STEPS
    torch.manual_seed(0)
    mine = rate_code(x, 500, random=True).unflatten(0, (500, 2)).mean(0)
    theirs = spikegen.rate(x, num_steps=500).mean(0)
    assert (mine - theirs).abs().max() < 0.15
    assert (mine - x).abs().mean() < 0.02


def test_latency_code_is_snntorchs():
    x = torch.rand(2, 3, 4) * 0.9 + 0.05
    mine = latency_code(x, STEPS).unflatten(0, (STEPS, 2))
    theirs = spikegen.latency(x, num_steps=STEPS, linear=True, normalize=True, threshold=0.01)
    assert torch.equal(mine.sum(0), torch.ones_like(x))
    assert torch.equal(mine.argmax(0), theirs.argmax(0))


def test_convolutions_between_neurons_see_every_step():
    layer, x = nn.Conv2d(2, 3, 3, padding=1), torch.rand(2, 2, 5, 6)
    together = layer(direct_code(x, 3)).unflatten(0, (3, 2))
    for step in together:
        torch.testing.assert_close(step, layer(x))
