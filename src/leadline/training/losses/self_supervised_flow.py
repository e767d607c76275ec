"""Losses on flow that need no truth: frame 1, moved back by the flow, is to look like frame 0.

After S. Meister et al., "UnFlow", AAAI 2018, and R. Jonschkowski et al., "What Matters in Unsupervised Optical Flow",
ECCV 2020. Pixels that leave frame 1, and with a flow back those that fail the forward-backward check, are left out.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from leadline.models.network import Task
from leadline.nn.warp import inside_by_flow, warp_by_flow
from leadline.training.losses.registry import Kind, loss
from leadline.training.losses.self_supervised import Window, census_distance, shrink_mask, ssim

Flow = Float[Tensor, "b 2 h w"]
Images = Float[Tensor, "b 3 h w"]
Mask = Float[Tensor, "b 1 h w"]
Scalar = Float[Tensor, ""]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


@loss("flow_photometric", Kind.IMAGES, tasks=(Task.FLOW,))
def flow_photometric(prediction: Flow, frame0: Images, frame1: Images, alpha: Share = 0.85) -> Scalar:
    """alpha (1 - SSIM) / 2 + (1 - alpha) |difference|, frame 0 against frame 1 moved back.

    Args:
        prediction: px.
        frame0, frame1: RGB in [0, 1].
        alpha: share of the structural part.
    """
    moved = warp_by_flow(frame1, prediction)
    mask = shrink_mask(inside_by_flow(prediction.detach()), 1)
    structure = (1 - ssim(frame0, moved)).clamp(0, 2).mean(1, keepdim=True) / 2
    difference = (frame0 - moved).abs().mean(1, keepdim=True)
    return _mean(alpha * structure + (1 - alpha) * difference, mask)


@loss("flow_census", Kind.IMAGES, tasks=(Task.FLOW,))
def flow_census(
    prediction: Flow, frame0: Images, frame1: Images, window: Window = 7, epsilon: Positive = 0.1
) -> Scalar:
    """A soft Hamming distance between the census transforms of frame 0 and frame 1 moved back; see `census`.

    Args:
        prediction: px.
        frame0, frame1: RGB in [0, 1].
        window: odd, px, at least 3.
        epsilon: where the distance saturates.
    """
    moved = warp_by_flow(frame1, prediction)
    border = window // 2
    mask = shrink_mask(inside_by_flow(prediction.detach()), border)
    mask[..., :border, :] = mask[..., -border:, :] = 0  # a window over the image's edge compares with nothing
    mask[..., :border] = mask[..., -border:] = 0
    return _mean(census_distance(frame0, moved, window, epsilon), mask)


@loss("flow_smoothness", Kind.IMAGES, tasks=(Task.FLOW,))
def flow_smoothness(
    prediction: Flow,
    frame0: Images,
    frame1: Images,
    edge: Annotated[float, Field(ge=0)] = 150.0,
    order: Annotated[int, Field(ge=1, le=2)] = 1,
) -> Scalar:
    """|d flow| exp(-edge |d I|) along rows and columns; with order 2 of second differences, so that slants are free.

    Args:
        prediction: px.
        frame0: RGB in [0, 1]; its edges allow those of the flow.
        frame1: not looked at.
        edge: how strongly, for the mean absolute difference of the colours (150 in Jonschkowski et al.).
        order: of the differences of the flow.
    """
    total = prediction.new_zeros(())
    for axis in (2, 3):
        slope, contrast = prediction.diff(dim=axis), frame0.diff(dim=axis).abs().mean(1, keepdim=True)
        if order == 2:
            slope = slope.diff(dim=axis)
            length = contrast.shape[axis]
            contrast = torch.maximum(contrast.narrow(axis, 0, length - 1), contrast.narrow(axis, 1, length - 1))
        total = total + (slope.abs().mean(1, keepdim=True) * torch.exp(-edge * contrast)).mean()
    return total


@loss("forward_backward", Kind.BOTH_VIEWS, tasks=(Task.FLOW,))
def forward_backward(prediction: Flow, backward: Flow) -> Scalar:
    """|flow(x) + back(x + flow(x))|, px, where the two agree well enough that the pixel is not hidden.

    Args:
        prediction: frame 0 to frame 1, px.
        backward: frame 1 to frame 0, px: found by the same network on the exchanged pair, which costs a second pass.
    """
    returned = warp_by_flow(backward, prediction)
    seen = ~occluded(prediction.detach(), backward.detach())
    difference = (prediction + returned).square().sum(1, keepdim=True)
    return _mean((difference + 1e-6).sqrt(), seen.to(prediction.dtype))


@loss("flow_census_visible", Kind.BOTH_WITH_IMAGES, tasks=(Task.FLOW,))
def flow_census_visible(
    prediction: Flow,
    backward: Flow,
    frame0: Images,
    frame1: Images,
    window: Window = 7,
    epsilon: Positive = 0.1,
    penalty: Annotated[float, Field(ge=0)] = 0.3,
) -> Scalar:
    """`flow_census` where flow and flow back agree, and `penalty` for each pixel where they do not.

    Without the penalty it would be cheapest to call everything hidden (UnFlow, section 3).

    Args:
        prediction, backward: px, as `forward_backward`.
        frame0, frame1: RGB in [0, 1].
        window, epsilon: as `flow_census`.
        penalty: per hidden pixel.
    """
    moved = warp_by_flow(frame1, prediction)
    hidden = occluded(prediction.detach(), backward.detach())
    border = window // 2
    mask = shrink_mask((~hidden).to(prediction.dtype), border)
    mask[..., :border, :] = mask[..., -border:, :] = 0
    mask[..., :border] = mask[..., -border:] = 0
    return _mean(census_distance(frame0, moved, window, epsilon), mask) + penalty * hidden.float().mean()


def occluded(forward: Flow, backward: Flow) -> Bool[Tensor, "b 1 h w"]:
    """Where flow and flow back do not agree, |f + b|² > 0.01 (|f|² + |b|²) + 0.5, or the flow leaves frame 1.

    N. Sundaram et al., ECCV 2010.
    """
    returned = warp_by_flow(backward, forward)
    difference = (forward + returned).square().sum(1, keepdim=True)
    size = forward.square().sum(1, keepdim=True) + returned.square().sum(1, keepdim=True)
    return (difference > 0.01 * size + 0.5) | (inside_by_flow(forward) < 0.5)


def _mean(values: Mask, mask: Mask) -> Scalar:
    return (values * mask).sum() / mask.sum().clamp(min=1)
