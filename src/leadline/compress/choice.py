"""Which layers of a network compression works on, and what users call them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from leadline.errors import UserError, unknown_name

WEIGHTED = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear,
)  # fmt: skip


def weighted_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and linear layers by their path, in the order of the network."""
    return {name: module for name, module in network.named_modules() if isinstance(module, WEIGHTED)}


def choose_layers(network: nn.Module, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> dict[str, nn.Module]:
    """The layers that are named, less the excluded ones; all where none is named.

    Args:
        only, exclude: paths of layers or of what holds them ("encoder"), or patterns ("encoder.*.first.0").

    Raises:
        UserError: a name that fits no layer (with the nearest one), or nothing left.
    """
    layers = weighted_layers(network)
    named = set().union(*(matching(layers, pattern) for pattern in only)) if only else set(layers)
    left_out = set().union(*(matching(layers, pattern) for pattern in exclude)) if exclude else set()
    chosen = {name: module for name, module in layers.items() if name in named - left_out}
    if not chosen:
        raise UserError("every layer that is named is excluded as well: leave one of them out")
    return chosen


def matching(layers: dict[str, nn.Module], pattern: str) -> set[str]:
    """The layers that a name or pattern stands for. Raises UserError where there is none."""
    found = {name for name in layers if name == pattern or name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)}
    if not found:
        holders = {name.rsplit(".", depth)[0] for name in layers for depth in range(1, name.count(".") + 1)}
        raise unknown_name("layer", pattern, sorted(set(layers) | holders))
    return found
