"""Regularisation by leaving things out: elements and channels (PyTorch's), blocks, and whole branches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class DropBlock(nn.Module):
    """Zeroes squares of side x side px in every channel while training, and scales what is left so that the mean stays.

    Neighbouring features tell the same, so single zeroes hide little; a square hides what was there.

    Shapes: any (b, c, h, w) -> the same. In eval mode the identity.
    Source: Ghiasi et al., "DropBlock", NeurIPS 2018; gamma = p / side^2 * (h w) / ((h - side + 1) (w - side + 1)).

    Args:
        p: share of the elements that is zeroed, about.
        side: px, odd; cut to the map's size where that is smaller.
    """

    def __init__(self, p: float = 0.1, side: int = 7):
        super().__init__()
        self.p, self.side = p, side

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training or self.p == 0:
            return x
        h, w = x.shape[-2:]
        side = min(self.side, h, w)
        side -= 1 - side % 2
        rows, columns = h - side + 1, w - side + 1  # where a square's centre may lie
        seeds = torch.rand(*x.shape[:2], rows, columns, device=x.device) < self.p / side**2 * h * w / rows / columns
        reach = side // 2
        hidden = F.max_pool2d(F.pad(seeds.to(x.dtype), (reach,) * 4), side, stride=1, padding=reach)
        kept = 1 - hidden
        return x * kept * (kept.numel() / kept.sum().clamp(min=1))


class StochasticDepth(nn.Module):
    """Leaves a residual branch out for a sample with probability p while training; the others are scaled by 1/(1 - p).

    Shapes: any (b, ...) -> the same. In eval mode the identity.
    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016; scaled while training as dropout is.
    """

    def __init__(self, p: float = 0.1):
        super().__init__()
        self.p = p

    def forward(self, branch: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        if not self.training or self.p == 0:
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.dim() - 1)
        kept = (torch.rand(shape, device=branch.device) >= self.p).to(branch.dtype)
        return branch * kept / (1 - self.p) if self.p < 1 else branch * 0
