"""Every pixel hears of every other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class NonLocal(nn.Module):
    """x + w(softmax(q^T k) v): embedded-Gaussian non-local block; keys and values from 2x2 maxima.

    Begins as the identity (w is 0).

    Shapes: (b, c, h, w) -> the same; h and w 2 or more.
    MACs: with n = h * w pixels and m = floor(h / 2) * floor(w / 2) keys: 2 * n * c^2 + n * m * c.
    Source: Wang et al., "Non-local Neural Networks", CVPR 2018.
    """

    def __init__(self, channels: int):
        super().__init__()
        narrow = max(channels // 2, 1)
        self.query, self.key, self.value = (nn.Conv2d(channels, narrow, 1) for _ in range(3))
        self.out = nn.Conv2d(narrow, channels, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        query = self.query(x).flatten(2).transpose(1, 2)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        heard = torch.softmax(query @ key, -1) @ value.transpose(1, 2)
        return x + self.out(heard.transpose(1, 2).unflatten(2, x.shape[-2:]))
