"""Spiking neurons: leaky integrate-and-fire with surrogate gradients, spike codes, and what a ReLU becomes.

Time lies in the batch: a map of T steps is (T * b, c, h, w), step by step, so that convolutions and BatchNorm between
neurons run over all steps at once and know nothing of time.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, over: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(over)
        ctx.alpha = alpha
        return (over > 0).to(over.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (over,) = ctx.saved_tensors
        slope = ctx.alpha / 2 / (1 + (math.pi / 2 * ctx.alpha * over).square())
        return gradients[0] * slope, None


def spike(over: Float[Tensor, ...], alpha: float = 2.0) -> Float[Tensor, ...]:
    """1 where a membrane is over its threshold, else 0; the gradient is that of atan(pi / 2 * alpha * over) / pi.

    Source: Fang et al., "Incorporating Learnable Membrane Time Constant", ICCV 2021 (the arctangent surrogate).
    """
    if torch.compiler.is_exporting():
        return (over > 0).to(over.dtype)
    return _Spike.apply(over, alpha)


class LeakyIntegrateAndFire(nn.Module):
    """A leaky membrane per value, that fires when it passes 1 and is then lowered by 1.

        u[t] = beta * u[t - 1] + x[t] - s[t - 1]        s[t] = 1 where u[t] > 1, else 0

    Shapes: (steps * b, ...) -> the same, 0 and 1. MACs: none; one multiplication per value and step.
    Source: Eshraghian et al., "Training Spiking Neural Networks Using Lessons From Deep Learning", Proc. IEEE 2023
    (snnTorch's `Leaky`, reset by subtraction), surrogate gradient as `spike`.

    Args:
        steps: T.
        beta: what is left of the membrane after a step, 0 .. 1; learned per neuron layer from there.
    """

    def __init__(self, steps: int, beta: float = 0.9):
        super().__init__()
        self.steps = steps
        self.beta = nn.Parameter(torch.tensor(beta))

    def forward(self, current: Float[Tensor, "tb ..."]) -> Float[Tensor, "tb ..."]:
        beta = self.beta.clamp(0, 1)
        membrane = fired = torch.zeros_like(current[: current.shape[0] // self.steps])
        spikes = []
        for now in current.chunk(self.steps):
            membrane = beta * membrane + now - fired
            fired = spike(membrane - 1)
            spikes.append(fired)
        return torch.cat(spikes)


class IntegrateAndFire(nn.Module):
    """What a ReLU becomes when a trained network is made to spike: spikes whose mean over time is nearly relu(mean x).

    A membrane without leak gathers the current and fires once for each `threshold` gathered, sending `threshold`.
    It begins half full, which makes the mean rounded and not rounded down. The mean of constant current x over T
    steps is threshold / T * clip(floor(x T / threshold + 1/2), 0, T): off by at most threshold / (2 T) up to the
    threshold, and no more than the threshold beyond.

    Shapes: (steps * b, ...) -> the same, 0 and `threshold`. MACs: none; additions alone.
    Source: Rueckauer et al., "Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven Networks",
    Frontiers in Neuroscience 2017; half charge: Bu et al., "Optimal ANN-SNN Conversion", ICLR 2022.
    """

    threshold: Tensor

    def __init__(self, steps: int, threshold: float = 1.0):
        super().__init__()
        self.steps = steps
        self.register_buffer("threshold", torch.tensor(threshold))

    def forward(self, current: Float[Tensor, "tb ..."]) -> Float[Tensor, "tb ..."]:
        membrane = torch.zeros_like(current[: current.shape[0] // self.steps]) + self.threshold / 2
        spikes = []
        for now in current.chunk(self.steps):
            membrane = membrane + now
            fired = spike(membrane - self.threshold * (1 - 1e-6)) * self.threshold  # full counts as over
            membrane = membrane - fired
            spikes.append(fired)
        return torch.cat(spikes)


def direct_code(x: Float[Tensor, "b ..."], steps: int) -> Float[Tensor, "tb ..."]:
    """The values themselves as a current that stays; the first layer makes spikes of them."""
    return torch.cat([x] * steps)


def rate_code(x: Float[Tensor, "b ..."], steps: int, random: bool = False) -> Float[Tensor, "tb ..."]:
    """Spikes whose share of the steps is x, 0 .. 1.

    Args:
        random: each step drawn on its own (Bernoulli), as snnTorch's `spikegen.rate`; else evenly spaced, always the
            same, and off by less than 1 / steps.
    """
    if random:
        return (torch.rand(steps, *x.shape, device=x.device) < x).to(x.dtype).flatten(0, 1)
    times = torch.arange(steps + 1, device=x.device, dtype=x.dtype)
    counts = torch.floor(x * times.view(-1, *(1,) * x.dim()) + 1e-6)
    return (counts[1:] - counts[:-1]).flatten(0, 1)


def latency_code(x: Float[Tensor, "b ..."], steps: int) -> Float[Tensor, "tb ..."]:
    """One spike per value, the earlier the larger: 1 at the first step, 0 at the last; x in 0 .. 1.

    Source: linear time to first spike, as snnTorch's `spikegen.latency(linear=True, normalize=True)`.
    """
    when = torch.round((1 - x.clamp(0, 1)) * (steps - 1))
    times = torch.arange(steps, device=x.device, dtype=x.dtype).view(-1, *(1,) * x.dim())
    return (when == times).to(x.dtype).flatten(0, 1)


def decode_mean(spikes: Float[Tensor, "tb ..."], steps: int) -> Float[Tensor, "b ..."]:
    """The mean over time."""
    return torch.stack(spikes.chunk(steps)).mean(0)
