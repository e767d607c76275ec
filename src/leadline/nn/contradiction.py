"""What the right view says of the left one's disparity, without looking at it twice, and what lies behind."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leadline.nn.regression import local_soft_argmin

NOWHERE = -1e3  # the score of a match outside the left view
UNKNOWN = 1e4  # a disparity larger than any


def right_from_left_scores(scores: Float[Tensor, "b p h w"], spacing: float) -> Float[Tensor, "b 1 h w"]:
    """The right view's disparity from the left view's scores, plane k being k columns and standing for k * spacing.

    A match of the left column x with the right column x - k is one of that right column: its scores stand on a diagonal
    of the left volume, as OpenCV's SGBM reads them for its left-right check (disp12MaxDiff).
    """
    b, planes, h, w = scores.shape
    rows = F.pad(scores.permute(0, 2, 1, 3), (0, planes), value=NOWHERE).flatten(2)
    # Read with rows one longer, plane k begins k columns later.
    rows = F.pad(rows, (0, planes), value=NOWHERE).reshape(b, h, planes, w + planes + 1)
    return local_soft_argmin(rows[..., :w].permute(0, 2, 1, 3), spacing)


def carry_background(
    disparity: Float[Tensor, "b 1 h w"], sure: Float[Tensor, "b 1 h w"], steps: int = 7
) -> Float[Tensor, "b 1 h w"]:
    """Where `sure` is 0, the smaller of the nearest disparities to the left and right in the row where it is 1.

    Nothing farther than 2^steps - 1 columns counts; where there is nothing, the disparity stays. The same as
    `leadline.geometry.consistency.fill_background`, in a logarithmic number of shifts.
    """
    filled = torch.minimum(
        _carry(disparity, sure, steps, from_left=True), _carry(disparity, sure, steps, from_left=False)
    )
    return torch.where(filled < UNKNOWN, filled, disparity)


def _carry(disparity: Tensor, sure: Tensor, steps: int, from_left: bool) -> Tensor:
    """The nearest sure disparity on one side; UNKNOWN where there is none."""
    value = torch.where(sure > 0, disparity, UNKNOWN)
    width = disparity.shape[-1]
    for step in range(steps):
        distance = 2**step
        if from_left:
            there = F.pad(value, (distance, 0), value=UNKNOWN)[..., :width]
        else:
            there = F.pad(value, (0, distance), value=UNKNOWN)[..., distance:]
        value = torch.where(value < UNKNOWN, value, there)
    return value
