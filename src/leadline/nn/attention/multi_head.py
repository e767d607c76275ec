"""Multi-head attention over tokens, from a sequence to itself or to another, and along epipolar lines."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.positions import rotate, rotation

Rotation = tuple[Tensor, Tensor]  # cos and sin, of leadline.nn.positions.rotation


class Attention(nn.Module):
    """Softmax(q k^T / sqrt(width / heads)) v per head, q from `x`, k and v from `memory` (None: from `x`).

    Shapes: (b, n, width), (b, m, width) -> (b, n, width).
    MACs: 2 * width^2 * (n + m) + 2 * width * n * m.
    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017.

    Args:
        width: channels of a token, a multiple of heads.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, x: Float[Tensor, "b n c"], memory: Float[Tensor, "b m c"] | None = None, turned: Rotation | None = None
    ) -> Float[Tensor, "b n c"]:
        """`turned`: rotary positions of the tokens, for width / heads channels; of `x` and `memory` alike."""
        memory = x if memory is None else memory
        query, key, value = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, tokens in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        if turned is not None:
            query, key = rotate(query, turned), rotate(key, turned)
        heard = F.scaled_dot_product_attention(query, key, value)
        return self.out(heard.transpose(1, 2).flatten(2))


class EpipolarAttention(nn.Module):
    """Every pixel looks at all pixels of its own row in the other view, where its match must be; residual.

    Columns are told by rotary positions, so a match is found by where it lies relative to the pixel as well as by
    what it looks like.

    Shapes: (b, c, h, w), (b, c, h, w) -> (b, c, h, w). MACs: 4 * c^2 + 2 * c * w per pixel.
    Source: Li et al., "Revisiting Stereo Depth Estimation From a Sequence-to-Sequence Perspective with Transformers"
    (STTR), ICCV 2021, with rotary positions in the place of its relative ones.
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.attention = Attention(channels, heads)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "b c h w"], other: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        h, w = x.shape[-2:]
        here, there = (self.norm(view.permute(0, 2, 3, 1)).flatten(0, 1) for view in (x, other))  # (b h, w, c)
        columns = torch.arange(w, device=x.device, dtype=torch.float32)
        turned = rotation(columns, x.shape[1] // self.attention.heads)
        heard = self.attention(here, there, turned)
        return x + heard.unflatten(0, (-1, h)).permute(0, 3, 1, 2)
