"""Transformer layers: encoder and decoder, normalised before each part."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.attention.multi_head import Attention, Rotation
from leadline.nn.dropout import StochasticDepth


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between. Shapes: (b, n, width) -> the same. MACs: 2 * width * hidden per token."""

    def __init__(self, width: int, hidden: int):
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    Shapes: (b, n, width) -> the same. MACs: n * (4 + 2 * ratio) * width^2 + 2 * n^2 * width.
    Source: Vaswani et al., NeurIPS 2017; normalised before as in Xiong et al., "On Layer Normalization in the
    Transformer Architecture", ICML 2020.

    Args:
        ratio: hidden channels of the feed-forward part over width.
        drop: probability that a part is left out for a sample while training (stochastic depth).
    """

    def __init__(self, width: int, heads: int, ratio: int = 4, drop: float = 0.0):
        super().__init__()
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.forward_part = FeedForward(width, ratio * width)
        self.drop = StochasticDepth(drop)

    def forward(self, x: Float[Tensor, "b n c"], turned: Rotation | None = None) -> Float[Tensor, "b n c"]:
        x = x + self.drop(self.attention(self.norm_attention(x), turned=turned))
        return x + self.drop(self.forward_part(self.norm_forward(x)))


class DecoderLayer(nn.Module):
    """Attention to itself, to `memory` (an encoder's output), and the feed-forward part; each beside an identity.

    Shapes: (b, n, width), (b, m, width) -> (b, n, width).
    MACs: (6 * n + 2 * m + 2 * ratio * n) * width^2 + 2 * n * (n + m) * width.
    Source: as EncoderLayer. Nothing is masked: depth is not written from left to right.
    """

    def __init__(self, width: int, heads: int, ratio: int = 4, drop: float = 0.0):
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention, self.cross_attention = Attention(width, heads), Attention(width, heads)
        self.forward_part = FeedForward(width, ratio * width)
        self.drop = StochasticDepth(drop)

    def forward(self, x: Float[Tensor, "b n c"], memory: Float[Tensor, "b m c"]) -> Float[Tensor, "b n c"]:
        x = x + self.drop(self.self_attention(self.norm_self(x)))
        x = x + self.drop(self.cross_attention(self.norm_cross(x), memory))
        return x + self.drop(self.forward_part(self.norm_forward(x)))
