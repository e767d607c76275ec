"""Losses on interpolated frames, values in [0, 1], and on the flows by which they were found."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from leadline.models.network import Task
from leadline.nn.laplacian import laplacian_distance
from leadline.training.losses.registry import Kind, loss
from leadline.training.losses.self_supervised import Window, census_distance
from leadline.training.losses.supervised import mean_over

Frame = Float[Tensor, "b 3 h w"]
Flow = Float[Tensor, "b 4 h w"]
Mask = Bool[Tensor, "b 1 h w"]
Scalar = Float[Tensor, ""]
Positive = Annotated[float, Field(gt=0)]

INTERPOLATION = (Task.INTERPOLATION,)


@loss("laplacian", tasks=INTERPOLATION)
def laplacian(
    prediction: Frame,
    truth: Frame,
    valid: Mask,
    levels: Annotated[int, Field(ge=1, le=8)] = 5,
    coarse: bool = False,
) -> Scalar:
    """The sum over the levels of a Laplacian pyramid of the mean |e|: every octave of detail weighs alike.

    As in RIFE (github.com/hzwer/ECCV2022-RIFE, 5d8adbd), after P. Bojanowski et al., "Optimizing the Latent Space of
    Generative Networks", 2018, and S. Niklaus, F. Liu, "Context-aware Synthesis for Video Frame Interpolation", CVPR
    2018. Pixels are all looked at, valid or not.

    Args:
        levels: octaves; height and width must be multiples of 2^levels.
        coarse: whether what is left below the last octave, the mean colours, is compared as well; RIFE does not.
    """
    return laplacian_distance(prediction, truth, levels, coarse)


@loss("ternary", tasks=INTERPOLATION)
def ternary(prediction: Frame, truth: Frame, valid: Mask, window: Window = 7, epsilon: Positive = 0.1) -> Scalar:
    """The soft Hamming distance of census transforms, as `census`, between the frame and the true one.

    Looks at structure and not at brightness: S. Meister et al., "UnFlow", AAAI 2018.

    Args:
        window: odd, px.
        epsilon: where the distance of a bit pair saturates.
    """
    distance = census_distance(prediction, truth, window, epsilon)
    border = window // 2
    inner = torch.zeros_like(valid)
    inner[..., border:-border, border:-border] = True  # a window over the image's edge compares with nothing
    return mean_over(distance, valid & inner)


@loss("motion", Kind.MOTION, tasks=INTERPOLATION)
def motion(flow: Flow, truth: Flow, known: Mask, limit: Positive = 40.0) -> Scalar:
    """The end-point error of both flows, px, where the true flow is known: of rendered scenes.

    Args:
        limit: px beyond which an error weighs no more.
    """
    errors = [(a - b).square().sum(1, keepdim=True) for a, b in zip(flow.chunk(2, 1), truth.chunk(2, 1), strict=True)]
    lengths = torch.cat([(error + 1e-4).sqrt().clamp(max=limit) for error in errors], 1)
    return mean_over(lengths, known)


@loss("teacher", Kind.OWN, tasks=INTERPOLATION)
def teacher(value: Scalar) -> Scalar:
    """The Laplacian loss of the frame that RIFE's privileged teacher makes, which sees the true one."""
    return value


@loss("distillation", Kind.OWN, tasks=INTERPOLATION)
def distillation(value: Scalar) -> Scalar:
    """How far the flows of RIFE's blocks are from the teacher's, where it does better; weighted 0.01 by RIFE."""
    return value
