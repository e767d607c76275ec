"""Pruning of single weights, of vectors in kernels and of kernels: masks that stay through fine-tuning."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leadline.compress.choice import choose_layers
from leadline.compress.examples import gradients_of, read_samples
from leadline.errors import UserError, unknown_name
from leadline.evaluation.runner import Samples
from leadline.models import Network
from leadline.surgeries import prune_mask
from leadline.surgeries.parametrised import make_plain
from leadline.surgeries.prune_choice import Masks, least, n_of_m, score
from leadline.surgeries.prune_mask import install, masked_layers, unit_shape
from leadline.surgeries.share import shared_layers

CRITERIA = ("l1", "l2", "lamp", "taylor")
Layers = dict[str, nn.Module]


def prune_masks(
    network: Network,
    unit: str,
    criterion: str,
    amount: float,
    *,
    pattern: str | None = None,
    scope: str = "global",
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    data: Samples | str | None = None,
    grows: bool = False,
) -> Network:
    """Masks a network in place, and records it.

    Args:
        unit: "weight", "row", "column" or "kernel".
        criterion: one of CRITERIA.
        amount: share of the weights to be set to 0; with a pattern it follows from that.
        pattern: "n:m", such as "2:4": n of m consecutive input channels are kept.
        scope: "global": the least needed of all layers; "layer": the same share of each.
        only, exclude: as `choose_layers`.
        data: pairs with truth, for taylor.
        grows: mask nothing more yet; training will, up to `amount`.

    Raises:
        UserError: unknown layer or criterion, a layer that would be left empty, weights that are shared already.
    """
    if criterion not in CRITERIA:
        raise unknown_name("criterion for masks", criterion, list(CRITERIA))
    if shared_layers(network):
        raise UserError("its weights are shared already, and a codebook has no single weights: prune first, then share")
    before = {name: mask.keep for name, (_, mask) in masked_layers(network).items()}
    for name in before:
        make_plain(network.get_submodule(name))
    layers = _with_units(choose_layers(network, only, exclude), unit)
    if grows:
        masks = {name: torch.ones(_shape(module, unit), dtype=torch.bool) for name, module in layers.items()}
    else:
        gradients = gradients_of(network, read_samples(data, network)) if criterion == "taylor" else {}
        masks = _choose(layers, unit, criterion, amount, pattern, scope, gradients)
    for name, keep in before.items():  # what is masked stays so
        spread = keep.expand(_weight(network.get_submodule(name)).shape)
        masks[name] = (spread & masks[name]) if name in masks else spread
    if before:
        unit = "weight"
        masks = {name: keep.expand(_weight(network.get_submodule(name)).shape) for name, keep in masks.items()}
    for name, keep in masks.items():
        install(network.get_submodule(name), keep.clone())
    record = {"kind": prune_mask.KIND, "unit": unit, "layers": list(masks), "criterion": criterion, "amount": amount}
    record |= {"pattern": pattern} if pattern else {"scope": scope}
    network.surgeries = [r for r in network.surgeries if r["kind"] != prune_mask.KIND] + [record]
    return network


def _with_units(layers: Layers, unit: str) -> Layers:
    """The layers that have such units: a vector of one weight, or a kernel of one, is none."""
    if unit == "weight":
        return layers
    fitting = {name: module for name, module in layers.items() if _shape(module, unit) != tuple(_weight(module).shape)}
    if not fitting:
        raise UserError(f"none of these layers has kernels of which a {unit} could go: prune weights or filters")
    return fitting


def _choose(
    layers: Layers,
    unit: str,
    criterion: str,
    amount: float,
    pattern: str | None,
    scope: str,
    gradients: dict[str, Tensor],
) -> Masks:
    scores = {
        name: score(_weight(module), _shape(module, unit), criterion, gradients.get(f"{name}.weight"))
        for name, module in layers.items()
    }
    if pattern is not None:
        n, m = parse_pattern(pattern)
        return {name: n_of_m(scores[name], n, m) for name, module in layers.items() if _weight(module).shape[1] >= m}
    sizes = {name: _weight(module).numel() // scores[name].numel() for name, module in layers.items()}
    return least(scores, sizes, amount, scope)


def parse_pattern(text: str) -> tuple[int, int]:
    """ "2:4" -> (2, 4). Raises UserError where it is no pattern that leaves something out and something in."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise UserError(f"pattern {text!r}: write it as N:M with 0 < N < M, such as 2:4")
    return int(match[1]), int(match[2])


def _shape(module: nn.Module, unit: str) -> tuple[int, ...]:
    return unit_shape(tuple(_weight(module).shape), unit)


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
