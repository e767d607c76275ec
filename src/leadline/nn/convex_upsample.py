"""Learned upsampling of a one-channel map."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def convex_upsample(
    coarse: Float[Tensor, "b 1 h w"], weights: Float[Tensor, "b k hw_ ww_"], factor: int
) -> Float[Tensor, "b 1 fh fw"]:
    """Each fine pixel is a convex combination of the 3x3 coarse values round it (Teed and Deng, RAFT, ECCV 2020).

    Args:
        coarse: values in their final unit (they are not scaled).
        weights: logits, (b, 9 * factor^2, h, w), the neighbour changing slowest; softmax is taken here.
    """
    parts = weights.chunk(9, 1)
    peak = parts[0]
    for part in parts[1:]:
        peak = torch.maximum(peak, part)
    h, w = coarse.shape[-2:]
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")
    total, value = torch.zeros_like(peak), torch.zeros_like(peak)
    for i, part in enumerate(parts):
        share = torch.exp(part - peak)
        row, column = divmod(i, 3)
        value = value + share * padded[:, :, row : row + h, column : column + w]
        total = total + share
    return F.pixel_shuffle(value / total, factor)
