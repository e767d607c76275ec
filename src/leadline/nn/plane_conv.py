"""Convolution over a cost volume's planes without 5-D tensors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PlaneConv(nn.Module):
    """A 3x3x3 convolution over (disparity, row, column), written as one 2-D convolution shared by all planes.

    The volume (b, planes * in, h, w), plane-major, meets itself shifted by one plane up and down; each plane then
    sees 3 * in channels. Weights are shared along disparity, so that what is learned at one disparity holds at all,
    and no target needs to know a 5-D tensor. Followed by BatchNorm and, unless told otherwise, ReLU.

    Shapes: (b, planes * in, h, w) -> (b, planes * out, h, w). MACs: 27 * in * out * planes per pixel.
    """

    def __init__(self, planes: int, in_channels: int, out_channels: int, relu: bool = True):
        super().__init__()
        self.planes, self.in_channels, self.out_channels = planes, in_channels, out_channels
        self.conv = nn.Conv2d(3 * in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, volume: Float[Tensor, "b pi h w"]) -> Float[Tensor, "b po h w"]:
        h, w = volume.shape[-2:]
        c = self.in_channels
        edge = torch.zeros_like(volume[:, :c])
        nearer = torch.cat([volume[:, c:], edge], 1)
        farther = torch.cat([edge, volume[:, :-c]], 1)
        planes = torch.cat([v.reshape(-1, c, h, w) for v in (farther, volume, nearer)], 1)
        return self.relu(self.norm(self.conv(planes))).reshape(-1, self.planes * self.out_channels, h, w)
