"""What widens a pixel's sight: attention after residual units, and context at the coarsest map."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.attention.cbam import CBAM
from leadline.nn.attention.multi_head import EpipolarAttention
from leadline.nn.attention.non_local import NonLocal
from leadline.nn.attention.squeeze_excitation import SqueezeExcitation
from leadline.nn.attention.windowed import WindowedAttention
from leadline.nn.dilated import ASPP
from leadline.nn.pooling.pyramid import PyramidPooling
from leadline.nn.pooling.strip import StripPooling
from leadline.nn.positions import sinusoids_2d
from leadline.nn.recurrent import RowRecurrent
from leadline.nn.transformer import EncoderLayer
from leadline.nn.units.parts import Parts
from leadline.nn.units.residual import Beside

HEADS = 4


class BothViews(nn.Module):
    """Epipolar attention from each view to the other; the batch holds the left views, then the right ones."""

    def __init__(self, channels: int):
        super().__init__()
        self.attention = EpipolarAttention(channels, HEADS)

    def forward(self, views: Float[Tensor, "b2 c h w"]) -> Float[Tensor, "b2 c h w"]:
        left, right = views.chunk(2)
        return self.attention(views, torch.cat([right, left]))


class TransformerContext(nn.Module):
    """One Transformer encoder layer over all pixels of a map, told where they are by sinusoids."""

    def __init__(self, channels: int):
        super().__init__()
        self.layer = EncoderLayer(channels, HEADS, ratio=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        tokens = (x + sinusoids_2d(x)).flatten(2).transpose(1, 2)
        return self.layer(tokens).transpose(1, 2).unflatten(2, x.shape[-2:])


class GlobalMean(nn.Module):
    """The mean of the whole map, through a 1x1 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.pool, self.conv = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        return self.conv(self.pool(x))


def attention_units(parts: Parts, channels: int, *, of_views: bool = False) -> list[nn.Module]:
    """The attention that follows residual units, none or one; channels must be a multiple of 4 for those with heads.

    Args:
        of_views: the map holds both views' features, where "epipolar" belongs; it belongs nowhere else.
    """
    if parts.attention == "none" or (parts.attention == "epipolar" and not of_views):
        return []
    kinds = {
        "se": SqueezeExcitation,
        "cbam": CBAM,
        "non-local": NonLocal,
        "windowed": _windows,
        "epipolar": BothViews,
    }
    return [kinds[parts.attention](channels)]


def _windows(channels: int) -> nn.Module:
    """Two in a row, the second's windows across the first's edges."""
    return Beside(nn.Sequential(*(WindowedAttention(channels, HEADS, shift=shift) for shift in (False, True))))


def context_units(parts: Parts, channels: int) -> list[nn.Module]:
    """What looks far at the coarsest map, none or one; beside an identity, but for what scales the map itself."""
    kinds = {
        "none": list,
        "aspp": lambda: [Beside(ASPP(channels, channels, rates=(2, 4, 6)))],
        "pyramid": lambda: [Beside(PyramidPooling(channels, channels))],
        "strip": lambda: [StripPooling(channels)],
        "global": lambda: [Beside(GlobalMean(channels))],
        "transformer": lambda: [TransformerContext(channels)],
    }
    if parts.context in kinds:
        return kinds[parts.context]()
    return [Beside(RowRecurrent(channels, channels // 2, parts.context))]
