"""Dense registration of two frames, at the first one or at the frame halfway between them. No weights."""

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
SURROUNDINGS = 9  # px, of what `without_lighting` compares a pixel with
FAINT = 0.01  # grey values that vary less than this hardly count
CONTRAST = 0.25  # of what comes out
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
    return _step(*_look(frame0, frame1, flow, half=True), flow, moves=2.0)


def register_flow(
    frame0: Float[Tensor, "b c h w"], frame1: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]
) -> Float[Tensor, "b 2 h w"]:
    """One step towards the flow f that makes frame0(x) and frame1(x + f) agree; otherwise as `register_half`."""
    return _step(*_look(frame0, frame1, flow, half=False), flow, moves=1.0)


def adopt_neighbours(
    frame0: Float[Tensor, "b c h w"],
    frame1: Float[Tensor, "b c h w"],
    flow: Float[Tensor, "b 2 h w"],
    reach: int,
    half: bool = True,
) -> Float[Tensor, "b 2 h w"]:
    """Takes over the flow of a pixel `reach` px away, in four directions, where the frames agree better by it.

    Registration alone cannot leave a wrong minimum, as at the outlines of what moves; a neighbour may know better.
    Agreement is the mean difference over 3x3 px; where a frame is left it counts as UNSEEN.

    Args:
        half: the flow is a half flow, as in `register_half`, and not one from frame 0.

    Source: propagation of C. Barnes et al., "PatchMatch", 2009, in the plane rather than in scan order.
    """
    disagreement = _disagreement(frame0, frame1, flow, half)
    h, w = flow.shape[-2:]
    around = F.pad(flow, (reach, reach, reach, reach), mode="replicate")
    for top, left in ((reach, 0), (reach, 2 * reach), (0, reach), (2 * reach, reach)):
        candidate = around[:, :, top : top + h, left : left + w]
        other = _disagreement(frame0, frame1, candidate, half)
        better = (other + CLEARLY < disagreement).to(flow.dtype)
        flow = flow * (1 - better) + candidate * better
        disagreement = disagreement * (1 - better) + other * better
    return flow


def keep_better(
    frame0: Float[Tensor, "b c h w"],
    frame1: Float[Tensor, "b c h w"],
    before: Float[Tensor, "b 2 h w"],
    after: Float[Tensor, "b 2 h w"],
) -> Float[Tensor, "b 2 h w"]:
    """`after` where the frames agree better by it than by `before`, fading from one to the other over 3x3 px."""
    gained = _disagreement(frame0, frame1, after, False) < _disagreement(frame0, frame1, before, False)
    share = _mean3(gained.to(before.dtype))
    return before + share * (after - before)


def without_lighting(frame: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """The grey values less their mean round each pixel, over how much they vary there: what exposure leaves alone."""
    grey = frame.mean(1, keepdim=True)
    reach = SURROUNDINGS // 2
    mean, square = (
        F.avg_pool2d(F.pad(x, (reach, reach, reach, reach), mode="replicate"), SURROUNDINGS, 1)
        for x in (grey, grey * grey)
    )
    varies = (square - mean * mean).clamp(min=0).sqrt()
    return CONTRAST * (grey - mean) / (varies + FAINT)


def _look(frame0: Tensor, frame1: Tensor, flow: Tensor, half: bool) -> tuple[Tensor, Tensor, Float[Tensor, "b 1 h w"]]:
    """Both frames as the flow says they meet, and where both are seen."""
    if half:
        warped = warp_clamped(frame0, -flow), warp_clamped(frame1, flow)
        return *warped, inside_by_flow(-flow) * inside_by_flow(flow)
    return frame0, warp_clamped(frame1, flow), inside_by_flow(flow)


def _step(warped0: Tensor, warped1: Tensor, seen: Tensor, flow: Tensor, moves: float) -> Float[Tensor, "b 2 h w"]:
    """`moves`: by how many px the frames move against one another where the flow changes by one."""
    apart = warped1 - warped0
    around = F.pad(warped0 + warped1, (1, 1, 1, 1), mode="replicate")
    along_x = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) * (moves / 4)
    along_y = (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]) * (moves / 4)
    weight = seen / (1 + (apart.abs().mean(1, keepdim=True) / TOLERANCE).square())
    products = [along_x * along_x, along_x * along_y, along_y * along_y, along_x * apart, along_y * apart]
    sums = _window_mean(torch.cat([weight * p.mean(1, keepdim=True) for p in products] + [flow], 1))
    xx, xy, yy, x_apart, y_apart, mean_x, mean_y = sums.chunk(7, 1)
    stiffness = STIFFNESS * (moves / 2) ** 2
    x_apart = x_apart - stiffness * (mean_x - flow[:, :1])
    y_apart = y_apart - stiffness * (mean_y - flow[:, 1:])
    xx, yy = xx + stiffness, yy + stiffness
    step = torch.cat([xy * y_apart - yy * x_apart, xy * x_apart - xx * y_apart], 1) / (xx * yy - xy * xy)
    return flow + step.clamp(-MOST, MOST)


def _disagreement(frame0: Tensor, frame1: Tensor, flow: Tensor, half: bool) -> Float[Tensor, "b 1 h w"]:
    warped0, warped1, seen = _look(frame0, frame1, flow, half)
    apart = (warped0 - warped1).abs().mean(1, keepdim=True)
    return _mean3(apart * seen + UNSEEN * (1 - seen))


def _mean3(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    return F.avg_pool2d(F.pad(values, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _window_mean(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    reach = WINDOW // 2
    return F.avg_pool2d(F.pad(values, (reach, reach, reach, reach), mode="replicate"), WINDOW, 1)
