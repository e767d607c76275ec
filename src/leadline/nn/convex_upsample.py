"""Learned upsampling of a map of few channels: disparity, depth or flow."""

from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

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
    h, w = coarse.shape[-2:]
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate" if edge == "replicate" else "constant")
    channels = [padded] if padded.shape[1] == 1 else padded.split(1, 1)  # converters fail on a split into one part
    shares = [torch.exp(part - peak) for part in parts]
    # Sums begin with their first term: a tensor of zeros has converters transpose all that it is added to.
    total = reduce(torch.add, shares)
    values = []
    for channel in channels:
        near = [channel[:, :, row : row + h, column : column + w] for row in range(3) for column in range(3)]
        products = [share * neighbour for share, neighbour in zip(shares, near, strict=True)]
        values.append(reduce(torch.add, products) / total)
    return F.pixel_shuffle(torch.cat(values, 1), factor)
