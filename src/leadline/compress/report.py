"""What pruning did to a network, layer by layer and in all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from leadline.compress.choice import weighted_layers
from leadline.compress.prune_filters import count_macs
from leadline.models import Network


@dataclass(frozen=True)
class LayerChange:
    """One layer."""

    layer: str
    before: tuple[int, ...]  # shape of the weight
    after: tuple[int, ...]
    zeros: float  # share of what is left


@dataclass(frozen=True)
class Change:
    """A network before and after."""

    layers: list[LayerChange]
    parameters: tuple[int, int]  # before, after
    nonzero: tuple[int, int]  # parameters that are not 0
    macs: tuple[int, int]  # for images of 128x256 px, or what the network takes above it; zeros count

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(before: Network, after: Network) -> Change:
    """What differs between a network and its pruned copy."""
    old, new = ({name: _weight(m) for name, m in weighted_layers(n).items()} for n in (before, after))
    layers = [
        LayerChange(name, tuple(old[name].shape), tuple(weight.shape), float((weight == 0).float().mean()))
        for name, weight in new.items()
    ]
    counts = [_counts(network) for network in (before, after)]
    return Change(
        layers, (counts[0][0], counts[1][0]), (counts[0][1], counts[1][1]), (count_macs(before), count_macs(after))
    )


def _counts(network: Network) -> tuple[int, int]:
    """All parameters as the network computes with them, and those that are not 0."""
    of_layers = {id(m): _weight(m) for m in weighted_layers(network).values()}
    stored = [p for name, p in network.named_parameters() if "parametrizations.weight" not in name]
    plain = [p for p in stored if not any(p is weight for weight in of_layers.values())]
    values = [*plain, *of_layers.values()]
    return sum(v.numel() for v in values), sum(int(v.count_nonzero()) for v in values)


def _weight(module: Any) -> Tensor:
    return module.weight
