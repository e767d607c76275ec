"""The teacher's distribution over disparities: planes of another spacing or range are resampled first."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from leadline.training.distill.registry import Sees, term
from leadline.training.distill.target import weighted_mean

Scores = Float[Tensor, "b p h w"]
Planes = tuple[Float[Tensor, "b planes hq wq"], float]  # scores before the softmax, px between planes
Weight = Float[Tensor, "b 1 fh fw"]  # of the full image
Scalar = Float[Tensor, ""]


@term("distribution", Sees.SCORES)
def distribution(
    student: Scores,
    spacing: float,
    teachers: list[Planes],
    weight: Weight,
    temperature: Annotated[float, Field(gt=0)] = 1.0,
) -> Scalar:
    """T² KL(p ‖ q), the weighted mean over pixels, with p = softmax(teacher / T) and q = softmax(student / T).

    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015. What is not the likeliest
    disparity is knowledge, too: a second surface behind an edge, a repeated texture. T² keeps the size of the gradient
    while T changes; for large T the loss tends to half the mean square of the difference of centred scores.

    Args:
        student: before the softmax, plane k standing for k × spacing px.
        spacing: px between the student's planes.
        teachers: each one's scores and the px between its planes; brought to the student's planes by `resample`.
        weight: how far each pixel's teacher is trusted; averaged to the size of the scores.
        temperature: T; above 1 flattens both distributions.
    """
    shape = student.shape[1:]
    shares = [resample(functional.softmax(s.float() / temperature, 1), step, shape, spacing) for s, step in teachers]
    wanted = torch.stack(shares).mean(0)
    found = functional.log_softmax(student / temperature, 1)
    divergence = functional.kl_div(found, wanted, reduction="none").sum(1, keepdim=True)
    return temperature**2 * weighted_mean(divergence, shrink_weight(weight, student.shape[-2:]))


@term("volume", Sees.SCORES)
def volume(student: Scores, spacing: float, teachers: list[Planes], weight: Weight) -> Scalar:
    """1 - Pearson's correlation between student's and teacher's scores along disparity, the weighted mean over pixels.

    The cost volume itself, with its scale and offset left to the student: T. Huang et al., "Knowledge Distillation
    from A Stronger Teacher", NeurIPS 2022, there for classes. Of several teachers, the mean of the correlations.
    """
    shape = student.shape[1:]
    small = shrink_weight(weight, student.shape[-2:])
    losses = []
    for scores, step in teachers:
        weights = interpolation_weights(scores.shape[1], step, shape[0], spacing).to(student.device)
        moved = torch.einsum("sp,bphw->bshw", weights, scores.float())
        losses.append(weighted_mean(1 - correlation(student, resize(moved, shape[-2:])), small))
    return torch.stack(losses).mean()


def correlation(one: Scores, two: Scores) -> Float[Tensor, "b 1 h w"]:
    """Pearson's along the channels."""
    one, two = (values - values.mean(1, keepdim=True) for values in (one, two))
    return functional.cosine_similarity(one, two, dim=1, eps=1e-6).unsqueeze(1)


def resample(
    shares: Float[Tensor, "b planes hq wq"], step: float, shape: torch.Size | tuple[int, int, int], spacing: float
) -> Float[Tensor, "b p h w"]:
    """A distribution over planes `step` px apart as one over shape[0] planes `spacing` px apart, at shape[1:].

    Each plane's mass goes to the planes beside it by a triangle as wide as the coarser of the two spacings, so that
    equal planes are left as they are, the sum stays 1, and the mean stays where it was within the range. Mass beyond
    the last plane counts there.

    Args:
        shares: sum to 1 along the planes.
    """
    weights = mass_weights(shares.shape[1], step, shape[0], spacing).to(shares.device)
    moved = torch.einsum("sp,bphw->bshw", weights, shares)
    return resize(moved, (shape[1], shape[2]))


def mass_weights(count: int, step: float, new: int, spacing: float) -> Float[Tensor, "new count"]:
    """How the mass of each of `count` planes is divided among `new` ones: every column sums to 1."""
    old, planes = torch.arange(count) * step, torch.arange(new) * spacing
    weights = _triangles(planes, old.clamp(max=float(planes[-1])), max(step, spacing))
    return weights / weights.sum(0, keepdim=True)


def interpolation_weights(count: int, step: float, new: int, spacing: float) -> Float[Tensor, "new count"]:
    """How values at `new` planes are read from those at `count`, the last standing for all beyond: rows sum to 1."""
    old, planes = torch.arange(count) * step, torch.arange(new) * spacing
    weights = _triangles(planes.clamp(max=float(old[-1])), old, max(step, spacing))
    return weights / weights.sum(1, keepdim=True)


def _triangles(at: Float[Tensor, " new"], middles: Float[Tensor, " count"], width: float) -> Float[Tensor, "new count"]:
    return (1 - (at[:, None] - middles).abs() / width).clamp(min=0)


def resize(maps: Float[Tensor, "b p hq wq"], size: torch.Size | tuple[int, int]) -> Float[Tensor, "b p h w"]:
    """To another resolution; shrinking averages, so that every pixel counts."""
    if maps.shape[-2:] == tuple(size):
        return maps
    smaller = size[0] < maps.shape[-2]
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False, antialias=smaller)


def shrink_weight(weight: Weight, size: torch.Size | tuple[int, int]) -> Float[Tensor, "b 1 hq wq"]:
    """The mean trust of the pixels of each cell."""
    return functional.adaptive_avg_pool2d(weight, (size[0], size[1]))
