"""Losses on the error e = prediction - truth, px, averaged over the valid pixels of the batch."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from leadline.training.losses.registry import loss

Disparity = Float[Tensor, "b 1 h w"]
Mask = Bool[Tensor, "b 1 h w"]
Scalar = Float[Tensor, ""]
Positive = Annotated[float, Field(gt=0)]


def mean_over(values: Disparity, valid: Mask) -> Scalar:
    """The mean over the valid pixels; 0, with a gradient of 0, where there is none."""
    # where() before the sum: 0 × NaN would be NaN, and truth may be anything where it is not valid.
    return torch.where(valid, values, values.new_zeros(())).sum() / valid.sum().clamp(min=1)


def _error(prediction: Disparity, truth: Disparity, valid: Mask) -> Disparity:
    return prediction - torch.where(valid, truth, prediction.detach())


@loss("l1")
def l1(prediction: Disparity, truth: Disparity, valid: Mask) -> Scalar:
    """|e|, the end-point error itself."""
    return mean_over(_error(prediction, truth, valid).abs(), valid)


@loss("l2")
def l2(prediction: Disparity, truth: Disparity, valid: Mask) -> Scalar:
    """e²: large errors, often occlusions or wrong matches, weigh most."""
    return mean_over(_error(prediction, truth, valid).square(), valid)


@loss("smooth_l1")
def smooth_l1(prediction: Disparity, truth: Disparity, valid: Mask, beta: Positive = 1.0) -> Scalar:
    """e² / (2 beta) below beta px, |e| - beta / 2 above: R. Girshick, "Fast R-CNN", ICCV 2015."""
    error = _error(prediction, truth, valid)
    return mean_over(functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=beta), valid)


@loss("huber")
def huber(prediction: Disparity, truth: Disparity, valid: Mask, delta: Positive = 1.0) -> Scalar:
    """e² / 2 below delta px, delta (|e| - delta / 2) above: P. Huber, 1964; delta times smooth L1 of beta = delta."""
    error = _error(prediction, truth, valid)
    return mean_over(functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta), valid)


@loss("charbonnier")
def charbonnier(
    prediction: Disparity, truth: Disparity, valid: Mask, epsilon: Positive = 1e-3, alpha: Positive = 0.5
) -> Scalar:
    """(e² + epsilon²)^alpha. With alpha 0.5: P. Charbonnier et al., "Two deterministic half-quadratic regularization
    algorithms for computed imaging", ICIP 1994; a smaller alpha forgives outliers more: D. Sun et al., CVPR 2010."""
    error = _error(prediction, truth, valid)
    return mean_over((error.square() + epsilon**2) ** alpha, valid)
