"""Monocular depth by a Vision Transformer: patch embedding, encoder layers, reassemble, fusion.

Follows: R. Ranftl, A. Bochkovskiy, V. Koltun, "Vision Transformers for Dense Prediction", ICCV 2021, at the sizes of
DeiT (H. Touvron et al., ICML 2021). Differences: no class token; the tokens of every tap are normalised; the depth is
bounded and logarithmic (nn.depth_heads).

Shapes: b batch, h w image (multiples of two patches), tokens at 1/16, features of the head at 1/4, depth from 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.depth_network import DepthNetwork
from leadline.models.registry import register
from leadline.nn.conv import ConvBN
from leadline.nn.depth_heads import DepthHead
from leadline.nn.imagenet import ImageNetNormalize
from leadline.nn.vit import DenseHead, VisionTransformer

PATCH = 16  # px


@dataclass(frozen=True)
class DptConfig:
    embedding: int = 192  # channels of a token
    layers: int = 12  # at least 4: four of them are tapped, evenly spread, the last included
    heads: int = 3  # of attention; divides the embedding
    fusion: int = 64  # channels of reassembled and fused maps
    grid: int = 14  # the learned positions are a map of grid x grid tokens, stretched to the image's
    drop: float = 0.0  # largest probability of stochastic depth
    head: str = "direct"  # direct, ordinal, bins or adaptive_bins
    planes: int = 64  # thresholds or bins of the head
    min_depth: float = 0.1  # m
    max_depth: float = 10.0  # m
    pose: bool = False  # a network for the camera's motion beside it, for learning from video


class Dpt(DepthNetwork):
    """Depth (b, 1, h, w) in m of one image."""

    size_multiple = 2 * PATCH

    def __init__(self, config: DptConfig):
        super().__init__(config)
        if config.layers < 4 or config.embedding % config.heads or config.embedding % 4 or not 0 <= config.drop < 1:
            raise UserError("dpt: layers >= 4, embedding a multiple of heads and of 4, and 0 <= drop < 1 are wanted")
        if not 1 <= config.grid <= 64 or not 8 <= config.fusion <= 512:
            raise UserError("dpt: grid 1..64 tokens and fusion 8..512 channels are wanted")
        self.normalize = ImageNetNormalize()
        self.encoder = VisionTransformer(
            width=config.embedding,
            depth=config.layers,
            heads=config.heads,
            patch=PATCH,
            taps=[config.layers * (i + 1) // 4 - 1 for i in range(4)],
            learned=(config.grid, config.grid),
            drop=config.drop,
        )
        self.fuse = DenseHead(config.embedding, config.fusion)
        self.refine = nn.Sequential(ConvBN(config.fusion, config.fusion // 2), ConvBN(config.fusion // 2, 32))
        self.head = DepthHead(
            config.head, 32, config.planes, config.min_depth, config.max_depth, pooled=config.embedding
        )

    def forward_head(
        self, image: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b p hp wp"], Float[Tensor, "#b p 1 1"]]:
        self.check_size(*image.shape[-2:])
        maps = self.encoder(self.normalize(image))
        features = self.refine(_double(self.fuse(maps)))
        depth, scores, positions = self.head(features, maps[-1])
        return _double(depth), scores, positions


def _double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


@register("dpt-s")
def dpt_s(**config) -> Dpt:
    """DeiT-tiny's size: 12 layers of 192 channels; its weights fit."""
    return Dpt(DptConfig(**config))


@register("dpt-m")
def dpt_m(**config) -> Dpt:
    """ViT-S's and DeiT-small's size: 12 layers of 384 channels; their weights fit."""
    return Dpt(DptConfig(**{"embedding": 384, "heads": 6, "fusion": 128, **config}))


@register("dpt-xs")
def dpt_xs(**config) -> Dpt:
    """Small enough to train on a CPU: 4 layers of 128 channels."""
    return Dpt(DptConfig(**{"embedding": 128, "layers": 4, "heads": 4, "fusion": 32, **config}))
