"""Pruning of whole channels: scores, the choice of what goes, and the removal with all that is coupled."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from leadline.compress.choice import choose_layers
from leadline.compress.coupling import ChannelSet, Piece, find_sets, remove, weight_of
from leadline.compress.examples import gradients_of, read_samples
from leadline.errors import UserError, unknown_name
from leadline.evaluation.runner import Samples
from leadline.models import Network
from leadline.models.counting import countable, counted
from leadline.predict.predictor import VIEWS
from leadline.surgeries import prune_channels, with_plain_weights

CRITERIA = ("bn-scale", "l1", "l2", "group", "taylor", "rank")
LEAST_LEFT = 0.125  # share of each set that a search for a target leaves
MOST = 0.95  # share of the channels that a search removes at most
SEARCH_STEPS = 8
Scores = dict[str, Float[Tensor, " units"]]


def prune_filters(
    network: Network,
    criterion: str,
    *,
    amount: float | None = None,
    reach: tuple[float, Callable[[Network], float]] | None = None,
    scope: str = "global",
    round_to: int = 1,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    data: Samples | str | None = None,
) -> Network:
    """Removes channels from a network in place, and records it.

    Args:
        criterion: one of CRITERIA.
        amount: share of the channels that can go which goes; or
        reach: a cost to be reached by removing as few as possible: its target, and what measures it.
        scope: "global": the least needed of all sets; "layer": the same share of each.
        round_to: what is left of each set is a multiple of this, as far as it has so many.
        only, exclude: as `choose_layers`; a set goes with the layers that give its channels.
        data: pairs with truth, for taylor; any pairs, for rank.

    Raises:
        UserError: an unknown criterion, one that needs BatchNorms where there are none, a layer that would be left
            empty, a target out of reach, or a network in which nothing can be pruned.
    """
    if criterion not in CRITERIA:
        raise unknown_name("criterion for filters", criterion, list(CRITERIA))
    if criterion == "bn-scale" and not any(isinstance(m, _BatchNorm) and m.affine for m in network.modules()):
        raise UserError(
            f"criterion bn-scale: {network.name} has no BatchNorm whose scales could tell: take l1, l2, group, taylor "
            "or rank"
        )
    sets = _chosen(network, only, exclude)
    scores = score_sets(network, sets, criterion, data)
    sets = [one for one in sets if one.name in scores]

    def pruned(share: float, least: float) -> tuple[Network, dict[str, list[int]]]:
        smaller = copy.deepcopy(network)
        return smaller, remove(smaller, sets, choose(scores, share, scope, round_to, least))

    if reach is not None:
        amount = _search(lambda share: reach[1](pruned(share, LEAST_LEFT)[0]), reach[0])
    assert amount is not None
    smaller, changed = pruned(amount, 0.0 if reach is None else LEAST_LEFT)
    record = {
        "kind": prune_channels.KIND, "criterion": criterion, "amount": round(amount, 4), "modules": changed,
    }  # fmt: skip
    smaller.surgeries = [*network.surgeries, record]
    return smaller


def _chosen(network: Network, only: Sequence[str], exclude: Sequence[str]) -> list[ChannelSet]:
    chosen = set(choose_layers(network, only, ()))
    left_out = set(choose_layers(network, exclude, ())) if exclude else set()
    sets, refused = find_sets(network)
    kept = []
    for one in sets:
        giving = {piece.layer for piece in one.pieces if piece.side == "out"}
        if giving & chosen and not giving & left_out:
            kept.append(one)
    if not kept:
        named = [layer for layer in refused if layer in chosen]
        why = f"{named[0]}: {refused[named[0]]} (planes, a volume, an output)" if named else "all are excluded"
        raise UserError(f"{network.name}: no filters of these layers can be removed: {why}: name others")
    return kept


def score_sets(network: Network, sets: Sequence[ChannelSet], criterion: str, data: Samples | str | None) -> Scores:
    """How much each unit of each set is needed; sets of which the criterion knows nothing are left out.

    bn-scale: mean |γ| of the unit's BatchNorms (Liu et al., ICCV 2017). l1, l2: norm of the filters that give it (Li
    et al., "Pruning Filters for Efficient ConvNets", ICLR 2017). group: norm of all weights that it has anywhere, where
    it comes from and where it goes to (Fang et al., CVPR 2023). taylor: |Σ w g| of the filters, the first-order change
    of the error (Molchanov et al., CVPR 2019). rank: mean rank of its feature map after ReLU (Lin et al., "HRank", CVPR
    2020). All but taylor, which is in px anyway, are divided by their mean in the set, so
    that sets can be compared.
    """
    gradients = gradients_of(network, read_samples(data, network)) if criterion == "taylor" else {}
    ranks = _ranks(network, sets, data) if criterion == "rank" else {}
    scores: Scores = {}
    for one in sets:
        total, found = torch.zeros(one.count), 0
        for piece in one.pieces:
            values = _piece_score(network, piece, criterion, gradients, ranks)
            if values is not None:
                total.index_add_(0, piece.units, values)
                found += 1
        if found == 0:
            continue
        if criterion in ("l2", "group"):
            total = total.sqrt()
        scores[one.name] = total if criterion == "taylor" else total / total.mean().clamp(min=1e-12)
    if not scores:
        raise UserError(f"criterion {criterion} says nothing of these layers: take l1, l2, group, taylor or rank")
    return scores


def _piece_score(
    network: Network, piece: Piece, criterion: str, gradients: dict[str, Tensor], ranks: dict[str, Tensor]
) -> Float[Tensor, " n"] | None:
    """What a layer says of its channels, one number for each place; None: nothing."""
    module = network.get_submodule(piece.layer)
    if criterion == "rank":
        return ranks[piece.layer][piece.places] if piece.layer in ranks else None
    is_norm = isinstance(module, _BatchNorm)
    if criterion == "bn-scale":
        return module.weight.detach().abs()[piece.places] if is_norm and module.affine else None
    if is_norm or isinstance(module, nn.PReLU) or (piece.side == "in" and criterion != "group"):
        return None
    weights = weight_of(module, piece.side, piece.places).detach()
    if criterion == "taylor":
        gradient = gradients.get(f"{piece.layer}.weight")
        if gradient is None:  # a head of training alone
            return None
        return (weights * weight_of(module, piece.side, piece.places, like=gradient)).sum(1).abs()
    return weights.abs().sum(1) if criterion == "l1" else weights.square().sum(1)


def _ranks(network: Network, sets: Sequence[ChannelSet], data: Samples | str | None) -> dict[str, Tensor]:
    """Mean rank of what each layer gives, by channel; of a BatchNorm where there is one, else of the convolution."""
    norms = {p.layer for one in sets for p in one.pieces if isinstance(network.get_submodule(p.layer), _BatchNorm)}
    with_norm = {one.name for one in sets if any(piece.layer in norms for piece in one.pieces)}
    watched = norms | {p.layer for one in sets if one.name not in with_norm for p in one.pieces if p.side == "out"}
    found: dict[str, list[Tensor]] = {name: [] for name in watched}

    def watch(name: str) -> Callable[..., None]:
        return lambda module, args, output: found[name].append(_rank(output))

    handles = [network.get_submodule(name).register_forward_hook(watch(name)) for name in watched]
    network.eval()
    try:
        with torch.no_grad():
            for batch in read_samples(data, network, limit=2):
                network(*batch.images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.stack(ranks).mean(0) for name, ranks in found.items() if ranks}


def _rank(output: Tensor) -> Float[Tensor, " c"]:
    maps = output.detach().relu()
    if maps.ndim == 3:  # tokens: channels last
        maps = maps.transpose(1, 2).unsqueeze(-1)
    maps = maps.transpose(0, 1).flatten(1, -3) if maps.ndim > 4 else maps.transpose(0, 1)
    return torch.linalg.matrix_rank(maps.float()).float().mean(1)


def choose(
    scores: Scores, amount: float, scope: str = "global", round_to: int = 1, least: float = 0.0
) -> dict[str, Tensor]:
    """The units that go, by set: those of lowest score.

    Args:
        least: share of each set that is left in any case.

    Raises:
        UserError: a layer would be left without a channel.
    """
    limit = None
    if scope == "global":
        ordered = torch.cat(list(scores.values())).sort().values
        gone = int(amount * len(ordered) + 1e-6)
        limit = ordered[gone] if gone < len(ordered) else torch.tensor(float("inf"))
    removal = {}
    for name, values in scores.items():
        count = len(values)
        left = int((values >= limit).sum()) if limit is not None else count - int(amount * count + 1e-6)
        left = max(left, round(least * count))
        if left == 0:
            raise UserError(
                f"pruning {amount:g} would leave {name} without a channel: prune less, exclude it, or give each layer "
                "the same share (scope layer)"
            )
        left = min(count, -(-left // round_to) * round_to)
        removal[name] = values.argsort(stable=True)[: count - left]
    return removal


def _search(cost: Callable[[float], float], target: float) -> float:
    """The least share to be removed for which the cost is at most the target."""
    low, high = 0.0, MOST
    smallest = cost(high)
    if smallest > target:
        raise UserError(
            f"target {target:g}x is out of reach: with {MOST:.0%} of the channels gone it is {smallest:.2f}x"
        )
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high


def count_macs(network: Network, size: tuple[int, int] = (128, 256)) -> int:
    """Multiply-accumulates of the convolutions and matrix products for images of this size, padded as need be."""
    images = [torch.zeros(1, 3, *network.padded_size(*size)) for _ in VIEWS[network.task]]
    plain = countable(with_plain_weights(network)).cpu()  # the counter cannot look into parametrisations
    with counted() as counter:
        plain(*images)
    return counter.get_total_flops() // 2
