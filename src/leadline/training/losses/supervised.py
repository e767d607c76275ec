"""Losses on the error e = prediction - truth, averaged over channels and the valid pixels of the batch.

e is in px for disparity and flow, in m for depth, and of white for frames.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from leadline.models.network import Task
from leadline.training.losses.registry import loss

Values = Float[Tensor, "b c h w"]
Mask = Bool[Tensor, "b 1 h w"]
Scalar = Float[Tensor, ""]
Positive = Annotated[float, Field(gt=0)]


def mean_over(values: Values, valid: Mask) -> Scalar:
    """The mean over the valid pixels; 0, with a gradient of 0, where there is none."""
    # where() before the sum: 0 × NaN would be NaN, and truth may be anything where it is not valid.
    total = torch.where(valid, values, values.new_zeros(())).sum()
    return total / (values.shape[1] * valid.sum()).clamp(min=1)


def _error(prediction: Values, truth: Values, valid: Mask) -> Values:
    return prediction - torch.where(valid, truth, prediction.detach())


@loss("l1", tasks=Task)
def l1(prediction: Values, truth: Values, valid: Mask) -> Scalar:
    """|e|, the end-point error itself."""
    return mean_over(_error(prediction, truth, valid).abs(), valid)


@loss("l2", tasks=Task)
def l2(prediction: Values, truth: Values, valid: Mask) -> Scalar:
    """e²: large errors, often occlusions or wrong matches, weigh most."""
    return mean_over(_error(prediction, truth, valid).square(), valid)


@loss("smooth_l1", tasks=Task)
def smooth_l1(prediction: Values, truth: Values, valid: Mask, beta: Positive = 1.0) -> Scalar:
    """e² / (2 beta) below beta px, |e| - beta / 2 above: R. Girshick, "Fast R-CNN", ICCV 2015."""
    error = _error(prediction, truth, valid)
    return mean_over(functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=beta), valid)


@loss("huber", tasks=Task)
def huber(prediction: Values, truth: Values, valid: Mask, delta: Positive = 1.0) -> Scalar:
    """e² / 2 below delta px, delta (|e| - delta / 2) above: P. Huber, 1964; delta times smooth L1 of beta = delta."""
    error = _error(prediction, truth, valid)
    return mean_over(functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta), valid)


@loss("charbonnier", tasks=Task)
def charbonnier(
    prediction: Values, truth: Values, valid: Mask, epsilon: Positive = 1e-3, alpha: Positive = 0.5
) -> Scalar:
    """(e² + epsilon²)^alpha. With alpha 0.5: P. Charbonnier et al., "Two deterministic half-quadratic regularization
    algorithms for computed imaging", ICIP 1994; a smaller alpha forgives outliers more: D. Sun et al., CVPR 2010."""
    error = _error(prediction, truth, valid)
    return mean_over((error.square() + epsilon**2) ** alpha, valid)


@loss("end_point", tasks=(Task.FLOW,))
def end_point(prediction: Values, truth: Values, valid: Mask) -> Scalar:
    """|e| as the length of the vector (u, v): the end-point error of flow."""
    squared = _error(prediction, truth, valid).square().sum(1, keepdim=True)
    return mean_over((squared + 1e-12).sqrt(), valid)
