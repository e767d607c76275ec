"""Intermediate layers: what a student's features are asked to have in common with its teacher's."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from leadline.training.distill.distribution import resize
from leadline.training.distill.registry import Sees, term

Features = Float[Tensor, "b c h w"]
Teachers = Float[Tensor, "b ct ht wt"]
Scalar = Float[Tensor, ""]
Share = Annotated[float, Field(ge=0)]


@term("hint", Sees.LAYERS, adapted=True)
def hint(student: Teachers, teacher: Teachers) -> Scalar:
    """mean (r(s) - t)² / mean t², r being a 1x1 convolution that is trained along and thrown away at the end.

    A. Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, who have neither the denominator nor a start of r
    at the identity. The denominator makes a weight of 1 mean the same at every layer.

    Args:
        student: after r, with as many channels and of the size of the teacher's.
    """
    return (student - teacher).square().mean() / teacher.square().mean().clamp(min=1e-12)


@term("attention", Sees.LAYERS)
def attention(student: Features, teacher: Teachers, power: Annotated[float, Field(gt=0)] = 2.0) -> Scalar:
    """|a(s) - a(t)|² with a(F) = sum over channels of |F|^power, flattened, of length 1; the mean over the batch.

    S. Zagoruyko, N. Komodakis, "Paying More Attention to Attention", ICLR 2017: where a layer is active, not how.
    """
    size = _common(student, teacher)
    maps = [resize(x.abs().pow(power).sum(1, keepdim=True), size).flatten(1) for x in (student, teacher)]
    one, two = (functional.normalize(x, dim=1, eps=1e-12) for x in maps)
    return (one - two).square().sum(1).mean()


@term("similarity", Sees.LAYERS)
def similarity(
    student: Features,
    teacher: Teachers,
    between: Literal["images", "places"] = "places",
    places: Annotated[int, Field(ge=2, le=4096)] = 256,
) -> Scalar:
    """The mean squared difference of similarities between images of a batch, or between places of an image.

    `images`: G = F Fᵀ of the flattened features, its rows of length 1; F. Tung, G. Mori, "Similarity-Preserving
    Knowledge Distillation", ICCV 2019. `places`: cosines between all pairs of places of one image; Y. Liu et al.,
    "Structured Knowledge Distillation for Semantic Segmentation", CVPR 2019, better where a batch is small.

    Args:
        between: what is compared with what.
        places: at most so many per image; features are averaged to that.
    """
    if between == "images":
        grams = [functional.normalize(x.flatten(1) @ x.flatten(1).T, dim=1) for x in (student, teacher)]
    else:
        height, width = _common(student, teacher)
        factor = max(1.0, (height * width / places) ** 0.5)
        size = max(1, int(height / factor)), max(1, int(width / factor))
        pooled = [functional.adaptive_avg_pool2d(x, size).flatten(2) for x in (student, teacher)]
        units = [functional.normalize(x, dim=1) for x in pooled]
        grams = [x.transpose(1, 2) @ x for x in units]
    return (grams[0] - grams[1]).square().mean()


@term("relational", Sees.LAYERS)
def relational(
    student: Features,
    teacher: Teachers,
    distance: Share = 1.0,
    angle: Share = 2.0,
    places: Annotated[int, Field(ge=3, le=512)] = 48,
) -> Scalar:
    """Distances between, and angles of three of, the batch's feature vectors: distance × Huber + angle × Huber.

    W. Park et al., "Relational Knowledge Distillation", CVPR 2019: distances in units of their mean, cosines of the
    angle at the middle one, Huber loss (delta 1) on both. There a vector is an image; here it is a place, averaged so
    that an image has at most `places` of them, since images of a batch are few.

    Args:
        distance, angle: weights of the two.
        places: per image; the angles need places³ numbers.
    """
    height, width = _common(student, teacher)
    factor = max(1.0, (height * width / places) ** 0.5)
    size = max(1, int(height / factor)), max(1, int(width / factor))
    one, two = (functional.adaptive_avg_pool2d(x, size).flatten(2).transpose(1, 2) for x in (student, teacher))
    total = student.new_zeros(())
    if distance:
        total = total + distance * functional.huber_loss(_distances(one), _distances(two))
    if angle:
        total = total + angle * functional.huber_loss(_angles(one), _angles(two))
    return total


def _distances(vectors: Float[Tensor, "b n c"]) -> Float[Tensor, "b n n"]:
    """Between all pairs, in units of the mean over those that are not the same."""
    square = (vectors[:, :, None] - vectors[:, None]).square().sum(-1)
    apart = square > 0
    distances = torch.where(apart, torch.where(apart, square, torch.ones_like(square)).sqrt(), square)
    mean = distances.sum((1, 2), keepdim=True) / apart.sum((1, 2), keepdim=True).clamp(min=1)
    return distances / mean.clamp(min=1e-12)


def _angles(vectors: Float[Tensor, "b n c"]) -> Float[Tensor, "b n n n"]:
    """Cosine of the angle at j between i and k, [b, j, i, k]."""
    directions = functional.normalize(vectors[:, None] - vectors[:, :, None], dim=3)
    return directions @ directions.transpose(2, 3)


def _common(student: Features, teacher: Teachers) -> tuple[int, int]:
    """The smaller of both sizes."""
    sizes = (student.shape[-2:], teacher.shape[-2:])
    return min(s[0] for s in sizes), min(s[1] for s in sizes)
