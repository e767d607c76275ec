"""Soft-argmin over scores upsampled along disparity, height and width, without the volume at full resolution.

Interpolation is separable, the softmax is gathered over blocks of planes, and where four fine planes lie between one
plane of the scores and the next, as in MobileStereoNet, those four never exist: their scores lie on a line, so that
their exponentials are products of powers of only two.
Shapes: h, w of the scores; n planes or gaps between planes, in one block.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Sums = tuple[Tensor, Tensor, Tensor]  # of a block: the largest score; relative to it sum(exp) and sum(exp * disparity)

FINE_PLANES, GAPS = 24, 7  # in a block; 48 planes have 49 gaps, those at the ends included


def upsampled_soft_argmin(
    scores: Float[Tensor, "b planes h w"], max_disparity: int, factor: int
) -> Float[Tensor, "b 1 fh fw"]:
    """Trilinear upsampling of the scores, softmax over disparity, and the mean disparity under it.

    Args:
        scores: higher is a better match; plane i stands for disparities round (i + 0.5) * max_disparity / planes - 0.5.
        max_disparity: fine planes, px at full resolution; the result lies in [0, max_disparity - 1]. With four to a
            plane of the scores it takes a quarter of the exponentials and of the memory.
        factor: full resolution over that of the scores.

    Equal to interpolating to (max_disparity, factor * h, factor * w) (half-pixel centres, clamped at the ends) and
    regressing there. In training a block is computed again for its gradient rather than kept.

    Source: soft argmin of Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo Regression",
    ICCV 2017; blockwise softmax of Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
    """
    scores = scores.float()
    if max_disparity == 4 * scores.shape[1]:
        parts = _four_in_each_gap(scores, factor)
    else:
        parts = _plane_by_plane(scores, max_disparity, factor)
    peaks, totals, moments = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    weights = torch.exp(peaks - peaks.amax(1, keepdim=True))
    return (weights * moments).sum(1, keepdim=True) / (weights * totals).sum(1, keepdim=True)


def _four_in_each_gap(scores: Float[Tensor, "b planes h w"], factor: int) -> list[Sums]:
    """Fine planes lie 1, 3, 5 and 7 eighths of the way from a plane to the next; two at either end have its score."""
    planes = scores.shape[1]
    eighths = torch.cat([scores[:, :1], scores, scores[:, -1:]], 1) / 8
    # The disparity of the first fine plane in each gap. A gap at an end has four planes too, between equals, of which
    # two count: half the sum of exp, and of exp * disparity what `begins` makes of it.
    begins = _column(scores, [-5 / 4, *range(2, 4 * planes - 2, 4), 2 * planes - 9 / 4])
    counts = _column(scores, [1 / 2, *[1] * (planes - 1), 1 / 2])
    parts = []
    for first in range(0, planes + 1, GAPS):
        block, some = eighths[:, first : first + GAPS + 1], slice(first, first + GAPS)
        parts.append(_kept_small(_sums_of_gaps, block, begins[some], counts[some], factor))
    return parts


def _column(like: Tensor, values: list[float]) -> Float[Tensor, "n 1 1"]:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def _sums_of_gaps(
    eighths: Float[Tensor, "b planes h w"], begins: Float[Tensor, "n 1 1"], counts: Float[Tensor, "n 1 1"], factor: int
) -> Sums:
    """Between planes of scores s and t four fine ones have exp(s)^7/8 exp(t)^1/8, ^5/8 ^3/8, ^3/8 ^5/8, ^1/8 ^7/8."""
    eighths = _upsampled(eighths, factor)
    peak = eighths.detach().amax(1, keepdim=True)  # its gradient cancels in the quotient
    root = torch.exp(eighths - peak)
    lower, upper = root[:, :-1], root[:, 1:]
    a, b = lower * lower, upper * upper
    ends = lower * upper
    total = ends * ((a + b) * (a * a + b * b))  # ends * (a^3 + a^2 b + a b^2 + b^3)
    farther = ends * (b * (a * a + b * (2 * a + 3 * b)))  # each times 0, 1, 2, 3
    return (
        8 * peak,
        (total * counts).sum(1, keepdim=True),
        (total * begins + farther).sum(1, keepdim=True),
    )


def _plane_by_plane(scores: Float[Tensor, "b planes h w"], max_disparity: int, factor: int) -> list[Sums]:
    h, w = scores.shape[-2:]
    # planes as the rows of one tall image: a bilinear resize then interpolates along disparity alone
    columns = scores.flatten(2).unsqueeze(1)
    columns = F.interpolate(columns, size=(max_disparity, h * w), mode="bilinear", align_corners=False)
    fine = columns.squeeze(1).unflatten(2, (h, w))
    firsts = range(0, max_disparity, FINE_PLANES)
    return [_kept_small(_sums_of_planes, fine[:, first : first + FINE_PLANES], first, factor) for first in firsts]


def _sums_of_planes(block: Float[Tensor, "b n h w"], first: int, factor: int) -> Sums:
    scores = _upsampled(block, factor)
    disparities = torch.arange(first, first + block.shape[1], dtype=scores.dtype, device=scores.device)
    peak = scores.detach().amax(1, keepdim=True)
    share = torch.exp(scores - peak)
    moment = (share * disparities.view(-1, 1, 1)).sum(1, keepdim=True)
    return peak, share.sum(1, keepdim=True), moment


def _upsampled(block: Float[Tensor, "b n h w"], factor: int) -> Float[Tensor, "b n fh fw"]:
    h, w = block.shape[-2:]
    return F.interpolate(block, size=(h * factor, w * factor), mode="bilinear", align_corners=False)


def _kept_small(sums: Callable[..., Sums], block: Tensor, *more: object) -> Sums:
    """`sums` of a block; where a gradient is asked for, what it needs inside is computed again instead of kept."""
    if torch.is_grad_enabled() and block.requires_grad and not torch.compiler.is_exporting():
        return checkpoint(sums, block, *more, use_reentrant=False, preserve_rng_state=False)
    return sums(block, *more)
