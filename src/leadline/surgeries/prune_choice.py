"""Which units of masked layers are needed least: scores, and masks from scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.surgeries.prune_mask import masked_layers

Scores = dict[str, Float[Tensor, "..."]]  # by layer, in the shape of its mask; negative: gone for good
Masks = dict[str, Bool[Tensor, "..."]]


def score(
    weight: Float[Tensor, ...], shape: tuple[int, ...], criterion: str, gradient: Tensor | None = None
) -> Float[Tensor, ...]:
    """How much a weight's units are needed: the mean over each unit of |w| (l1), w² (l2, lamp) or |w g| (taylor).

    `lamp` divides by the sum of all scores of the layer that are not smaller, which makes layers comparable.

    Args:
        shape: of the mask; where it is 1 and the weight's is not, a unit extends along that axis.
        gradient: of the loss, for taylor.

    Source: S. Han et al., "Learning both Weights and Connections", NeurIPS 2015; J. Lee et al., "Layer-adaptive
    sparsity for the Magnitude-based Pruning", ICLR 2021; P. Molchanov et al., "Importance Estimation for Neural Network
    Pruning", CVPR 2019.
    """
    weight = weight.detach()
    if criterion == "taylor":
        assert gradient is not None
        values = (weight * gradient).abs()
    else:
        values = weight.abs() if criterion == "l1" else weight.square()
    axes = [axis for axis in range(weight.ndim) if shape[axis] != weight.shape[axis]]
    units = values.mean(axes, keepdim=True) if axes else values
    return _lamp(units) if criterion == "lamp" else units


def _lamp(units: Tensor) -> Tensor:
    ordered, places = units.flatten().sort()
    not_smaller = ordered.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(ordered)
    scores[places] = ordered / not_smaller.clamp(min=torch.finfo(ordered.dtype).tiny)
    return scores.reshape(units.shape)


def least(scores: Scores, sizes: Mapping[str, int], amount: float, scope: str) -> Masks:
    """Masks that leave out the units of lowest score, so that `amount` of the weights are 0.

    Args:
        sizes: weights per unit, by layer.
        amount: share of all the weights of these layers ("global") or of each layer's ("layer").

    Raises:
        UserError: a layer would have nothing left.
    """
    groups = [list(scores)] if scope == "global" else [[name] for name in scores]
    masks: Masks = {}
    for names in groups:
        flat = torch.cat([scores[name].flatten() for name in names])
        weights = torch.cat([torch.full((scores[name].numel(),), sizes[name]) for name in names])
        order = flat.argsort(stable=True)
        gone = weights[order].cumsum(0) <= amount * int(weights.sum()) + 1e-6
        keep = torch.ones(len(flat), dtype=torch.bool)
        keep[order[gone]] = False
        parts = keep.split([scores[name].numel() for name in names])
        masks.update({name: part.reshape(scores[name].shape) for name, part in zip(names, parts, strict=True)})
    empty = [name for name, keep in masks.items() if not keep.any()]
    if empty:
        raise UserError(
            f"pruning {amount:g} would leave nothing of {empty[0]}"
            + (f" and {len(empty) - 1} more" if len(empty) > 1 else "")
            + ": prune less, exclude it, or give each layer the same share (scope layer)"
        )
    return masks


def n_of_m(scores: Float[Tensor, "o i *k"], n: int, m: int) -> Bool[Tensor, "o i *k"]:
    """Keeps the n of highest score of each m consecutive input channels, as sparse tensor cores want it.

    Source: A. Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021 (NVIDIA). A rest of fewer than m channels
    is kept.
    """
    inputs = scores.shape[1]
    whole = inputs // m * m
    grouped = scores[:, :whole].unflatten(1, (-1, m))
    best = grouped.topk(n, dim=2).indices
    keep = torch.zeros_like(grouped, dtype=torch.bool).scatter_(2, best, True).flatten(1, 2)
    return torch.cat([keep, torch.ones_like(scores[:, whole:], dtype=torch.bool)], 1)


def grow(network: nn.Module, amount: float, criterion: str = "l2", scope: str = "global") -> None:
    """Masks more of a network that is masked, up to `amount` of the weights; what is masked stays so."""
    scores, sizes = {}, {}
    layers = masked_layers(network)
    for name, (module, mask) in layers.items():
        weight: Tensor = module.weight  # type: ignore[assignment]
        scores[name] = score(weight, tuple(mask.keep.shape), criterion).masked_fill(~mask.keep, -1.0)
        sizes[name] = weight.numel() // mask.keep.numel()
    for name, keep in least(scores, sizes, amount, scope).items():
        module, mask = layers[name]
        keep = keep & mask.keep
        mask.keep.copy_(keep)
        with torch.no_grad():
            module.parametrizations["weight"].original.masked_fill_(~keep, 0.0)  # type: ignore[index]


def cubic(step: int, first: int, last: int, amount: float) -> float:
    """The share to be pruned at a step: rises from 0 at `first` to `amount` at `last`, fast first, then slowly.

    Source: M. Zhu, S. Gupta, "To prune, or not to prune", 2017.
    """
    done = min(max((step - first) / max(last - first, 1), 0.0), 1.0)
    return amount * (1 - (1 - done) ** 3)


def share_pruned(network: nn.Module) -> float:
    """The share of the masked layers' weights that is 0."""
    kept = total = 0
    for module, mask in masked_layers(network).values():
        size = module.weight.numel()  # type: ignore[operator]
        total += size
        kept += int(mask.keep.sum()) * (size // mask.keep.numel())
    return 1 - kept / total if total else 0.0
