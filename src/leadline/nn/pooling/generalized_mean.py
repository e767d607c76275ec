"""Between the mean and the maximum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GeneralizedMean(nn.Module):
    """(mean of x^p)^(1 / p) with one learned p: 1 is the mean, and the larger p the nearer to the maximum.

    Shapes: (b, c, h, w) -> (b, c, h // side, w // side), or (b, c, 1, 1) for the whole map. Values below 1e-6 count as
    1e-6: meant for what comes out of a ReLU. MACs: none; two powers per value.
    Source: Radenović et al., "Fine-tuning CNN Image Retrieval with No Human Annotation" (GeM), TPAMI 2018.

    Args:
        side: of the window, px; None: the whole map.
        p: where it begins.
    """

    def __init__(self, side: int | None = 2, p: float = 3.0):
        super().__init__()
        self.side = side
        self.p = nn.Parameter(torch.tensor(p))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c ho wo"]:
        powers = x.clamp(min=1e-6) ** self.p
        mean = powers.mean((2, 3), keepdim=True) if self.side is None else F.avg_pool2d(powers, self.side)
        return mean ** (1 / self.p)
