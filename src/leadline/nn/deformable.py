"""Deformable convolution: every tap looks where it has learned to look."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.warp import sample_at


class DeformableConv2d(nn.Module):
    """A k x k convolution whose taps are moved, at every pixel, by offsets that another convolution gives.

        out(p) = sum_k weight_k * mask_k(p) * x(p + k + offset_k(p)), bilinear, 0 outside

    Offsets begin at 0 and masks at 1, so that it begins as a plain convolution. Made of grid_sample and a 1x1
    convolution, so it exports wherever these do.

    Shapes: (b, in, h, w) -> (b, out, ceil(h / stride), ceil(w / stride)).
    MACs: k^2 * in * (out + 3 * k^2) per output pixel with masks, k^2 * in * (out + 2 * k^2) without; the bilinear
    reading of k^2 * in values comes on top.
    Source: Dai et al., "Deformable Convolutional Networks", ICCV 2017; with masks ("v2") Zhu et al., CVPR 2019. Masks
    are 2 * sigmoid, so that they begin at 1 (theirs at 1/2 with a learning rate of its own).

    Args:
        kernel: k, odd.
        masks: a factor in 0 .. 2 per tap and pixel as well (v2).
    """

    taps: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, masks: bool = True,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.stride, self.masks = stride, masks
        plain = nn.Conv2d(in_channels, out_channels, kernel, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias
        count = kernel**2
        self.offsets = nn.Conv2d(in_channels, (3 if masks else 2) * count, kernel, stride, kernel // 2)
        nn.init.zeros_(self.offsets.weight)
        assert self.offsets.bias is not None
        nn.init.zeros_(self.offsets.bias)
        reach = torch.arange(kernel, dtype=torch.float32) - kernel // 2
        self.register_buffer("taps", torch.cartesian_prod(reach, reach), persistent=False)  # (y, x) of each

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co ho wo"]:
        learned = self.offsets(x)
        count = self.taps.shape[0]
        down, right = learned[:, :count], learned[:, count : 2 * count]
        mask = 2 * torch.sigmoid(learned[:, 2 * count :]) if self.masks else None
        return deformable_conv(x, down, right, mask, self.weight, self.bias, self.taps, self.stride)


def deformable_conv(
    x: Float[Tensor, "b ci h w"],
    down: Float[Tensor, "b k ho wo"],
    right: Float[Tensor, "b k ho wo"],
    mask: Float[Tensor, "b k ho wo"] | None,
    weight: Float[Tensor, "co ci kh kw"],
    bias: Float[Tensor, " co"] | None,
    taps: Float[Tensor, "k 2"],
    stride: int = 1,
) -> Float[Tensor, "b co ho wo"]:
    """The convolution for given offsets, px, and masks of its taps (row by row); see `DeformableConv2d`."""
    b = x.shape[0]
    rows, columns = down.shape[-2:]
    exact = torch.promote_types(down.dtype, torch.float32)  # 8 bits of mantissa cannot tell where a tap is
    y = torch.arange(rows, device=x.device, dtype=exact)[:, None] * stride + taps[:, :1, None].to(exact) + down
    across = torch.arange(columns, device=x.device, dtype=exact) * stride + taps[:, 1:, None].to(exact) + right
    # The taps as rows of one tall image: what is read is (b, c, k * ho, wo), and as channels (b, c * k, ho, wo).
    read = sample_at(x, across.flatten(1, 2), y.flatten(1, 2), padding="zeros")
    if mask is not None:
        read = read * mask.flatten(1, 2).unsqueeze(1)
    return F.conv2d(read.reshape(b, -1, rows, columns), weight.reshape(weight.shape[0], -1, 1, 1), bias)
