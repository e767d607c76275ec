"""Losses on depth, m, with a truth: relative rather than absolute, as the error of a depth grows with it."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from leadline.models.network import Task
from leadline.training.losses.registry import Kind, loss

Depth = Float[Tensor, "b 1 h w"]
Mask = Bool[Tensor, "b 1 h w"]
Scalar = Float[Tensor, ""]
Share = Annotated[float, Field(ge=0, le=1)]
MONO = (Task.MONO,)


@loss("silog", tasks=MONO)
def silog(prediction: Depth, truth: Depth, valid: Mask, balance: Share = 0.85, root: bool = True) -> Scalar:
    """The scale-invariant logarithmic error: mean(d²) - balance mean(d)² with d = ln p - ln g, per image.

    D. Eigen, C. Puhrsch, R. Fergus, "Depth Map Prediction from a Single Image", NeurIPS 2014, eq. 4, where the balance
    is 0.5. With 1 a factor on the prediction costs nothing, with 0 it is the squared log error.

    Args:
        prediction, truth: m.
        valid: where the truth is known.
        balance: 0.85 as in J. H. Lee et al., "From Big to Small", 2019.
        root: its square root, times 10, as there; without, as in Eigen et al.
    """
    d = _log_ratio(prediction, truth, valid)
    count = valid.flatten(1).sum(1).clamp(min=1)
    first, second = d.flatten(1).sum(1) / count, d.square().flatten(1).sum(1) / count
    value = second - balance * first.square()
    if root:
        value = 10 * (value.clamp(min=0) + 1e-6).sqrt()
    known = valid.flatten(1).any(1)
    return torch.where(known, value, torch.zeros_like(value)).sum() / known.sum().clamp(min=1)


@loss("log_l1", tasks=MONO)
def log_l1(prediction: Depth, truth: Depth, valid: Mask) -> Scalar:
    """|ln p - ln g|, about the relative error where it is small. J. Hu et al., WACV 2019, without their offset."""
    return _log_ratio(prediction, truth, valid).abs().sum() / valid.sum().clamp(min=1)


@loss("berhu", tasks=MONO)
def berhu(prediction: Depth, truth: Depth, valid: Mask, share: Annotated[float, Field(gt=0, le=1)] = 0.2) -> Scalar:
    """|e| up to c, (e² + c²) / 2c beyond, with c = share × the largest |e| of the batch; e = p - g, m.

    I. Laina et al., "Deeper Depth Prediction with Fully Convolutional Residual Networks", 3DV 2016 (a fifth).
    """
    error = torch.where(valid, prediction - torch.where(valid, truth, prediction.detach()), 0.0).abs()
    c = (share * error.max()).detach().clamp(min=1e-6)
    value = torch.where(error <= c, error, (error.square() + c * c) / (2 * c))
    return value.sum() / valid.sum().clamp(min=1)


@loss("depth_gradient", tasks=MONO)
def depth_gradient(
    prediction: Depth, truth: Depth, valid: Mask, scales: Annotated[int, Field(ge=1, le=6)] = 4
) -> Scalar:
    """|dx r| + |dy r| with r = ln p - ln g, between known neighbours, summed over every 1st, 2nd, 4th, ... pixel.

    Z. Li, N. Snavely, "MegaDepth", CVPR 2018, eq. 6: sharp edges where the truth has them, and none elsewhere.
    """
    r = _log_ratio(prediction, truth, valid)
    total = prediction.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        here, known = r[..., ::step, ::step], valid[..., ::step, ::step]
        for axis in (2, 3):
            if here.shape[axis] > 1:
                slope = here.diff(dim=axis).abs()
                both = known.narrow(axis, 1, known.shape[axis] - 1) & known.narrow(axis, 0, known.shape[axis] - 1)
                total = total + (slope * both).sum() / both.sum().clamp(min=1)
    return total


@loss("head", kind=Kind.OWN, tasks=MONO)
def head(value: Scalar) -> Scalar:
    """The loss of the network's own head on its distribution (nn.depth_heads): ordinal regression, cross-entropy of
    the bins, or, for adaptive bins, how well they lie where the depths are. 0 for a direct head."""
    return value


def _log_ratio(prediction: Depth, truth: Depth, valid: Mask) -> Depth:
    """ln p - ln g, 0 where the truth is not known."""
    known = torch.where(valid, truth, prediction.detach()).clamp(min=1e-6)
    return torch.where(valid, prediction.clamp(min=1e-6).log() - known.log(), 0.0)
