"""Cost volumes with a disparity axis of their own. h, w and disparities are those of the feature maps."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def shifted_planes(x: Float[Tensor, "b c h w"], first: int, count: int) -> Float[Tensor, "n b c h w"]:
    """Plane i is `x` moved right by `first + i` columns, zeros entering from the left.

    No loop: rows that are padded to length w + s and repeated, then read as rows of length w + s - 1, advance by one
    column each. That takes a pad, an expand and two reshapes, which every exporter knows, whatever `count`.
    """
    w = x.shape[-1]
    row = w + count
    moved = F.pad(F.pad(x, (first, 0))[..., :w], (0, count))
    tape = moved.unsqueeze(3).expand(-1, -1, -1, count, -1).flatten(3)
    planes = tape[..., : count * (row - 1)].unflatten(3, (count, row - 1))[..., :w]
    return planes.permute(3, 0, 1, 2, 4)


def groupwise_correlation(
    left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"], planes: int, groups: int, at_once: int = 4
) -> Float[Tensor, "b g planes h w"]:
    """Mean product of the features per group of c / g consecutive channels, at disparities 0 .. planes - 1.

    Columns < d of plane d, which the right view does not reach, are 0; so are whole planes with d >= w.

    Args:
        at_once: planes computed together; bounds the memory of the products, changes no value.

    Source: Guo et al., "Group-wise Correlation Stereo Network", CVPR 2019. MACs: c * planes per pixel.
    """
    left_groups = left.unflatten(1, (groups, -1))
    volume = []
    for first in range(0, planes, at_once):
        moved = shifted_planes(right, first, min(at_once, planes - first)).unflatten(2, (groups, -1))
        volume.append((left_groups * moved).mean(3))
    return torch.cat(volume).permute(1, 2, 0, 3, 4)


def concatenation_volume(
    left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"], planes: int
) -> Float[Tensor, "b c2 planes h w"]:
    """The left features over the right ones moved by each disparity 0 .. planes - 1; what matches is learned after it.

    Columns < d of plane d, which the right view does not reach, are 0 in both halves. MACs: none; memory: 2 * c *
    planes per pixel.

    Source: Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo Regression", ICCV 2017.
    """
    moved = shifted_planes(right, 0, planes)
    reached = shifted_planes(torch.ones_like(left[:, :1]), 0, planes)
    return torch.cat([left * reached, moved], 2).permute(1, 2, 0, 3, 4)
