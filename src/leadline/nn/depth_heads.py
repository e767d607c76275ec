"""From features to a depth in metres: direct, ordinal and bins heads, with the losses on their distributions.

Every head gives a share s in [0, 1], and the depth is `nearest × (farthest / nearest)^s`: bounded on both sides,
never zero, and uniform in the logarithm, as errors of depth grow with depth.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

HEADS = ("direct", "ordinal", "bins", "adaptive_bins")
SAMPLED = 2048  # pixels that the adaptive bins' loss looks at, per image


class DepthHead(nn.Module):
    """Depth (b, 1, h, w) in m, within (nearest, farthest), from features of that size.

    - direct: s = sigmoid of one channel;
    - ordinal: channel k says whether the depth exceeds threshold k, the thresholds spaced evenly in the logarithm (Fu
      et al., "Deep Ordinal Regression Network", CVPR 2018); s is the mean of these probabilities, where the paper
      counts those above 1/2, so that it is smooth;
    - bins: softmax over fixed depths, spaced likewise; s is their mean under it;
    - adaptive_bins: the widths of the bins are found for each image from the pooled bottleneck (Bhat et al., "AdaBins",
      CVPR 2021, whose Transformer is a linear layer here, and whose bins divide the depth, not its logarithm).

    Args:
        kind: one of HEADS.
        channels: of the features.
        planes: thresholds or bins; of a direct head there is one.
        nearest, farthest: m.
        pooled: channels of the bottleneck, for adaptive bins.
    """

    positions: Tensor
    before: Tensor

    def __init__(self, kind: str, channels: int, planes: int, nearest: float, farthest: float, pooled: int):
        super().__init__()
        planes = 1 if kind == "direct" else planes
        self.kind = kind
        self.low, self.span = math.log(nearest), math.log(farthest / nearest)
        self.score = nn.Conv2d(channels, planes, 1)
        even = (torch.arange(planes) + 0.5) / planes
        self.register_buffer("positions", even, persistent=False)
        if kind == "adaptive_bins":
            self.widths = nn.Linear(pooled, planes)
            nn.init.zeros_(self.widths.weight)
            nn.init.zeros_(self.widths.bias)  # bins of one width to begin with
            # centre of bin j = widths of those before it + half of its own
            self.register_buffer("before", torch.tril(torch.ones(planes, planes)).T - 0.5 * torch.eye(planes), False)

    def forward(
        self, features: Float[Tensor, "b c h w"], bottleneck: Float[Tensor, "b cb hb wb"]
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b p h w"], Float[Tensor, "#b p 1 1"]]:
        """Depth, the scores before sigmoid or softmax, and the planes' positions in [0, 1]."""
        scores = self.score(features)
        positions = self.positions.view(1, -1, 1, 1)
        if self.kind == "direct":
            share = torch.sigmoid(scores)
        elif self.kind == "ordinal":
            share = torch.sigmoid(scores).mean(1, keepdim=True)
        else:
            if self.kind == "adaptive_bins":
                widths = torch.softmax(self.widths(bottleneck.mean((2, 3))), 1)
                positions = (widths @ self.before)[:, :, None, None]
            share = (torch.softmax(scores, 1) * positions).sum(1, keepdim=True)
        return torch.exp(self.low + self.span * share), scores, positions

    def loss(
        self, scores: Float[Tensor, "b p h w"], positions: Float[Tensor, "#b p 1 1"], truth: Float[Tensor, "b 1 ht wt"]
    ) -> Float[Tensor, ""]:
        """The head's own loss on its distribution; 0 for a direct head.

        Args:
            scores, positions: as `forward` gives them.
            truth: m, 0 where unknown; of any size, the nearest pixel is compared.
        """
        truth = F.interpolate(truth, scores.shape[-2:], mode="nearest-exact") if truth.shape != scores.shape else truth
        known = truth > 0
        share = ((truth.clamp(min=1e-6).log() - self.low) / self.span).clamp(0, 1)
        if self.kind == "ordinal":
            return ordinal_loss(scores.float(), share, known)
        if self.kind == "bins":
            return bins_loss(scores.float(), share, known)
        if self.kind == "adaptive_bins":
            return chamfer_loss(positions.float().flatten(1), share, known)
        return scores.new_zeros(())


def ordinal_loss(
    scores: Float[Tensor, "b p h w"], share: Float[Tensor, "b 1 h w"], known: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Cross-entropy of "is the depth beyond threshold k" for every k, averaged over thresholds and known pixels.

    Source: Fu et al., "Deep Ordinal Regression Network for Monocular Depth Estimation" (DORN), CVPR 2018, eq. 3.
    """
    thresholds = (torch.arange(scores.shape[1], device=scores.device) + 0.5) / scores.shape[1]
    beyond = (share > thresholds.view(1, -1, 1, 1)).to(scores.dtype)
    entropy = F.binary_cross_entropy_with_logits(scores, beyond, reduction="none").mean(1, keepdim=True)
    return (entropy * known).sum() / known.sum().clamp(min=1)


def bins_loss(
    scores: Float[Tensor, "b p h w"], share: Float[Tensor, "b 1 h w"], known: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Cross-entropy against the two bins next to the truth, weighed so that their mean is the truth.

    Depth as classification: Cao, Wu, Shen, "Estimating Depth from Monocular Images as Classification", IEEE TCSVT
    2018; two neighbours in the place of one bin, so that nothing is lost to rounding.
    """
    planes = scores.shape[1]
    place = (share * planes - 0.5).clamp(0, planes - 1)
    index = torch.arange(planes, device=scores.device, dtype=scores.dtype).view(1, -1, 1, 1)
    target = (1 - (place - index).abs()).clamp(min=0)
    entropy = -(target * F.log_softmax(scores, 1)).sum(1, keepdim=True)
    return (entropy * known).sum() / known.sum().clamp(min=1)


def chamfer_loss(
    positions: Float[Tensor, "b p"], share: Float[Tensor, "b 1 h w"], known: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Bins shall lie where depths do, and depths where bins do: squared distance to the nearest, both ways.

    Source: Bhat et al., "AdaBins", CVPR 2021, section 3.3, in shares of the logarithmic range. Every n-th pixel is
    looked at where there are many.
    """
    total = positions.new_zeros(())
    for place, truth, valid in zip(positions, share.flatten(1), known.flatten(1), strict=True):
        values = truth[valid]
        values = values[:: max(1, len(values) // SAMPLED)]
        if len(values):
            distance = (values[:, None] - place[None]).square()
            total = total + distance.amin(0).mean() + distance.amin(1).mean()
    return total / len(positions)
