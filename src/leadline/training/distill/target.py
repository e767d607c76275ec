"""The teacher's prediction in the place of the truth."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from leadline.training.distill.registry import Sees, term

Prediction = Float[Tensor, "b c h w"]
Weight = Float[Tensor, "b 1 h w"]
Scalar = Float[Tensor, ""]


@term("target", Sees.PREDICTIONS)
def target(
    student: Prediction,
    teacher: Prediction,
    weight: Weight,
    kind: Literal["smooth_l1", "l1", "l2", "log", "scale_invariant"] = "smooth_l1",
    beta: Annotated[float, Field(gt=0)] = 1.0,
    balance: Annotated[float, Field(ge=0, le=1)] = 0.85,
) -> Scalar:
    """The weighted mean over pixels (and channels: flow has two, a frame three) of a distance to the teacher.

    Args:
        student, teacher: disparity or flow in px, depth in m, or a frame in [0, 1].
        weight: how far each pixel's teacher is trusted, in [0, 1].
        kind: `smooth_l1` (e² / (2 beta) below beta, |e| - beta / 2 above), `l1`, `l2`; `log`: |log((1 + s) / (1 + t))|,
            which weighs far and near alike; `scale_invariant`: with e = log s - log t, per image
            sqrt(mean(e²) - balance mean(e)²), for depth whose scale may differ (D. Eigen et al., "Depth Map Prediction
            from a Single Image using a Multi-Scale Deep Network", NeurIPS 2014).
        beta: of `smooth_l1`, in the prediction's unit.
        balance: of `scale_invariant`: 1 forgives any factor between the two, 0 none.
    """
    # What is not trusted may be anything, infinite too: 0 × inf would be NaN.
    teacher = torch.where(weight > 0, teacher, student.detach())
    if kind == "scale_invariant":
        return _scale_invariant(student, teacher, weight, balance)
    if kind == "log":
        values = (student.clamp(min=0).log1p() - teacher.clamp(min=0).log1p()).abs()
    elif kind == "smooth_l1":
        values = functional.smooth_l1_loss(student, teacher, reduction="none", beta=beta)
    else:
        error = student - teacher
        values = error.abs() if kind == "l1" else error.square()
    return weighted_mean(values, weight)


def weighted_mean(values: Float[Tensor, "b c h w"], weight: Weight) -> Scalar:
    """sum(weight × values) / sum(weight); 0 where nothing is trusted."""
    return (values.mean(1, keepdim=True) * weight).sum() / weight.sum().clamp(min=1e-6)


def _scale_invariant(student: Prediction, teacher: Prediction, weight: Weight, balance: float) -> Scalar:
    error = student.clamp(min=1e-3).log() - teacher.clamp(min=1e-3).log()
    total = weight.sum((1, 2, 3)).clamp(min=1e-6)
    mean = (error * weight).sum((1, 2, 3)) / total
    square = (error.square() * weight).sum((1, 2, 3)) / total
    variance = (square - balance * mean.square()).clamp(min=0)
    # The slope of sqrt is infinite at 0, where student and teacher agree.
    return ((variance + 1e-12).sqrt() - 1e-6).mean()
