"""Vision Transformer: patches as tokens, encoder layers, and a head that makes dense maps of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN, Residual
from leadline.nn.positions import LearnedPositions, sinusoids_2d
from leadline.nn.transformer import EncoderLayer


class PatchEmbedding(nn.Conv2d):
    """Patches of p x p px, one token each: a convolution whose stride is its kernel.

    Shapes: (b, in, h, w) -> (b, width, h / p, w / p); h and w multiples of p. MACs: in * width per input pixel.
    Source: Dosovitskiy et al., "An Image Is Worth 16x16 Words", ICLR 2021.
    """

    def __init__(self, in_channels: int, width: int, patch: int = 16):
        super().__init__(in_channels, width, patch, stride=patch)


class VisionTransformer(nn.Module):
    """Patch embedding, positions, and encoder layers; gives the token maps after the layers asked for.

    Shapes: (b, in, h, w) -> one (b, width, h / p, w / p) per entry of `taps`; h and w multiples of p.
    MACs: with n = h w / p^2 tokens, n * (in * p^2 * width + depth * (12 * width^2 + 2 * n * width)).
    Source: Dosovitskiy et al., ICLR 2021, without a class token.

    Args:
        patch: p, px.
        taps: layers, counted from 0, after which the tokens are given; None: after the last alone.
        learned: (h, w) in tokens of a learned map of positions, stretched to other sizes; None: sinusoidal.
        drop: largest probability of stochastic depth, rising linearly from 0 over the layers.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        patch: int = 16,
        taps: Sequence[int] | None = None,
        learned: tuple[int, int] | None = None,
        drop: float = 0.0,
    ):
        super().__init__()
        self.taps = tuple(taps) if taps is not None else (depth - 1,)
        self.embed = PatchEmbedding(in_channels, width, patch)
        self.positions = LearnedPositions(width, learned) if learned is not None else None
        self.layers = nn.ModuleList(EncoderLayer(width, heads, drop=drop * i / max(depth - 1, 1)) for i in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Float[Tensor, "b ci h w"]) -> list[Float[Tensor, "b c ht wt"]]:
        tokens = self.embed(image)
        size = tokens.shape[-2:]
        tokens = self.positions(tokens) if self.positions is not None else tokens + sinusoids_2d(tokens)
        x = tokens.flatten(2).transpose(1, 2)
        maps = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.taps:
                maps.append(self.norm(x).transpose(1, 2).unflatten(2, size))
        return maps


class DenseHead(nn.Module):
    """Token maps of four layers become one feature map of 4 times their size, coarse joined to fine.

    Reassembled at 4, 2, 1 and 1/2 times the tokens' size, then fused from the coarsest up: residual units and a
    bilinear doubling each.

    Shapes: four of (b, width, h, w) -> (b, channels, 4 h, 4 w); h and w even.
    Source: Ranftl et al., "Vision Transformers for Dense Prediction" (DPT), ICCV 2021; fused with residual units that
    carry BatchNorm.
    """

    def __init__(self, width: int, channels: int = 64):
        super().__init__()
        self.reassemble = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(width, channels, 1), nn.ConvTranspose2d(channels, channels, 4, stride=4)),
                nn.Sequential(nn.Conv2d(width, channels, 1), nn.ConvTranspose2d(channels, channels, 2, stride=2)),
                nn.Conv2d(width, channels, 1),
                nn.Sequential(nn.Conv2d(width, channels, 1), nn.Conv2d(channels, channels, 3, stride=2, padding=1)),
            ]
        )
        self.refine = nn.ModuleList(Residual(channels) for _ in range(4))
        self.out = ConvBN(channels, channels)

    def forward(self, maps: list[Float[Tensor, "b c h w"]]) -> Float[Tensor, "b co h4 w4"]:
        levels = [part(level) for part, level in zip(self.reassemble, maps, strict=True)]
        x = torch.zeros_like(levels[-1])
        for refine, level in zip(self.refine, reversed(levels), strict=True):
            if x.shape[-2:] != level.shape[-2:]:
                x = F.interpolate(x, size=level.shape[-2:], mode="bilinear", align_corners=False)
            x = refine(x + level)
        return self.out(x)
