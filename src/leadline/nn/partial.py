"""Convolution over what is known: sparse lidar depth, images with holes, and an image beyond whose edge is nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PartialConv2d(nn.Module):
    """A convolution that counts known pixels alone, and scales for how many of its taps were known.

        out = k^2 / known * conv(x * mask) + bias where known > 0, else 0;    new mask = known > 0

    `known` is the sum of the mask under the kernel. A constant input stays constant whatever is missing, which a
    plain convolution over zeros does not give. Beyond the image nothing is known, so the edge is handled likewise:
    without a mask this is the partial convolution of Liu et al. in the place of zero padding.

    Shapes: (b, in, h, w), mask (b, 1, h, w) of 0 and 1 -> (b, out, h', w'), (b, 1, h', w'); each ceil(. / stride).
    MACs: k^2 * (in * out + 1) per output pixel.
    Source: Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", ECCV 2018, and "Partial
    Convolution based Padding", 2018; for lidar Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017.
    """

    window: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, bias: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("window", torch.ones(1, 1, kernel, kernel), persistent=False)

    def forward(
        self, x: Float[Tensor, "b ci h w"], mask: Float[Tensor, "b 1 h w"] | None = None
    ) -> tuple[Float[Tensor, "b co ho wo"], Float[Tensor, "b 1 ho wo"]]:
        if mask is None:
            mask = torch.ones_like(x[:, :1])
        known = F.conv2d(mask, self.window.to(mask.dtype), stride=self.conv.stride, padding=self.conv.padding)
        seen = (known > 0).to(x.dtype)
        # Divided by at least 1: where nothing is known the product is 0 anyway.
        out = self.conv(x * mask) * (self.window.numel() / known.clamp(min=1))
        if self.bias is not None:
            out = out + self.bias.view(-1, 1, 1)
        return out * seen, seen
