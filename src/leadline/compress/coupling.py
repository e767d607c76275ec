"""Which channels of a network can only go together, and which can go at all.

`channel_flow.py` finds what is coupled: residual sums, concatenations in any order, grouped and depthwise convolutions,
the encoder that both views share. That, too, is tried: a quarter of the channels that seem free is removed from a copy,
and made zero in another. Where the two differ in what they predict, or the first does not run (a number in the code
counts on them), the culprits are found by halving, and stay.

Torch-Pruning's dependency graph (G. Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023) has the same
aim and is what the tests compare with; version 1.6.1 cannot follow plummet's volumes (it fails in its index mapping)
and does not end within minutes on MobileStereoNet's.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from leadline.compress.channel_flow import follow
from leadline.models import Network
from leadline.predict.predictor import VIEWS
from leadline.surgeries.prune_channels import is_depthwise, keep_channels, widths

TRIED = 0.25  # share of the channels that a trial removes
EXACT = 1e-4  # a difference beyond this share of what zeroing does is none of rounding
SMALL = (32, 64)  # px (h, w) of the noise that networks are tried on, or what they take above it


@dataclass(frozen=True)
class Piece:
    """What of one layer belongs to a set: channel `places[i]` of its outputs or inputs to unit `units[i]`."""

    layer: str
    side: str  # "out", "in"; "both" where outputs are inputs (BatchNorm, PReLU, depthwise)
    places: Int[Tensor, " n"]
    units: Int[Tensor, " n"]


@dataclass(frozen=True)
class ChannelSet:
    """Units 0 .. count - 1 that run through several layers, each of which goes everywhere or nowhere.

    A unit is one channel of each, or several where groups of a convolution have to stay equally large.
    """

    name: str  # the layer whose outputs they are
    count: int
    pieces: tuple[Piece, ...] = field(repr=False)


Removal = Mapping[str, Int[Tensor, " n"]]  # by name of the set: the units that go


def find_sets(network: Network) -> tuple[list[ChannelSet], dict[str, str]]:
    """The sets of channels that can be pruned, and why those of other layers cannot, by layer."""
    candidates, refused = _candidates(network)
    good = _trustworthy(network, candidates)
    names = {one.name for one in good}
    refused |= {one.name: "something counts these channels" for one in candidates if one.name not in names}
    return good, refused


def remove(network: Network, sets: Iterable[ChannelSet], removal: Removal) -> dict[str, list[int]]:
    """Removes channels from a network in place; gives the new [outputs, inputs] of each layer that changed."""
    gone: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    for one in sets:
        channels = removal.get(one.name)
        if channels is None or len(channels) == 0:
            continue
        for piece in one.pieces:
            gone[piece.layer, piece.side].append(piece.places[torch.isin(piece.units, channels)])
    changed: dict[str, list[int]] = {}
    for layer in dict.fromkeys(layer for layer, _ in gone):
        module = network.get_submodule(layer)
        outputs, inputs = widths(module)
        both = gone.get((layer, "both"), [])
        keep_channels(
            module, _rest(outputs, [*both, *gone.get((layer, "out"), [])]), _rest(inputs, gone.get((layer, "in"), []))
        )
        changed[layer] = list(widths(module))
    return changed


def _rest(count: int, gone: Sequence[Tensor]) -> Tensor | None:
    if not gone:
        return None
    keep = torch.ones(count, dtype=torch.bool)
    keep[torch.cat(list(gone))] = False
    return keep.nonzero().flatten()


def silence(network: Network, sets: Iterable[ChannelSet], removal: Removal) -> None:
    """Makes channels zero instead, where they come from and where they go to; in place."""
    with torch.no_grad():
        for one in sets:
            for piece in one.pieces if one.name in removal else ():
                module = network.get_submodule(piece.layer)
                places = piece.places[torch.isin(piece.units, removal[one.name])]
                weight_of(module, piece.side, places, zero=True)


def weight_of(module: nn.Module, side: str, places: Tensor, zero: bool = False, like: Tensor | None = None) -> Tensor:
    """The weights of these channels of a layer, (channels, numbers per channel); made 0 in place with `zero`.

    Args:
        side: "out", "in" or "both".
        like: read from this tensor (a gradient) instead of the weight.
    """
    source: Tensor = module.weight if like is None else like  # type: ignore[assignment]
    if isinstance(module, nn.PReLU):
        return source.new_zeros(len(places), 1)  # 0 stays 0 in it, whatever its slope
    axis, within = 0, places
    if isinstance(module, _ConvNd) and not is_depthwise(module):
        axis = int((side == "in") != isinstance(module, _ConvTransposeNd))
        within = places % source.shape[axis]  # of grouped convolutions axis 1 has the places in a group
    elif isinstance(module, nn.Linear):
        axis = int(side == "in")
    if zero:
        source.index_fill_(axis, within, 0.0)
        bias = getattr(module, "bias", None)
        if bias is not None and side != "in":
            bias.index_fill_(0, places, 0.0)
    return source.index_select(axis, within).movedim(axis, 0).flatten(1) if source.ndim > 1 else source[within][:, None]


def _candidates(network: Network) -> tuple[list[ChannelSet], dict[str, str]]:
    """The sets of coupled channels, by the layer that gives them first."""
    copied = copy.deepcopy(network).float().cpu().eval()
    flow = follow(copied, noise(network), copied.forward_all)
    places: dict[int, list[tuple[str, str, int]]] = defaultdict(list)  # of each channel
    for meeting in flow.meetings:
        for place, number in enumerate(meeting.numbers.tolist()):
            entry = (meeting.layer, meeting.side, place)
            if entry not in places[number]:
                places[number].append(entry)
    by_layers: dict[tuple, list[list[tuple[str, str, int]]]] = defaultdict(list)
    for numbers in flow.groups():
        entries = [entry for number in numbers.tolist() for entry in places[number]]
        by_layers[tuple(dict.fromkeys(entry[:2] for entry in entries))].append(entries)
    sets: list[ChannelSet] = []
    for units in by_layers.values():
        sets.append(_set_of(units, {one.name for one in sets}))
    giving = {meeting.layer for meeting in flow.meetings if meeting.side == "out"}
    pruned = {piece.layer for one in sets for piece in one.pieces if piece.side == "out"}
    return sets, dict.fromkeys(sorted(giving - pruned), "something counts these channels")


def _set_of(units: list[list[tuple[str, str, int]]], taken: set[str]) -> ChannelSet:
    found: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for unit, entries in enumerate(units):
        for layer, side, place in entries:
            found[layer, side].append((place, unit))
    pieces = []
    for (layer, side), pairs in found.items():
        places, roots = torch.tensor(sorted(set(pairs))).unbind(1)
        pieces.append(Piece(layer, side, places, roots))
    name = next((piece.layer for piece in pieces if piece.side == "out"), pieces[0].layer)
    while name in taken:  # a layer whose channels go different ways
        name += " (others)"
    return ChannelSet(name, len(units), tuple(pieces))


def _trustworthy(network: Network, candidates: list[ChannelSet]) -> list[ChannelSet]:
    """Those sets whose removal is what zeroing them is, found by halving."""
    exact = copy.deepcopy(network).cpu().double().eval()
    images = tuple(image.double() for image in noise(network))
    original = _outputs(exact, images)
    assert original is not None

    def holds(sets: list[ChannelSet]) -> bool:
        removal = {one.name: _drawn(one) for one in sets}
        cut, zeroed = copy.deepcopy(exact), copy.deepcopy(exact)
        silence(zeroed, sets, removal)
        expected = _outputs(zeroed, images)
        try:
            remove(cut, sets, removal)
            found = _outputs(cut, images)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, ZeroDivisionError):
            return False
        if found is None or expected is None or found.shape != expected.shape:
            return False
        difference, effect = (found - expected).abs().mean(), (expected - original).abs().mean()
        return bool(difference <= EXACT * effect + 1e-9)

    def search(sets: list[ChannelSet]) -> list[ChannelSet]:
        if not sets:
            return []
        if holds(sets):
            return sets
        if len(sets) == 1:
            return []
        middle = len(sets) // 2
        return search(sets[:middle]) + search(sets[middle:])

    return search([one for one in candidates if one.count > 1])


def _outputs(network: Network, images: tuple[Tensor, ...]) -> Tensor | None:
    with torch.no_grad():
        return torch.cat([prediction.double().flatten() for prediction in network.forward_all(*images)])


def _drawn(one: ChannelSet) -> Tensor:
    generator = torch.Generator().manual_seed(one.count)
    return torch.randperm(one.count, generator=generator)[: max(1, int(TRIED * one.count))]


def noise(network: Network) -> tuple[Tensor, ...]:
    """Images of noise of the smallest size that says something."""
    generator = torch.Generator().manual_seed(0)
    size = network.padded_size(*SMALL)
    return tuple(torch.rand(1, 3, *size, generator=generator) for _ in VIEWS[network.task])
