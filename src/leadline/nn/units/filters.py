"""What cleans a coarse cost volume, by kind. The volume is plane-major: channel d * groups + g."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv3d import Conv3dBN, Deconvolution3d, FactorisedConv3d, ResizeConv3d, SeparableConv3d
from leadline.nn.plane_conv import PlaneConv


class InThreeDimensions(nn.Module):
    """A 3-D block over a plane-major volume."""

    def __init__(self, planes: int, block: nn.Module):
        super().__init__()
        self.planes, self.block = planes, block

    def forward(self, volume: Float[Tensor, "b pi h w"]) -> Float[Tensor, "b po h w"]:
        deep = self.block(volume.unflatten(1, (self.planes, -1)).transpose(1, 2))
        return deep.transpose(1, 2).flatten(1, 2)


class Hourglass3d(nn.Module):
    """Halves the volume along all three axes, filters it there, and doubles it again; for any number of planes."""

    def __init__(self, channels: int, up: type[nn.Module]):
        super().__init__()
        self.down = Conv3dBN(channels, 2 * channels, stride=2)
        self.inside = Conv3dBN(2 * channels, 2 * channels)
        self.up = up(2 * channels, channels, bias=False)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, volume: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b c d h w"]:
        d, h, w = volume.shape[-3:]
        fine = self.up(self.inside(self.down(volume)))[:, :, :d, :h, :w]
        return F.relu(self.norm(fine))


def make_filter(kind: str, planes: int, channels: int) -> nn.Module:
    """A filter with BatchNorm and ReLU: (b, planes * c, h, w) -> the same; c channels per plane."""
    if kind == "plane":
        return PlaneConv(planes, channels, channels)
    kinds = {
        "conv3d": lambda: Conv3dBN(channels, channels),
        "separable": lambda: SeparableConv3d(channels, channels),
        "factorised": lambda: FactorisedConv3d(channels, channels),
        "hourglass": lambda: Hourglass3d(channels, Deconvolution3d),
        "hourglass-resize": lambda: Hourglass3d(channels, ResizeConv3d),
    }
    return InThreeDimensions(planes, kinds[kind]())
