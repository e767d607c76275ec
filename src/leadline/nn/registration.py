"""Dense registration of two frames at the frame halfway between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leadline.nn.warp import inside_by_flow, warp_clamped

WINDOW = 5  # px
TOLERANCE = 0.1  # difference of grey values in [0, 1] beyond which a pixel is hardly believed
STIFFNESS = 4e-3  # of the ties to the surroundings, against squared gradients
MOST = 1.0  # px of a step
UNSEEN = 0.06  # difference of grey values that stands for a pixel outside of a frame
CLEARLY = 0.002  # difference of grey values by which a neighbour's flow must be better


def register_half(
    frame0: Float[Tensor, "b c h w"], frame1: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]
) -> Float[Tensor, "b 2 h w"]:
    """One step towards the half flow d that makes frame0(x - d) and frame1(x + d) agree.

    Solves for the step s that minimises, over a window round each pixel, the squared difference of the warped frames
    linearised in s, each pixel weighted by 1 / (1 + (difference / TOLERANCE)^2), plus STIFFNESS times the squared
    distance of d + s from the window's mean d. What has texture follows the frames, what has none its surroundings;
    so does what lies outside of either frame.

    Args:
        frame0, frame1: values in [0, 1].
        flow: d so far, px. No gradient is meant to flow through a step.

    Source: Lucas and Kanade, "An Iterative Image Registration Technique", IJCAI 1981, made symmetric; the tie to the
    mean is that of Horn and Schunck, "Determining Optical Flow", 1981.
    """
    warped0, warped1 = warp_clamped(frame0, -flow), warp_clamped(frame1, flow)
    apart = warped1 - warped0
    around = F.pad(warped0 + warped1, (1, 1, 1, 1), mode="replicate")
    along_x = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / 2
    along_y = (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]) / 2
    weight = 1 / (1 + (apart.abs().mean(1, keepdim=True) / TOLERANCE).square())
    weight = weight * inside_by_flow(-flow) * inside_by_flow(flow)
    products = [along_x * along_x, along_x * along_y, along_y * along_y, along_x * apart, along_y * apart]
    sums = _window_mean(torch.cat([weight * p.mean(1, keepdim=True) for p in products] + [flow], 1))
    xx, xy, yy, x_apart, y_apart, mean_x, mean_y = sums.chunk(7, 1)
    x_apart = x_apart - STIFFNESS * (mean_x - flow[:, :1])
    y_apart = y_apart - STIFFNESS * (mean_y - flow[:, 1:])
    xx, yy = xx + STIFFNESS, yy + STIFFNESS
    step = torch.cat([xy * y_apart - yy * x_apart, xy * x_apart - xx * y_apart], 1) / (xx * yy - xy * xy)
    return flow + step.clamp(-MOST, MOST)


def adopt_neighbours(
    frame0: Float[Tensor, "b c h w"], frame1: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"], reach: int
) -> Float[Tensor, "b 2 h w"]:
    """Takes over the half flow of a pixel `reach` px away, in four directions, where the frames agree better by it.

    Registration alone cannot leave a wrong minimum, as at the outlines of what moves; a neighbour may know better.
    Agreement is the mean difference over 3x3 px; where one frame is left it counts as UNSEEN.

    Source: propagation of C. Barnes et al., "PatchMatch", 2009, in the plane rather than in scan order.
    """
    disagreement = _disagreement(frame0, frame1, flow)
    h, w = flow.shape[-2:]
    around = F.pad(flow, (reach, reach, reach, reach), mode="replicate")
    for top, left in ((reach, 0), (reach, 2 * reach), (0, reach), (2 * reach, reach)):
        candidate = around[:, :, top : top + h, left : left + w]
        other = _disagreement(frame0, frame1, candidate)
        better = (other + CLEARLY < disagreement).to(flow.dtype)
        flow = flow * (1 - better) + candidate * better
        disagreement = disagreement * (1 - better) + other * better
    return flow


def _disagreement(frame0: Tensor, frame1: Tensor, flow: Tensor) -> Float[Tensor, "b 1 h w"]:
    apart = (warp_clamped(frame0, -flow) - warp_clamped(frame1, flow)).abs().mean(1, keepdim=True)
    seen = inside_by_flow(-flow) * inside_by_flow(flow)
    apart = apart * seen + UNSEEN * (1 - seen)
    return F.avg_pool2d(F.pad(apart, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _window_mean(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    reach = WINDOW // 2
    return F.avg_pool2d(F.pad(values, (reach, reach, reach, reach), mode="replicate"), WINDOW, 1)
