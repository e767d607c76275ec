"""Exchanges normalisations and activations of a network that is already built of BatchNorm and ReLU."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from leadline.nn.normalization import ChannelLayerNorm, FrozenBatchNorm
from leadline.nn.spiking import IntegrateAndFire, LeakyIntegrateAndFire
from leadline.nn.units.parts import Parts


def swap_norms(network: nn.Module, kind: str) -> None:
    """Puts normalisations of a kind in the place of every BatchNorm2d; BatchNorm3d stays."""
    kinds: dict[str, Callable[[int], nn.Module]] = {
        "frozen": FrozenBatchNorm,
        "group": lambda channels: nn.GroupNorm(math.gcd(channels, 8), channels),
        "layer": ChannelLayerNorm,
        "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    }
    if kind != "batch":
        _swap(network, nn.BatchNorm2d, lambda norm: kinds[kind](norm.num_features))


def swap_activations(network: nn.Module, parts: Parts) -> None:
    """Puts spiking neurons in the place of every ReLU."""
    if parts.neuron == "lif":
        _swap(network, nn.ReLU, lambda relu: LeakyIntegrateAndFire(parts.time_steps))
    elif parts.neuron == "if":
        _swap(network, nn.ReLU, lambda relu: IntegrateAndFire(parts.time_steps))


def _swap(network: nn.Module, old: type[nn.Module], new: Callable[..., nn.Module]) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is old:
                setattr(module, name, new(child))
