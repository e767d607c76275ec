"""Correlation with a window of the other frame, by shifts alone, and the displacement that its scores speak for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Reach = tuple[int, int]  # rows, columns to either side


@dataclass(frozen=True)
class Displacements:
    """Scores of the displacements within a window, for losses that look at their distribution."""

    scores: Float[Tensor, "b p h w"]  # higher is more likely
    start: Float[Tensor, "b 2 h w"]  # px of this resolution, from where the window's displacements are counted
    reach: Reach


def local_correlation(
    first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h w"], reach: Reach
) -> Float[Tensor, "b p h w"]:
    """Mean product of a pixel's features with those of `second` at every whole displacement within reach.

    Planes go row by row from (-reach[0], -reach[1]) on; see `displacements`. 0 where `second` does not reach.

    Source: the correlation layer of FlowNet (Dosovitskiy et al., ICCV 2015). MACs: c * planes per pixel.
    """
    if torch.is_grad_enabled() and (first.requires_grad or second.requires_grad):
        return _LocalCorrelation.apply(first, second, reach)
    return _forward(first, second, reach)


def displacements(reach: Reach, like: Tensor) -> tuple[Float[Tensor, "p 1 1"], Float[Tensor, "p 1 1"]]:
    """(u, v) of each plane, px."""
    rows = torch.arange(-reach[0], reach[0] + 1, device=like.device, dtype=like.dtype)
    columns = torch.arange(-reach[1], reach[1] + 1, device=like.device, dtype=like.dtype)
    u = columns.repeat(len(rows))
    v = rows.repeat_interleave(len(columns))
    return u[:, None, None], v[:, None, None]


def likeliest_displacement(
    scores: Float[Tensor, "b p h w"], reach: Reach, around: float = 1.5, sharpness: float = 16.0
) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 1 h w"]]:
    """The mean displacement round the likeliest one, (u, v) in px, and how clear it is, in (0, 1].

    As `regression.local_soft_argmin`, in two dimensions: the softmax of the sharpened scores finds the peak, and only
    planes within `around` of it in both directions (half a plane more fading out) are averaged. How clear the peak is,
    is its own share under the sharpened softmax.
    """
    scores = scores.float()
    u, v = displacements(reach, scores)
    sharp = torch.softmax(scores * sharpness, 1)
    peak_u, peak_v = (sharp * u).sum(1, keepdim=True), (sharp * v).sum(1, keepdim=True)
    window = (around + 0.5 - (u - peak_u).abs()).clamp(0, 1) * (around + 0.5 - (v - peak_v).abs()).clamp(0, 1)
    share = torch.softmax(scores, 1) * window
    total = share.sum(1, keepdim=True) + 1e-4
    mean_u = ((share * u).sum(1, keepdim=True) + 1e-4 * peak_u) / total
    mean_v = ((share * v).sum(1, keepdim=True) + 1e-4 * peak_v) / total
    return torch.cat([mean_u, mean_v], 1), sharp.amax(1, keepdim=True)


def clear_mean(
    flow: Float[Tensor, "b c h w"], clearness: Float[Tensor, "b 1 h w"], times: int
) -> Float[Tensor, "b c h w"]:
    """The flow averaged over 3x3 neighbours, each with the square of its clearness as weight, so many times.

    What matches nothing clearly takes the flow of what does (normalised convolution; Knutsson and Westin, CVPR 1993).
    """
    weight = clearness * clearness + 1e-3
    total = F.avg_pool2d(weight, 3, 1, 1)
    for _ in range(times):
        flow = F.avg_pool2d(flow * weight, 3, 1, 1) / total
    return flow


def _forward(first: Tensor, second: Tensor, reach: Reach) -> Tensor:
    h, w = first.shape[-2:]
    ry, rx = reach
    padded = F.pad(second, (rx, rx, ry, ry))
    scores = [
        (first * padded[..., y : y + h, x : x + w]).mean(1, keepdim=True)
        for y in range(2 * ry + 1)
        for x in range(2 * rx + 1)
    ]
    return torch.cat(scores, 1)


class _LocalCorrelation(torch.autograd.Function):
    """The same with gradients summed in place: autograd's own would keep a product per plane."""

    @staticmethod
    def forward(ctx, first: Tensor, second: Tensor, reach: Reach) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.reach = reach
        return _forward(first, second, reach)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        first, second = ctx.saved_tensors
        ry, rx = ctx.reach
        h, w = first.shape[-2:]
        gradient = gradients[0] / first.shape[1]
        padded = F.pad(second, (rx, rx, ry, ry))
        to_first, to_padded = torch.zeros_like(first), torch.zeros_like(padded)
        for plane in range(gradient.shape[1]):
            y, x = divmod(plane, 2 * rx + 1)
            here = gradient[:, plane, None]
            to_first.addcmul_(here, padded[..., y : y + h, x : x + w])
            to_padded[..., y : y + h, x : x + w].addcmul_(here, first)
        return to_first, to_padded[..., ry : ry + h, rx : rx + w], None
