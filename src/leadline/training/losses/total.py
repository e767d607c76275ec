"""The sum of the losses of a recipe, over the predictions of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from leadline.data.batch import Batch, TripletBatch
from leadline.errors import UserError
from leadline.models.network import Task
from leadline.nn.local_correlation import Displacements
from leadline.training.losses.registry import Entry, Kind, make_loss


@dataclass
class Outputs:
    """What a network gives in training.

    Args:
        predictions: what the task asks for, coarse to fine, in units of the full image; a smaller map is enlarged
            before it is compared.
        scores: match scores (b, planes, hq, wq), higher is more likely, plane k standing for k × spacing px; of flow,
            windows of displacements.
        right: the disparity of the right view, or the flow from the second frame to the first.
        flows: of an interpolation network, (n, b, 4, h, w), coarse to fine, px: from the new frame to both.
        own: losses that the network itself works out, by name.
        poses: from the image's camera to each further frame's, where losses look at those.
    """

    predictions: list[Float[Tensor, "b c hp wp"]]
    scores: Float[Tensor, "b planes hq wq"] | list[Displacements] | None = None
    spacing: float = 1.0
    right: Float[Tensor, "b c h w"] | None = None
    flows: Float[Tensor, "n b 4 h w"] | None = None
    own: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    poses: Float[Tensor, "b n 4 4"] | None = None


@dataclass(frozen=True)
class Term:
    """One loss of the sum and how it is spread over the predictions."""

    name: str
    entry: Entry
    weight: float
    over: str
    gamma: float
    scale_weights: tuple[float, ...] | None

    def weights(self, count: int) -> list[float]:
        """The weight of each of `count` predictions, coarse to fine.

        gamma^(n - i), as in Z. Teed, J. Deng, "RAFT", ECCV 2020, unless they are given one by one, as in PSMNet.
        """
        if self.over == "last":
            return [0.0] * (count - 1) + [1.0]
        if self.scale_weights is None:
            return [self.gamma ** (count - 1 - i) for i in range(count)]
        if len(self.scale_weights) != count:
            raise UserError(
                f"loss {self.name}: scale_weights has {len(self.scale_weights)} values, "
                f"the network gives {count} predictions: write one for each, coarse to fine"
            )
        return list(self.scale_weights)


class TotalLoss:
    """Weighted sum of named losses.

    Args:
        terms: for each its name and options, and `weight`, `over`, `gamma`, `scale_weights` as in a recipe.
        limit: px of disparity or m of depth; truth at or beyond it is left out, as the network cannot give it.
        task: the network's.

    Raises:
        UserError: unknown name or option.
    """

    def __init__(self, terms: Sequence[dict[str, Any]], limit: float = float("inf"), task: Task = Task.STEREO):
        self.terms = [_term(task=task, **term) for term in terms]
        self.limit = limit
        self.task = task

    def needs(self, kind: Kind) -> bool:
        return any(term.entry.kind is kind for term in self.terms)

    @property
    def needs_truth(self) -> bool:
        """Whether there is nothing to learn from pairs without truth."""
        on_truth = (Kind.SUPERVISED, Kind.DISTRIBUTION, Kind.MOTION, Kind.OWN)
        return all(term.entry.kind in on_truth for term in self.terms)

    @property
    def reaches_all(self) -> bool:
        """Whether every prediction is looked at, so that every weight gets a gradient."""
        kinds = (Kind.SUPERVISED, Kind.IMAGES, Kind.FRAMES)
        return any(
            term.entry.kind in kinds and term.over == "all" and not term.scale_weights and term.weight > 0
            for term in self.terms
        )

    def __call__(self, outputs: Outputs, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The sum, and each term's share of it (detached) by name."""
        valid = batch.valid
        if self.task in (Task.STEREO, Task.MONO):
            valid = valid & (batch.truth < self.limit)
        size = (batch.valid.shape[-2], batch.valid.shape[-1])
        predictions = [_enlarge(prediction.float(), size) for prediction in outputs.predictions]
        total = predictions[-1].new_zeros(())
        shares: dict[str, Tensor] = {}
        for term in self.terms:
            value = term.weight * _value(term, outputs, predictions, batch, valid)
            shares[term.name] = value.detach()
            total = total + value
        return total, shares


def _value(
    term: Term,
    outputs: Outputs,
    predictions: list[Float[Tensor, "b c h w"]],
    batch: Batch,
    valid: Bool[Tensor, "b 1 h w"],
) -> Float[Tensor, ""]:
    call = term.entry.function
    if term.entry.kind is Kind.DISTRIBUTION:
        assert outputs.scores is not None
        scores = outputs.scores.float() if isinstance(outputs.scores, Tensor) else outputs.scores
        return call(scores, outputs.spacing, batch.truth, valid)
    if term.entry.kind is Kind.OWN:
        if term.name not in outputs.own:
            raise UserError(f"loss {term.name}: the network gives none of this name: leave it out")
        return call(outputs.own[term.name])
    if term.entry.kind is Kind.MOTION:
        if outputs.flows is None or not isinstance(batch, TripletBatch):
            raise UserError(f"loss {term.name}: the network gives no flows to compare: leave it out")
        weights = term.weights(len(outputs.flows))
        compared = (call(flow.float(), batch.flow, batch.flow_valid) for flow in outputs.flows)
        return torch.stack([weight * value for weight, value in zip(weights, compared, strict=True)]).sum()
    if term.entry.kind is Kind.BOTH_VIEWS:
        assert outputs.right is not None
        return call(predictions[-1], outputs.right.float())
    if term.entry.kind is Kind.BOTH_WITH_IMAGES:
        assert outputs.right is not None
        return call(predictions[-1], outputs.right.float(), *batch.images)
    weights = term.weights(len(predictions))
    used = [(weight, prediction) for weight, prediction in zip(weights, predictions, strict=True) if weight > 0]
    if term.entry.kind is Kind.FRAMES:
        values = [weight * call(prediction, batch, outputs.poses) for weight, prediction in used]
    elif term.entry.kind is Kind.IMAGES:
        values = [weight * call(prediction, *batch.images) for weight, prediction in used]
    else:
        values = [weight * call(prediction, batch.truth, valid) for weight, prediction in used]
    return torch.stack(values).sum()


def _term(
    name: str,
    weight: float = 1.0,
    over: str = "all",
    gamma: float = 0.8,
    scale_weights: Sequence[float] | None = None,
    task: Task = Task.STEREO,
    **options: Any,
) -> Term:
    per_scale = None if scale_weights is None else tuple(scale_weights)
    if per_scale is not None and not any(per_scale):
        raise UserError(f"loss {name}: scale_weights are all 0: leave the loss out")
    return Term(name, make_loss(name, task, **options), weight, over, gamma, per_scale)


def _enlarge(prediction: Float[Tensor, "b c hp wp"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    if prediction.shape[-2:] == size:
        return prediction
    return functional.interpolate(prediction, size, mode="bilinear", align_corners=False)
