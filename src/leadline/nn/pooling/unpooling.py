"""Maxima that remember where they were."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class MaxPool(nn.Module):
    """The maximum of each 2x2, and where it was. Shapes: (b, c, h, w) -> two of (b, c, h // 2, w // 2).

    Source: Badrinarayanan et al., "SegNet", TPAMI 2017 (the indices); the operation is PyTorch's.
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h2 w2"], Int[Tensor, "b c h2 w2"]]:
        return F.max_pool2d(x, 2, return_indices=True)


class MaxUnpool(nn.Module):
    """Puts values back where the maxima were, zeros elsewhere, at the size of `like`.

    Edges keep their place through an hourglass, which interpolation cannot give. It scatters, which few targets know.

    Shapes: two of (b, c, h // 2, w // 2), like (b, c, h, w) -> (b, c, h, w). Source: as MaxPool.
    """

    def forward(
        self, x: Float[Tensor, "b c h2 w2"], places: Int[Tensor, "b c h2 w2"], like: Float[Tensor, "b _ h w"]
    ) -> Float[Tensor, "b c h w"]:
        return F.max_unpool2d(x, places, [2, 2], output_size=like.shape[-2:])
