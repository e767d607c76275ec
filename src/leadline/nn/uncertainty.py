"""How sure a distribution over disparities is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def disparity_spread(scores: Float[Tensor, "b p h w"], spacing: float) -> Float[Tensor, "b 1 h w"]:
    """Standard deviation, px, of the disparity under the softmax of the scores; plane k stands for k * spacing px.

    Small where one plane matches plainly. Two peaks, as at an edge or on a repeated pattern, count by their distance:
    large just where `soft_argmin` would give a disparity that lies on neither.

    Source: the second moment that belongs to the mean of Kendall et al., ICCV 2017.
    """
    share = torch.softmax(scores.float(), 1)
    planes = torch.arange(scores.shape[1], device=scores.device, dtype=torch.float32)[:, None, None] * spacing
    mean = (share * planes).sum(1, keepdim=True)
    variance = (share * (planes - mean).square()).sum(1, keepdim=True)
    return variance.clamp(min=1e-12).sqrt()


def disparity_entropy(scores: Float[Tensor, "b p h w"]) -> Float[Tensor, "b 1 h w"]:
    """Entropy of the softmax of the scores, over log(p): 0 for one sure plane, 1 where all are alike.

    Unlike the spread it does not ask how far apart the candidates are.

    Source: Shannon's entropy; as a confidence in stereo Hu and Mordohai, "A Quantitative Evaluation of Confidence
    Measures for Stereo Vision", TPAMI 2012 (for cost curves).
    """
    logs = torch.log_softmax(scores.float(), 1)
    return -(logs.exp() * logs).sum(1, keepdim=True) / torch.log(torch.tensor(float(scores.shape[1])))
