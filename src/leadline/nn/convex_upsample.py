"""Learned upsampling of a map of few channels: disparity, depth or flow."""

from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Size, Tensor

from leadline.nn.forms import is_for_bfloat16, narrow
from leadline.nn.layout import plane_by_plane


def convex_upsample(
    coarse: Float[Tensor, "b c h w"],
    weights: Float[Tensor, "b k hw_ ww_"],
    factor: int,
    edge: Literal["replicate", "zeros"] = "replicate",
) -> Float[Tensor, "b c fh fw"]:
    """Each fine pixel is a convex combination of the 3x3 coarse values round it (Teed and Deng, RAFT, ECCV 2020).

    Args:
        coarse: values in their final unit (they are not scaled: a flow at 1/4 is multiplied by 4 before).
        weights: logits, (b, 9 * factor^2, h, w), the neighbour changing slowest; softmax is taken here. All channels
            share them.
        edge: what stands beyond the coarse map; RAFT's own code has zeros there.
    """
    parts = plane_by_plane(weights).chunk(9, 1)
    peak = reduce(torch.maximum, [part.detach() for part in parts])  # its gradient cancels in the quotient
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate" if edge == "replicate" else "constant")
    channels = [padded] if padded.shape[1] == 1 else padded.split(1, 1)  # converters fail on a split into one part
    shares = [torch.exp(part - peak) for part in parts]
    # Sums begin with their first term: a tensor of zeros has converters transpose all that it is added to.
    total = reduce(torch.add, shares)
    values = [_mix(channel, shares, total, coarse.shape[-2:]) for channel in channels]
    return F.pixel_shuffle(torch.cat(values, 1), factor)


def _mix(channel: Tensor, shares: list[Tensor], total: Tensor, size: Size) -> Tensor:
    """The neighbours of each value of a padded channel, by their shares of the total."""
    if not is_for_bfloat16():
        products = [share * near for share, near in zip(shares, _neighbours(channel, size), strict=True)]
        return reduce(torch.add, products) / total
    high = narrow(channel)
    low = channel - high
    highs, lows = _neighbours(high, size), _neighbours(low, size)
    beside = [(one - highs[4]) + (other - lows[4]) for one, other in zip(highs, lows, strict=True)]
    products = [share * near for share, near in zip(shares, beside, strict=True)]
    return (highs[4] + lows[4]) + narrow(reduce(torch.add, products) / total)


def _neighbours(padded: Tensor, size: Size) -> list[Tensor]:
    """The 3x3 of each value, row by row; the fifth is the value itself."""
    h, w = size
    return [padded[:, :, row : row + h, column : column + w] for row in range(3) for column in range(3)]
