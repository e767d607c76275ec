"""Weights that are computed from something smaller: masked, or read from a codebook.

Both are parametrisations of `torch.nn.utils.parametrize`: `module.weight` stays what everything else reads, gradients
reach what is stored, and a deep copy, an optimizer or another surgery sees an ordinary module.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.utils import parametrize

from leadline.models import Network


class Stored(nn.Module):
    """Base of the parametrisations here; `forward(stored)` gives the weight."""


def stored_in(module: nn.Module, kind: type[Stored] = Stored) -> Stored | None:
    """The parametrisation of this kind on a module's weight."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    steps = module.parametrizations["weight"]  # type: ignore[index]
    return next((step for step in steps if isinstance(step, kind)), None)


def layers_stored(network: nn.Module, kind: type[Stored]) -> Iterator[tuple[str, nn.Module, Stored]]:
    """Name, module and parametrisation of each layer whose weight is stored in this way."""
    for name, module in network.named_modules():
        step = stored_in(module, kind)
        if step is not None:
            yield name, module, step


def make_plain(module: nn.Module) -> None:
    """Puts the computed weight in the place of what it is computed from.

    Not by `parametrize.remove_parametrizations`: that takes the property off the class, which a deep copy shares.
    """
    weight: Tensor = module.weight  # type: ignore[assignment]
    if list(module.parametrizations) != ["weight"]:  # type: ignore[arg-type]
        raise ValueError("something beside the weight is parametrised")
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]  # the layer's own
    module.weight = nn.Parameter(weight.detach().clone())


def with_plain_weights(network: Network) -> Network:
    """The network with plain weights, as exporters want it: a copy, or itself where all are plain.

    The copy computes exactly the same, and keeps name, surgeries and provenance; it is not for saving.
    """
    if next(layers_stored(network, Stored), None) is None:
        return network
    plain = copy.deepcopy(network)
    for _, module, _ in list(layers_stored(plain, Stored)):
        steps = module.parametrizations["weight"]  # type: ignore[index]
        if all(isinstance(step, Stored) for step in steps):  # others know best themselves
            make_plain(module)
    return plain
