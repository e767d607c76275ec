"""A second look at 1/2: the right view is brought over by the disparity found, and compared once more beside it.

What planes at 1/4 cannot tell, where within 2 px a surface lies and where exactly it ends, is decided here. Bringing
over needs grid_sample, which Caffe and small chips do not have; plummet is whole without it.
Learns from HITNet (comparing near the disparity at hand; Tankovich et al., CVPR 2021) and StereoNet (refining from
coarse to fine; Khamis et al., ECCV 2018).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN
from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.warp import inside, sample_at

OFFSETS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # columns of 1/2 that are tried beside the disparity at hand
DESCRIPTORS = 8  # channels that are compared


class Refinement(nn.Module):
    """Disparity of the full size from one that was found at 1/4.

    Args:
        stem: channels of the features at 1/2.
        width: channels that decide.
    """

    offsets: Tensor

    def __init__(self, stem: int, width: int):
        super().__init__()
        self.describe = ConvBN(stem, DESCRIPTORS, relu=False)
        self.enter = ConvBN(len(OFFSETS) + stem + 2, width)
        self.units = nn.Sequential(ConvBN(width, width, dilation=2), ConvBN(width, width, dilation=4))
        self.near = ConvBN(width, width)
        self.shift = ConvBN(width, len(OFFSETS), kernel=1, relu=False)
        self.upsample_weights = ConvBN(width, 9 * 4, kernel=1, relu=False)
        self.weight = nn.Parameter(torch.tensor(4.0))
        self.register_buffer("offsets", torch.tensor(OFFSETS).view(1, -1, 1, 1), persistent=False)

    def forward(
        self, half: Float[Tensor, "b2 cs h2 w2"], disparity: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b 1 h w"]:
        """
        Args:
            half: features at 1/2, of left views and then of right ones.
            disparity: px; it is not trained through.
        """
        start = F.max_pool2d(disparity.detach(), 1, 2) / 2  # every second pixel; runtimes disagree on resizing to it
        left, right = self.describe(half).chunk(2)
        scores = self._compare(left, right, start)
        structure = (start - F.avg_pool2d(start, 5, 1, 2, count_include_pad=False)).clamp(-4, 4)
        seen = inside(start)
        features = self.enter(torch.cat([scores.to(left.dtype), half.chunk(2)[0], structure, seen], 1))
        features = self.near(features + self.units(features))
        shares = torch.softmax((self.weight * scores + self.shift(features)).float(), 1)
        refined = start + (shares * self.offsets).sum(1, keepdim=True)
        return convex_upsample(2 * refined.clamp(min=0), self.upsample_weights(features), factor=2)

    def _compare(
        self, left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"], start: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b o h w"]:
        """Mean product of the features with the right view's at each offset from `start`."""
        height, width = start.shape[-2:]
        columns = torch.arange(width, device=start.device, dtype=start.dtype) - start[:, 0]
        rows = torch.arange(height, device=start.device, dtype=start.dtype)[:, None].expand_as(columns)
        x = torch.cat([columns - offset for offset in OFFSETS], 1)  # one below the other: one operation for all
        brought = sample_at(right, x, torch.cat([rows] * len(OFFSETS), 1))
        return torch.cat([(left * there).mean(1, keepdim=True) for there in brought.chunk(len(OFFSETS), 2)], 1)
