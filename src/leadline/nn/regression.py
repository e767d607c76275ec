"""From matching scores to a disparity."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from leadline.nn.forms import has_few_operations

BLOCK = 24  # fine planes that exist at full resolution at one time


def soft_argmin(scores: Float[Tensor, "b p h w"], spacing: float) -> Float[Tensor, "b 1 h w"]:
    """The mean disparity under the softmax of the scores, plane k standing for k * spacing px.

    Source: Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo Regression", ICCV 2017.
    """
    planes = torch.arange(scores.shape[1], device=scores.device, dtype=torch.float32) * spacing
    return (torch.softmax(scores.float(), 1) * planes[:, None, None]).sum(1, keepdim=True)


def local_soft_argmin(
    scores: Float[Tensor, "b p h w"], spacing: float, reach: float = 2.0, sharpness: float = 8.0
) -> Float[Tensor, "b 1 h w"]:
    """The mean disparity round the likeliest plane alone, plane k standing for k * spacing px.

    At an edge the softmax has two peaks, and its mean lies on neither surface. Here the softmax of the sharpened
    scores finds the higher peak first, and only planes within `reach` of it (half a plane more fading out) are
    averaged. Nothing but arithmetic on planes: no argmax, no gather, so it exports and quantises like the rest.

    Args:
        reach: planes to either side of the peak that count in full.
        sharpness: factor on the scores for finding the peak.

    Source: the single-peak mean of Chen et al., "On the Over-Smoothing Problem of CNN Based Disparity Estimation",
    ICCV 2019, with a soft window in the place of the search for the peak's ends.
    """
    scores = scores.float()
    planes = torch.arange(scores.shape[1], device=scores.device, dtype=torch.float32)[:, None, None]
    if has_few_operations():
        sharp, plain = torch.softmax(scores * sharpness, 1), torch.softmax(scores, 1)
    else:  # one search for the largest serves both; ONNX Runtime transposes for a softmax over channels, and back
        low = scores - scores.detach().amax(1, keepdim=True)
        sharp, plain = _over_sum(torch.exp(low * sharpness)), _over_sum(torch.exp(low))
    peak = (sharp * planes).sum(1, keepdim=True)
    window = (reach + 0.5 - (planes - peak).abs()).clamp(0, 1)
    share = plain * window
    # Between two equal peaks the window may be empty: then the middle of both is the answer.
    moment, total = (share * planes).sum(1, keepdim=True), share.sum(1, keepdim=True)
    return (moment + 1e-3 * peak) / (total + 1e-3) * spacing


def _over_sum(x: Float[Tensor, "b p h w"]) -> Float[Tensor, "b p h w"]:
    return x / x.sum(1, keepdim=True)


def upsampled_soft_argmin(
    scores: Float[Tensor, "b planes h w"], max_disparity: int, factor: int
) -> Float[Tensor, "b 1 fh fw"]:
    """Trilinear upsampling of the scores, softmax over disparity, and the mean disparity under it.

    Args:
        scores: higher is a better match; plane i stands for disparities round (i + 0.5) * max_disparity / planes - 0.5.
        max_disparity: fine planes, px at full resolution; the result lies in [0, max_disparity - 1].
        factor: full resolution over that of the scores.

    Equal to interpolating to (max_disparity, factor * h, factor * w) (half-pixel centres, clamped at the ends) and
    regressing there, but the full-resolution volume never exists: interpolation is separable, so the disparity axis is
    done while the maps are small, and the softmax is gathered over blocks of planes, in training too, where a block is
    computed again for its gradient rather than kept.

    Source: soft argmin of Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo Regression",
    ICCV 2017; blockwise softmax of Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
    """
    h, w = scores.shape[-2:]
    # planes as the rows of one tall image: a bilinear resize then interpolates along disparity alone
    columns = scores.float().flatten(2).unsqueeze(1)
    columns = F.interpolate(columns, size=(max_disparity, h * w), mode="bilinear", align_corners=False)
    fine = columns.squeeze(1).unflatten(2, (h, w))

    keep = torch.is_grad_enabled() and fine.requires_grad and not torch.compiler.is_exporting()
    parts = []
    for first in range(0, max_disparity, BLOCK):
        block = fine[:, first : first + BLOCK]
        if keep:
            parts.append(checkpoint(_block_sums, block, first, factor, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_block_sums(block, first, factor))
    peaks, totals, moments = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    weights = torch.exp(peaks - peaks.amax(1, keepdim=True))
    return (weights * moments).sum(1, keepdim=True) / (weights * totals).sum(1, keepdim=True)


def _block_sums(block: Tensor, first: int, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of planes first, first + 1, ...: the largest score, and relative to it sum(exp) and sum(exp * disparity)."""
    h, w = block.shape[-2:]
    scores = F.interpolate(block, size=(h * factor, w * factor), mode="bilinear", align_corners=False)
    disparities = torch.arange(first, first + block.shape[1], dtype=scores.dtype, device=scores.device)
    peak = scores.detach().amax(1, keepdim=True)  # its gradient cancels in the quotient
    share = torch.exp(scores - peak)
    moment = (share * disparities.view(-1, 1, 1)).sum(1, keepdim=True)
    return peak, share.sum(1, keepdim=True), moment
