"""Losses on a network's distribution over disparity planes, before it is reduced to one number."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from leadline.errors import UserError
from leadline.models.network import Task
from leadline.nn.local_correlation import Displacements, displacements
from leadline.training.losses.registry import Kind, loss


@loss("disparity_cross_entropy", Kind.DISTRIBUTION)
def disparity_cross_entropy(
    scores: Float[Tensor, "b planes hq wq"],
    spacing: float,
    truth: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    diversity: Annotated[float, Field(gt=0)] = 1.0,
) -> Float[Tensor, ""]:
    """- sum over planes of p log softmax(scores), where p_k ~ exp(-|k spacing - truth| / diversity).

    A Laplacian around the truth rather than one plane, so that a neighbouring plane is better than a far one, and so
    that the mode stays at the right place between planes: S. Tulyakov et al., "Practical Deep Stereo", NeurIPS 2018.
    Unlike a loss on the soft argmin, it is not content with two wrong modes that have the right mean.

    Args:
        scores: before the softmax, higher is more likely; plane k stands for k × spacing.
        spacing: px of the full image between planes.
        truth: px at full size; brought to the size of the scores by `shrink`.
        valid: where truth is known.
        diversity: of the Laplacian, in planes.
    """
    target, known = shrink(truth, valid, scores.shape[-2:])
    planes = torch.arange(scores.shape[1], device=scores.device, dtype=scores.dtype).view(1, -1, 1, 1)
    known = known & (target <= spacing * (scores.shape[1] - 1))
    laplacian = functional.softmax(-(planes - target / spacing).abs() / diversity, 1)
    entropy = -(laplacian * functional.log_softmax(scores, 1)).sum(1, keepdim=True)
    return torch.where(known, entropy, entropy.new_zeros(())).sum() / known.sum().clamp(min=1)


def shrink(
    truth: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"], size: tuple[int, int] | torch.Size
) -> tuple[Float[Tensor, "b 1 hq wq"], Bool[Tensor, "b 1 hq wq"]]:
    """The truth at a lower resolution, in px of the full image: the lower median of each cell's valid pixels.

    The mean would invent a surface between foreground and background at every edge; the nearest pixel loses sparse
    (lidar) truth; the median is a value that is there, of the surface that fills most of the cell.

    Returns:
        The truth, 0 where no pixel of the cell is valid, and where one is.

    Raises:
        UserError: `size` does not divide the full one.
    """
    height, width = truth.shape[-2:]
    if height % size[0] or width % size[1]:
        raise UserError(f"scores of {size[0]}x{size[1]} do not divide a crop of {height}x{width}: change the crop")
    step = height // size[0], width // size[1]

    def cells(values: Tensor) -> Tensor:
        parts = values.reshape(len(values), size[0], step[0], size[1], step[1])
        return parts.permute(0, 1, 3, 2, 4).flatten(3)

    known = cells(valid)
    ordered = torch.where(known, cells(truth), float("inf")).sort(-1).values  # what is not valid comes last
    count = known.sum(-1, keepdim=True)
    middle = ordered.gather(-1, ((count - 1) // 2).clamp(min=0))
    found = count > 0
    median = torch.where(found, middle, middle.new_zeros(()))
    return median.permute(0, 3, 1, 2), found.permute(0, 3, 1, 2)


@loss("displacement_cross_entropy", Kind.DISTRIBUTION, tasks=(Task.FLOW,))
def displacement_cross_entropy(
    scores: list[Displacements], spacing: float, truth: Float[Tensor, "b 2 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """- log softmax of the scores at the true displacement, averaged over the windows that a network gives.

    The truth between four whole displacements stands for all four, bilinearly. Pixels whose truth lies beyond a
    window's reach are left out of it. Unlike a loss on the flow, it tells every displacement whether it was right.

    Args:
        scores: windows of any resolution; flow in px of the full image is divided by the factor between them.
        spacing: not used.
        truth: px at full size.
        valid: where truth is known.
    """
    values = []
    for window in scores:
        factor = truth.shape[-1] // window.scores.shape[-1]
        middle = (..., slice(factor // 2, None, factor), slice(factor // 2, None, factor))
        wanted = truth[middle] / factor - window.start.detach()
        u, v = displacements(window.reach, wanted)
        target = (1 - (u - wanted[:, 0:1]).abs()).clamp(min=0) * (1 - (v - wanted[:, 1:2]).abs()).clamp(min=0)
        likelihood = (target * functional.log_softmax(window.scores.float(), 1)).sum(1, keepdim=True)
        inside = valid[middle] & (target.sum(1, keepdim=True) > 0.999)
        values.append(-(likelihood * inside).sum() / inside.sum().clamp(min=1))
    return torch.stack(values).mean()
