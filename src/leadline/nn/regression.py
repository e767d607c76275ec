"""From matching scores to a disparity."""

import torch
from jaxtyping import Float
from torch import Tensor

from leadline.nn.forms import has_few_operations, narrow

LEAST_EXPONENT = -80.0


def soft_argmin(scores: Float[Tensor, "b p h w"], spacing: float) -> Float[Tensor, "b 1 h w"]:
    """The mean disparity under the softmax of the scores, plane k standing for k * spacing px.

    Source: Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo Regression", ICCV 2017.
    """
    planes = torch.arange(scores.shape[1], device=scores.device, dtype=torch.float32) * spacing
    return (torch.softmax(scores.float(), 1) * planes[:, None, None]).sum(1, keepdim=True)


def local_soft_argmin(
    scores: Float[Tensor, "b p h w"],
    spacing: float,
    reach: float = 2.0,
    sharpness: float = 8.0,
    planes: Float[Tensor, " p"] | None = None,
) -> Float[Tensor, "b 1 h w"]:
    """The mean disparity round the likeliest plane alone, plane k standing for k * spacing px.

    At an edge the softmax has two peaks, and its mean lies on neither surface. Here the softmax of the sharpened
    scores finds the higher peak first, and only planes within `reach` of it (half a plane more fading out) are
    averaged. Nothing but arithmetic on planes: no argmax, no gather, so it exports and quantises like the rest.

    Args:
        reach: planes to either side of the peak that count in full.
        sharpness: factor on the scores for finding the peak.
        planes: the number k of each channel's plane, where they do not stand in order.

    Source: the single-peak mean of Chen et al., "On the Over-Smoothing Problem of CNN Based Disparity Estimation",
    ICCV 2019, with a soft window in the place of the search for the peak's ends.
    """
    scores = scores.float()
    if planes is None:
        planes = torch.arange(scores.shape[1], device=scores.device, dtype=torch.float32)
    planes = planes[:, None, None]
    if has_few_operations():
        sharp, plain = torch.softmax(scores * sharpness, 1), torch.softmax(scores, 1)
    else:  # one search for the largest serves both, and no plane is divided: the sums are, at the end
        low = scores - scores.detach().amax(1, keepdim=True)
        # Below e^-80, which no sum notices, PyTorch's exp is ten times slower than above on a CPU.
        sharp, plain = torch.exp((low * sharpness).clamp(min=LEAST_EXPONENT)), torch.exp(low)
    peak = narrow((sharp * planes).sum(1, keepdim=True) / sharp.sum(1, keepdim=True))
    beside = planes - peak
    share = plain * (reach + 0.5 - beside.abs()).clamp(0, 1)
    # Between two equal peaks the window may be empty: then the middle of both is the answer.
    total = share.sum(1, keepdim=True) + 1e-3 * plain.sum(1, keepdim=True)
    return (peak + narrow((share * beside).sum(1, keepdim=True) / total)) * spacing
