"""Normalisations of a map's channels beside BatchNorm, and BatchNorm whose statistics no longer move."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ChannelLayerNorm(nn.Module):
    """LayerNorm over the channels of each pixel, with a factor and an offset per channel.

    The same in training and in use, whatever the batch. Shapes: (b, c, h, w) -> the same.
    Source: Ba et al., "Layer Normalization", 2016; per pixel as in Liu et al., "ConvNeXt", CVPR 2022.
    """

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        centred = x - x.mean(1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(1, keepdim=True) + self.eps)
        return centred * scale * self.weight[:, None, None] + self.bias[:, None, None]


class FrozenBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics, factor and offset stay as they are, in training too.

    For training on from given weights with batches too small for statistics of their own. Tensors and names are those
    of `nn.BatchNorm2d`, so a checkpoint fits either. Shapes: (b, c, h, w) -> the same.
    Source: He et al., "Mask R-CNN", ICCV 2017 (as practised there).
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        self.requires_grad_(False)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        return input * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
