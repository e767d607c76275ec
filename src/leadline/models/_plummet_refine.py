"""A second look at 1/2: the right view is brought over by the disparity found, and compared once more beside it.

What planes at 1/4 cannot tell, where within 2 px a surface lies and where exactly it ends, is decided here, and with
`beside` also which of the surfaces around a pixel belongs to: the nearest and the farthest of its neighbours, and what
lies behind where the two views contradict each other, as it mostly does where the right view sees nothing.
Bringing over needs grid_sample, which Caffe and small chips do not have; plummet is whole without it.
Learns from HITNet (comparing near the disparity at hand; Tankovich et al., CVPR 2021), StereoNet (refining from
coarse to fine; Khamis et al., ECCV 2018) and PatchMatch stereo (neighbours' disparities as proposals; Bleyer et al.,
BMVC 2011).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.contradiction import carry_background, right_from_left_scores
from leadline.nn.conv import ConvBN, silent
from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.layout import plane_by_plane
from leadline.nn.warp import inside, sample_at, warp_to_left

OFFSETS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # columns of 1/2 that are tried beside the disparity at hand
DESCRIPTORS = 8  # channels that are compared
WINDOW = 9  # columns and rows of 1/2 in which the nearest and the farthest neighbour are sought
AGREE = 1.0  # columns of 1/2 by which the two views may differ
FAR = 8.0  # columns of 1/2 beyond which the features that decide see no difference between differences


class Refinement(nn.Module):
    """Disparity of the full size from one that was found at 1/4.

    Args:
        stem: channels of the features at 1/2.
        width: channels that decide.
        beside: whether neighbours and background are proposed too.
        looks: how often; the next one begins with what the one before has found.
        surroundings: channels of the features at 1/4 that it is told; 0: none. They begin unheard.
    """

    offsets: Tensor

    def __init__(self, stem: int, width: int, beside: bool, looks: int, surroundings: int = 0):
        super().__init__()
        self.beside, self.looks, self.told = beside, looks, bool(surroundings)
        proposals = len(OFFSETS) + (3 if beside else 0)
        self.describe = ConvBN(stem, DESCRIPTORS, relu=False)
        self.enter = ConvBN(proposals + stem + 2 + (4 if beside else 0), width)
        if surroundings:
            self.surroundings = silent(ConvBN(surroundings, width, kernel=1, relu=False))
        self.units = nn.Sequential(ConvBN(width, width, dilation=2), ConvBN(width, width, dilation=4))
        self.near = ConvBN(width, width)
        self.shift = ConvBN(width, proposals, kernel=1, relu=False)
        self.upsample_weights = ConvBN(width, 9 * 4, kernel=1, relu=False)
        self.weight = nn.Parameter(torch.tensor(4.0))
        self.register_buffer("offsets", torch.tensor(OFFSETS).view(1, -1, 1, 1), persistent=False)

    def forward(
        self,
        half: Float[Tensor, "b2 cs h2 w2"],
        disparity: Float[Tensor, "b 1 h w"],
        planes: Float[Tensor, "b p h4 w4"],
        surroundings: Float[Tensor, "b cq h4 w4"],
    ) -> list[Float[Tensor, "b 1 h w"]]:
        """
        Args:
            half: features at 1/2, of left views and then of right ones.
            disparity: px; it is not trained through.
            planes: scores at 0, 4, 8 … px, from which the right view's disparity is read; not trained through.
            surroundings: features at 1/4, for one that was made to be told of them.

        Returns:
            what every look finds in training, else what the last one does.
        """
        found = F.max_pool2d(disparity, 1, 2) / 2  # every second pixel; runtimes disagree on resizing to it
        left = half.chunk(2)[0]
        described = plane_by_plane(self.describe(half))
        seen_right = F.interpolate(right_from_left_scores(planes.detach(), 2.0), scale_factor=2.0, mode="bilinear")
        told = None
        if self.told:
            told = F.interpolate(self.surroundings(surroundings), scale_factor=2.0, mode="bilinear")
        results = []
        for look in range(self.looks):
            found, features = self._look(left, described, found.detach(), seen_right, told)
            if self.training or look == self.looks - 1:
                results.append(convex_upsample(2 * found, self.upsample_weights(features), factor=2))
        return results

    def _look(
        self,
        left: Float[Tensor, "b cs h w"],
        described: Float[Tensor, "b2 c h w"],
        start: Float[Tensor, "b 1 h w"],
        seen_right: Float[Tensor, "b 1 h w"],
        told: Float[Tensor, "b width h w"] | None,
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b features h w"]]:
        """The disparity in columns of 1/2 from the one at hand, and the features by which it was decided."""
        structure = (start - F.avg_pool2d(start, 5, 1, 2, count_include_pad=False)).clamp(-4, 4)
        shown = inside(start)
        changes, known = self.offsets, [left, structure, shown]
        if self.beside:
            proposals, contradiction = self._propose(start, seen_right, shown)
            known += [contradiction.clamp(max=FAR) / FAR, (proposals - start).clamp(-FAR, FAR) / FAR]
            changes = torch.cat([changes.expand(len(start), -1, *start.shape[-2:]), proposals - start], 1)
        scores = self._compare(described, start + changes)
        features = self.enter(torch.cat([scores.to(left.dtype), *known], 1))
        features = features if told is None else F.relu(features + told)
        features = self.near(features + self.units(features))
        shares = torch.softmax((self.weight * scores + self.shift(features)).float(), 1)
        return (start + (shares * changes).sum(1, keepdim=True)).clamp(min=0), features

    def _propose(
        self, start: Float[Tensor, "b 1 h w"], seen_right: Float[Tensor, "b 1 h w"], shown: Float[Tensor, "b 1 h w"]
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 1 h w"]]:
        """Background, nearest and farthest neighbour; and by how much the right view contradicts, all in columns."""
        contradiction = (start - warp_to_left(seen_right, start)).abs() + (1 - shown) * FAR
        behind = carry_background(start, (contradiction <= AGREE).to(start.dtype))
        return torch.cat([behind, _nearest(start), -_nearest(-start)], 1), contradiction

    def _compare(
        self, described: Float[Tensor, "b2 c h w"], tried: Float[Tensor, "b o h w"]
    ) -> Float[Tensor, "b o h w"]:
        """Mean product of the left views' features with the right ones' at each of the disparities."""
        left, right = described.chunk(2)
        height, width = left.shape[-2:]
        columns = torch.arange(width, device=tried.device, dtype=tried.dtype)
        rows = torch.arange(height, device=tried.device, dtype=tried.dtype)[:, None].expand_as(tried[:, 0])
        # One below the other, so that one operation serves all.
        x = torch.cat([columns - there[:, 0] for there in tried.split(1, 1)], 1)
        count = tried.shape[1]
        brought = sample_at(right, x, torch.cat([rows] * count, 1))
        # Chunks have their gradients joined at once; torch.onnx does not know chunks of a height that is free.
        slices = (brought[:, :, i * height : (i + 1) * height] for i in range(count))
        found = brought.chunk(count, 2) if self.training else slices
        return torch.cat([(left * there).mean(1, keepdim=True) for there in found], 1)


def _nearest(disparity: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """The largest in the window, along rows and then along columns: a quarter of the comparisons."""
    along = F.max_pool2d(disparity, (1, WINDOW), 1, (0, WINDOW // 2))
    return F.max_pool2d(along, (WINDOW, 1), 1, (WINDOW // 2, 0))
