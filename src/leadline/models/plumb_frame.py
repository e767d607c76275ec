"""plumb-frame: a compact network for the middle frame between two, after plummet's manner.

The flow is found coarse to fine, from 1/16 to the full size, and always for the frame that is to be made: frame 0 is
looked at by -d and frame 1 by +d, so that nothing has to be turned round or filled afterwards. Two ways of finding it
take turns at each size. Registration solves, without any weights, for the small shift that explains the difference of
the warped frames (Lucas and Kanade, held by its surroundings), and lets pixels adopt a neighbour's flow: it is exact
below a pixel from the first day, and what matches plainly needs no more. Matching is learned: it compares the features
of both frames over a window of shifts, sees context and what the coarser size found, and corrects what registration
cannot know, such as large motion, repeated texture, and the outlines of what moves. Its corrections begin at 0. A
small network at 1/2 then blends the warped frames and mends what neither of them shows.

Convolutions carry BatchNorm and ReLU throughout, for int8; coordinates and registration stay in float, and warping
needs the target to know grid_sample. Learns from BMBC (bilateral cost volumes; Park et al., ECCV 2020), PWC-Net
(coarse to fine with warped features; Sun et al., CVPR 2018) and RIFE (fused warps; Huang et al., ECCV 2022).
Shapes: b batch, h w frame. A half flow d, px, leads from the middle frame to frame 1; frame 0 lies at -d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.models.registry import register
from leadline.nn.conv import ConvBN, Residual
from leadline.nn.registration import adopt_neighbours, register_half
from leadline.nn.warp import inside_by_flow, warp_clamped

ADOPTING = {1: 2, 2: 4, 3: 4}  # sizes (as in `steps`) at which pixels may adopt a flow, and from how far away
ADOPTING_STEPS = (0, 2)
CALM = 0.1  # unit of corrections, so that the first steps of training do not throw over what registration found


@dataclass(frozen=True)
class PlumbFrameConfig:
    """Widths are channels at the size named; reaches are cells to either side that matching searches."""

    stem: int = 16  # at 1/2
    quarter: int = 32
    eighth: int = 48
    sixteenth: int = 64
    reach_sixteenth: int = 3  # a cell is 16 px, and both frames move: 96 px between them
    reach_eighth: int = 2
    reach_quarter: int = 2
    steps: Sequence[int] = (6, 5, 4, 3, 3)  # of registration at 1/16, 1/8, 1/4, 1/2, 1
    blend: int = 24  # channels of the blending at 1/2

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))  # a checkpoint's JSON gives a list
        if len(self.steps) != 5 or min(self.steps) < 0:
            raise UserError(f"plumb-frame: steps {list(self.steps)}: give five numbers of at least 0, coarse to fine")


class Encoder(nn.Module):
    """Features of one frame at 1/4, 1/8 and 1/16."""

    def __init__(self, config: PlumbFrameConfig):
        super().__init__()
        self.quarter = nn.Sequential(
            ConvBN(3, config.stem, stride=2),
            ConvBN(config.stem, config.quarter, stride=2),
            ConvBN(config.quarter, config.quarter),
        )
        self.eighth = nn.Sequential(ConvBN(config.quarter, config.eighth, stride=2), Residual(config.eighth))
        self.sixteenth = nn.Sequential(ConvBN(config.eighth, config.sixteenth, stride=2), Residual(config.sixteenth))

    def forward(self, frame: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        quarter = self.quarter(frame)
        eighth = self.eighth(quarter)
        return quarter, eighth, self.sixteenth(eighth)


class Matching(nn.Module):
    """A correction of the half flow, in cells, from the features of both frames and what the coarser size found."""

    def __init__(self, channels: int, hidden: int, coarser: int, reach: int):
        super().__init__()
        self.reach = reach
        shifts = (2 * reach + 1) ** 2
        self.features = ConvBN(channels, channels, kernel=1, relu=False)
        self.enter = ConvBN(shifts + 2 * channels + coarser + 2, hidden)
        self.body = Residual(hidden)
        self.correct = nn.Conv2d(hidden, 2, 3, padding=1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]

    def forward(
        self,
        frame0: Float[Tensor, "b c h w"],
        frame1: Float[Tensor, "b c h w"],
        flow: Float[Tensor, "b 2 h w"],
        coarser: Float[Tensor, "b c2 h w"] | None,
    ) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b hidden h w"]]:
        flow_known = flow.detach()  # each size is taught by its own flow
        frame0, frame1 = warp_clamped(frame0, -flow_known), warp_clamped(frame1, flow_known)
        agreement = bilateral_correlation(self.features(frame0), self.features(frame1), self.reach)
        seen = [agreement, frame0, frame1, flow_known] + ([] if coarser is None else [coarser])
        hidden = self.body(self.enter(torch.cat(seen, 1)))
        return flow + CALM * self.correct(hidden), hidden


def bilateral_correlation(
    frame0: Float[Tensor, "b c h w"], frame1: Float[Tensor, "b c h w"], reach: int
) -> Float[Tensor, "b shifts h w"]:
    """Cosine of frame 0's features at x - s and frame 1's at x + s, for all shifts s of at most `reach` cells.

    Row by row; 0 where either lies outside. MACs: c (2 reach + 1)^2 per cell.
    """
    frame0, frame1 = (f / (f.square().sum(1, keepdim=True) + 1e-4).sqrt() for f in (frame0, frame1))
    h, w = frame0.shape[-2:]
    padded0, padded1 = (F.pad(f, (reach, reach, reach, reach)) for f in (frame0, frame1))
    scores = []
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            here0 = padded0[:, :, reach - dy : reach - dy + h, reach - dx : reach - dx + w]
            here1 = padded1[:, :, reach + dy : reach + dy + h, reach + dx : reach + dx + w]
            scores.append((here0 * here1).sum(1, keepdim=True))
    return torch.cat(scores, 1)


class Blending(nn.Module):
    """How much of either warped frame to take, and what to add, per pixel; works at 1/2."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.enter = ConvBN(32 + hidden, channels)
        self.body = Residual(channels)
        self.last = nn.Conv2d(channels, 16, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # in the beginning: the mean of both
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(
        self,
        warped0: Float[Tensor, "b 3 h w"],
        warped1: Float[Tensor, "b 3 h w"],
        inside: Float[Tensor, "b 2 h w"],
        hidden: Float[Tensor, "b c hh hw"],
    ) -> Float[Tensor, "b 3 h w"]:
        fine = F.pixel_unshuffle(torch.cat([warped0, warped1, inside], 1), 2)
        out = F.pixel_shuffle(self.last(self.body(self.enter(torch.cat([fine, hidden], 1)))), 2)
        share = torch.sigmoid(out[:, :1])
        return warped0 * share + warped1 * (1 - share) + CALM * out[:, 1:]


class PlumbFrame(Network):
    """The middle frame (b, 3, h, w)."""

    task = Task.INTERPOLATION
    size_multiple = 16

    def __init__(self, config: PlumbFrameConfig):
        super().__init__(config)
        self.decides = any(config.steps)
        self.encoder = Encoder(config)
        self.match_sixteenth = Matching(config.sixteenth, config.sixteenth, 0, config.reach_sixteenth)
        self.match_eighth = Matching(config.eighth, config.eighth, config.sixteenth, config.reach_eighth)
        self.match_quarter = Matching(config.quarter, config.eighth, config.eighth, config.reach_quarter)
        self.reduce = ConvBN(config.eighth, config.stem, kernel=1)
        self.blending = Blending(config.blend, config.stem)

    def forward_flows(
        self, frame0: Float[Tensor, "b 3 h w"], frame1: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 3 h w"], list[Float[Tensor, "b 2 h w"]]]:
        """The frame, and the half flows after each matching and at the end, coarse to fine, all at full size."""
        self.check_size(*frame0.shape[-2:])
        frames = [(frame0, frame1)]  # full size first
        for _ in range(4):
            frames.append((F.avg_pool2d(frames[-1][0], 2), F.avg_pool2d(frames[-1][1], 2)))
        features = self.encoder(torch.cat([frame0, frame1]) * 2 - 1)
        quarter, eighth, sixteenth = (f.chunk(2) for f in features)

        flow = torch.zeros_like(frames[4][0][:, :2])
        flow = self._register(flow, frames[4], 0)
        flow, hidden = self.match_sixteenth(*sixteenth, flow, None)
        flows = [_enlarge(flow, 16)]
        flow = self._register(_enlarge(flow, 2), frames[3], 1)
        flow, hidden = self.match_eighth(*eighth, flow, _double(hidden))
        flows.append(_enlarge(flow, 8))
        flow = self._register(_enlarge(flow, 2), frames[2], 2)
        flow, hidden = self.match_quarter(*quarter, flow, _double(hidden))
        flows.append(_enlarge(flow, 4))
        for i in (1, 0):
            flow = self._register(_enlarge(flow, 2), frames[i], 4 - i)
        flows.append(flow)
        warped = warp_clamped(frame0, -flow), warp_clamped(frame1, flow)
        inside = torch.cat([inside_by_flow(-flow), inside_by_flow(flow)], 1)
        return self.blending(*warped, inside, _double(self.reduce(hidden))), flows

    def _register(
        self, flow: Float[Tensor, "b 2 h w"], frames: tuple[Tensor, Tensor], level: int
    ) -> Float[Tensor, "b 2 h w"]:
        found = flow.detach()
        for step in range(self.config.steps[level]):
            found = register_half(frames[0], frames[1], found)
            if step in ADOPTING_STEPS and level in ADOPTING:
                found = adopt_neighbours(frames[0], frames[1], found, ADOPTING[level])
        return flow + (found - flow.detach())  # to training the steps are constants

    def forward_supervised(
        self, images: Sequence[Tensor], truth: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 3 h w"]], dict[str, Tensor]]:
        """The frame, not clipped so that it learns everywhere, and the flows for the loss "motion"."""
        frame, flows = self.forward_flows(images[0], images[1])
        return [frame], {"flows": torch.stack([torch.cat([-flow, flow], 1) for flow in flows])}

    def flow(self, frame0: Float[Tensor, "b 3 h w"], frame1: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h w"]:
        """Flow, px, from the middle frame to both: (x, y) to frame 0, then to frame 1."""
        half = self.forward_flows(frame0, frame1)[1][-1]
        return torch.cat([-half, half], 1)

    def forward_all(
        self, frame0: Float[Tensor, "b 3 h w"], frame1: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 3 h w"]]:
        return [self.forward_flows(frame0, frame1)[0].clamp(0, 1)]


def _double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _enlarge(flow: Float[Tensor, "b 2 h w"], factor: int) -> Float[Tensor, "b 2 fh fw"]:
    return F.interpolate(flow, scale_factor=float(factor), mode="bilinear", align_corners=False) * factor


@register("plumb-frame")
def plumb_frame(**config: Any) -> PlumbFrame:
    return PlumbFrame(PlumbFrameConfig(**config))
