"""Transformer layers, positions, and the Vision Transformer."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.blocks.adapters import Call, First
from leadline.blocks.block import Block
from leadline.nn.positions import LearnedPositions, rotate, rotation, sinusoids_2d
from leadline.nn.transformer import DecoderLayer, EncoderLayer
from leadline.nn.vit import DenseHead, PatchEmbedding, VisionTransformer

PATCH = 4
TAPS = (0, 1)


class DenseVisionTransformer(nn.Module):
    """A small Vision Transformer with the dense head: features of a map at its own size."""

    def __init__(self, channels: int):
        super().__init__()
        self.transformer = VisionTransformer(3, channels, depth=2, heads=4, patch=PATCH, taps=TAPS)
        self.head = DenseHead(channels, channels)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        first, second = self.transformer(image)
        return self.head([first, first, second, second])


def _rotated(x: Tensor) -> Tensor:
    return rotate(x, rotation(torch.arange(x.shape[1], dtype=torch.float32), x.shape[2]))


def _vit(c: int, h: int, w: int) -> float:
    n = h * w / PATCH**2
    return n * (3 * PATCH**2 * c + 2 * (12 * c * c + 2 * n * c))


def _dense(c: int, h: int, w: int) -> float:
    n = h * w / PATCH**2
    reassemble = n * c * c * (4 + 16 + 4 + 9 / 4)
    refine = 18 * c * c * n * (16 + 4 + 1 + 1 / 4)
    return _vit(c, h, w) + reassemble + refine + 9 * c * c * 16 * n


BLOCKS = [
    Block(
        "encoder-layer", "transformer", lambda c: EncoderLayer(c, 4),
        lambda c, h, w: 12 * c * c * h * w + 2 * c * (h * w) ** 2, "Vaswani et al., NeurIPS 2017",
        inputs=("tokens",),
    ),
    Block(
        "decoder-layer", "transformer", lambda c: DecoderLayer(c, 4),
        lambda c, h, w: 16 * c * c * h * w + 4 * c * (h * w) ** 2, "Vaswani et al., NeurIPS 2017",
        inputs=("tokens", "tokens"),
    ),
    Block(
        "sinusoidal-positions", "transformer", lambda c: Call(lambda x: x + sinusoids_2d(x)), lambda c, h, w: 0,
        "Vaswani et al., NeurIPS 2017; in 2-D Carion et al., ECCV 2020",
    ),
    Block(
        "learned-positions", "transformer", lambda c: LearnedPositions(c, (8, 8)), lambda c, h, w: 0,
        "Dosovitskiy et al. (ViT), ICLR 2021",
    ),
    Block(
        "rotary-positions", "transformer", lambda c: Call(_rotated), lambda c, h, w: 0, "Su et al. (RoFormer), 2021",
        inputs=("tokens",),
    ),
    Block(
        "patch-embedding", "transformer", lambda c: PatchEmbedding(3, c, PATCH), lambda c, h, w: 3 * c * h * w,
        "Dosovitskiy et al. (ViT), ICLR 2021", inputs=("image",), multiple=PATCH,
    ),
    Block(
        "vision-transformer", "transformer", lambda c: First(VisionTransformer(3, c, 2, 4, PATCH)), _vit,
        "Dosovitskiy et al. (ViT), ICLR 2021", inputs=("image",), multiple=PATCH,
    ),
    Block(
        "dense-vision-transformer", "transformer", DenseVisionTransformer, _dense, "Ranftl et al. (DPT), ICCV 2021",
        inputs=("image",), multiple=2 * PATCH,
    ),
]  # fmt: skip
