"""Pooling that weighs large values more: softmax, and drawn at random."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SoftPool(nn.Module):
    """The mean of each side x side under the softmax of its values: smoother than the maximum, sharper than the mean.

    Shapes: (b, c, h, w) -> (b, c, h // side, w // side). MACs: none; one exponential per value.
    Source: Stergiou et al., "Refining Activation Downsampling with SoftPool", ICCV 2021.
    """

    def __init__(self, side: int = 2):
        super().__init__()
        self.side = side

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c ho wo"]:
        share = torch.exp(x - x.detach().amax((1, 2, 3), keepdim=True))  # the factor cancels in the quotient
        total = F.avg_pool2d(share, self.side)
        return F.avg_pool2d(share * x, self.side) / total.clamp(min=1e-30)


class StochasticPool(nn.Module):
    """One value of each side x side, drawn with probability in proportion to it; in eval mode its expectation.

    Regularises like dropout, without a rate to set. Meant for what comes out of a ReLU: values below 0 count as 0.

    Shapes: (b, c, h, w) -> (b, c, h // side, w // side). MACs: none.
    Source: Zeiler and Fergus, "Stochastic Pooling for Regularization of Deep Convolutional Neural Networks",
    ICLR 2013.
    """

    def __init__(self, side: int = 2):
        super().__init__()
        self.side = side

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c ho wo"]:
        positive = x.clamp(min=0)
        if not self.training:
            return F.avg_pool2d(positive**2, self.side) / F.avg_pool2d(positive, self.side).clamp(min=1e-12)
        b, c, h, w = positive.shape
        s = self.side
        windows = positive[..., : h // s * s, : w // s * s].reshape(b, c, h // s, s, w // s, s)
        values = windows.transpose(3, 4).flatten(4)
        # Gumbel: the largest of log p + noise is a draw from p
        noise = -torch.log(-torch.log(torch.rand_like(values).clamp(1e-6, 1 - 1e-6)))
        drawn = (torch.log(values + 1e-12) + noise).argmax(-1, keepdim=True)
        return values.gather(-1, drawn).squeeze(-1)
