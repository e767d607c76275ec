"""plumb-flow: compact optical flow that shares plummet's encoder.

Both frames share plummet's encoder down to 1/8, and one more stage to 1/16. There every displacement within a wide
range is compared at once, by shifts; at 1/8 and 1/4 the other frame's features are warped by the flow so far and
compared in a small window. At every resolution a small 2-D network corrects the scores of the displacements, and what
they speak for is the peak's local mean, plus a residual for what no comparison can tell (occluded, out of view). All
corrections begin at zero, so that the untrained decoder already answers with the features' own best match. Between the
windows, and after them at 1/2 and at the full size, registration of the frames themselves, which has no weights, takes
what is nearly right to fractions of a pixel; it counts where the frames agree better by it.

Rules kept, as in plummet: BatchNorm after every convolution, ReLU, no 5-D tensor, no gather or scatter. Bilinear
warps (grid_sample) are needed: targets without that operator (Caffe) cannot take the network.
Learns from PWC-Net (warping, windows; Sun et al., CVPR 2018), DICL (residual over the displacements' own distribution;
Wang et al., NeurIPS 2020) and RAFT (convex upsampling; Teed and Deng, ECCV 2020).
Shapes: b batch, h w image, p displacements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.models.plummet import Encoder, Plummet, PlummetConfig
from leadline.models.registry import register
from leadline.nn.conv import ConvBN, Residual
from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.imagenet import ImageNetNormalize
from leadline.nn.local_correlation import Displacements, Reach, clear_mean, likeliest_displacement, local_correlation
from leadline.nn.registration import adopt_neighbours, keep_better, register_flow, without_lighting
from leadline.nn.warp import sample_at

ADOPTING = (4, 4, 4, 2)  # px from which pixels may adopt a flow, by level of registration
ADOPTING_STEPS = (0, 2)
START_WEIGHT = 12.0  # before training: soft enough that the peak's mean is right between whole displacements


@dataclass(frozen=True)
class PlumbFlowConfig:
    """Widths are channels at the resolution named; the encoder's are plummet-s's, so that its weights fit."""

    stem: int = 16  # at 1/2
    quarter: int = 32
    eighth: int = 48
    matching: int = 32  # channels that are compared at 1/4
    depth: int = 1  # residual units per stage of the encoder
    sixteenth: int = 64  # features at 1/16
    reach_rows: int = 6  # displacements compared at 1/16: 16 px of the image each
    reach_columns: int = 12
    reach_eighth: int = 3  # window at 1/8
    reach_quarter: int = 3  # window at 1/4
    steps_eighth: int = 1  # windows one after another, each round the last one's answer; changes no weight
    steps_quarter: int = 1
    registration: Sequence[int] = (5, 5, 4, 3)  # steps at 1/8 and 1/4, before their windows, 1/2 and 1; no weights
    hidden_quarter: int = 48  # channels of the networks that correct the scores
    hidden_eighth: int = 64
    hidden_sixteenth: int = 80
    hidden_coarsest: int = 96  # at 1/32 and 1/64

    def __post_init__(self) -> None:
        for name in ("reach_rows", "reach_columns", "reach_eighth", "reach_quarter"):
            if not 1 <= getattr(self, name) <= 32:
                raise UserError(f"plumb-flow: {name} {getattr(self, name)} is outside 1..32")
        for name in ("steps_eighth", "steps_quarter"):
            if not 1 <= getattr(self, name) <= 16:
                raise UserError(f"plumb-flow: {name} {getattr(self, name)} is outside 1..16")
        object.__setattr__(self, "registration", tuple(self.registration))  # a checkpoint's JSON gives a list
        if len(self.registration) != 4 or min(self.registration) < 0:
            raise UserError(f"plumb-flow: registration {list(self.registration)}: give four numbers of at least 0")


class Correction(nn.Module):
    """From scores, features of frame 0 and the flow so far: corrected scores and a residual flow.

    An hourglass with `downs` halvings; both outputs begin at zero change.
    """

    def __init__(self, planes: int, guide: int, hidden: int, deeper: tuple[int, ...]):
        super().__init__()
        widths = (hidden, *deeper)
        self.enter = ConvBN(planes + guide + 2, hidden, kernel=1)
        self.first = Residual(hidden)
        self.downs = nn.ModuleList(nn.Sequential(ConvBN(a, b, stride=2), Residual(b)) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(ConvBN(b, a, kernel=1, relu=False) for a, b in pairwise(widths))
        self.outs = nn.ModuleList(ConvBN(a, a) for a in widths[:-1])
        self.score = ConvBN(hidden, planes, kernel=1, relu=False)
        self.residual = ConvBN(hidden, 2, relu=False)
        for last in (self.score, self.residual):
            nn.init.zeros_(next(last[1].parameters()))  # BatchNorm's weight

    def forward(
        self, scores: Float[Tensor, "b p h w"], guide: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]
    ) -> tuple[Float[Tensor, "b p h w"], Float[Tensor, "b 2 h w"], Float[Tensor, "b c2 h w"]]:
        x = self.first(self.enter(torch.cat([scores, guide, flow], 1)))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for skip, up, out in zip(reversed(skips), reversed(list(self.ups)), reversed(list(self.outs)), strict=True):
            x = out(F.relu(skip + _resize(up(x), skip)))
        return scores + self.score(x), self.residual(x), x


class PlumbFlow(Network):
    """Flow (b, 2, h, w), (u, v) in px, frame 0 -> frame 1."""

    task = Task.FLOW
    size_multiple = 64
    min_size = (64, 64)

    def __init__(self, config: PlumbFlowConfig):
        super().__init__(config)
        shared = PlummetConfig(
            stem=config.stem, quarter=config.quarter, eighth=config.eighth, matching=config.matching,
            depth=config.depth, coarse_groups=1,
        )  # fmt: skip
        self.decides = any(config.registration)
        self.wide = (config.reach_rows, config.reach_columns)
        self.window8 = (config.reach_eighth, config.reach_eighth)
        self.window4 = (config.reach_quarter, config.reach_quarter)
        self.normalize = ImageNetNormalize()
        self.encoder = Encoder(shared)
        self.encoder.match_eighth.requires_grad_(False)  # plummet's alone; kept so that its weights fit
        self.sixteenth = nn.Sequential(
            ConvBN(config.eighth, config.sixteenth, stride=2), Residual(config.sixteenth), Residual(config.sixteenth)
        )
        rectified = 2 * config.matching
        self.match16, self.match8 = (_identity(ConvBN(rectified, rectified, kernel=1, relu=False)) for _ in range(2))
        self.correct16 = Correction(
            _planes(self.wide), config.sixteenth, config.hidden_sixteenth,
            (config.hidden_coarsest, config.hidden_coarsest),
        )  # fmt: skip
        self.correct8 = Correction(
            _planes(self.window8), config.eighth, config.hidden_eighth, (config.hidden_sixteenth,)
        )
        self.correct4 = Correction(_planes(self.window4), config.quarter, config.hidden_quarter, ())
        self.weights = nn.Parameter(torch.full((3,), START_WEIGHT))  # of the cosines at 1/16, 1/8, 1/4
        self.detail = ConvBN(config.stem, config.stem, stride=2)
        self.guide = ConvBN(config.quarter + config.stem + config.hidden_quarter, 48)
        self.upsample_weights = ConvBN(48, 9 * 16, kernel=1, relu=False)

    def forward_all(
        self, frame0: Float[Tensor, "b 3 h w"], frame1: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 2 h w"]]:
        return self._forward(frame0, frame1)[0]

    def forward_scores(
        self, frame0: Float[Tensor, "b 3 h w"], frame1: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 2 h w"]], list[Displacements], float]:
        """Predictions as `forward_all`; the scores at every resolution, raw and corrected, coarse to fine; and 1."""
        predictions, scores = self._forward(frame0, frame1)
        return predictions, scores, 1.0

    def _forward(
        self, frame0: Float[Tensor, "b 3 h w"], frame1: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 2 h w"]], list[Displacements]]:
        self.check_size(*frame0.shape[-2:])
        half, fused, eighth, match, _ = self.encoder(self.normalize(torch.cat([frame0, frame1])))
        sixteenth = self.sixteenth(eighth.chunk(2)[0])
        half, fused, eighth = (x.chunk(2)[0] for x in (half, fused, eighth))
        edges = torch.cat([F.relu(match), F.relu(-match)], 1)
        match16, other16 = _unit(self.match16(F.avg_pool2d(edges, 4))).chunk(2)
        match8, other8 = _unit(self.match8(F.avg_pool2d(edges, 2))).chunk(2)
        match4, other4 = _unit(match).chunk(2)

        still = torch.zeros_like(match16[:, :2])
        raw16 = self.weights[0] * _smooth(_smooth(local_correlation(match16, other16, self.wide)))
        scores16, residual, _ = self.correct16(raw16, sixteenth, still)
        flow16 = clear_mean(*likeliest_displacement(scores16, self.wide), times=2) + residual  # px of 1/16
        frames = [(frame0, frame1)]
        for _ in range(3):
            frames.append((F.avg_pool2d(frames[-1][0], 2), F.avg_pool2d(frames[-1][1], 2)))
        frames = [(without_lighting(a), without_lighting(b)) for a, b in frames]
        steps8, steps4 = self.config.steps_eighth, self.config.steps_quarter
        start8 = self._register(2 * _double(flow16.detach()), frames[3], 0)
        flow8, windows8, _ = self._refine(
            self.correct8, self.weights[1], match8, other8, eighth, start8, self.window8, steps8, 1 / 8
        )  # fmt: skip
        start4 = self._register(2 * _double(flow8.detach()), frames[2], 1)
        flow4, windows4, hidden = self._refine(
            self.correct4, self.weights[2], match4, other4, fused, start4, self.window4, steps4, 1 / 16
        )  # fmt: skip

        weights = self.upsample_weights(self.guide(torch.cat([fused, self.detail(half), hidden], 1)))
        final = convex_upsample(4 * flow4, weights, factor=4)
        if self.config.registration[2]:
            at_half = F.avg_pool2d(final, 2) / 2
            final = final + 2 * _double(self._register(at_half, frames[1], 2) - at_half)
        final = self._register(final, frames[0], 3)
        if not self.training:
            return [final], []
        predictions = [_resize(16 * flow16, final), _resize(8 * flow8, final), _resize(4 * flow4, final), final]
        wide = [Displacements(scores, still, self.wide) for scores in (raw16, scores16)]
        return predictions, [*wide, *windows8, *windows4]

    def _register(
        self, flow: Float[Tensor, "b 2 h w"], frames: tuple[Tensor, Tensor], level: int
    ) -> Float[Tensor, "b 2 h w"]:
        """The flow after the steps of registration of a level, where the frames agree better by it."""
        steps = self.config.registration[level]
        if not steps:
            return flow
        known = found = flow.detach()
        for step in range(steps):
            found = register_flow(*frames, found)
            if step in ADOPTING_STEPS:
                found = adopt_neighbours(*frames, found, ADOPTING[level], half=False)
        return flow + (keep_better(*frames, known, found) - known)  # to training a constant

    def _refine(
        self,
        correct: nn.Module,
        weight: Tensor,
        match: Float[Tensor, "b c h w"],
        other: Float[Tensor, "b c h w"],
        guide: Float[Tensor, "b cg h w"],
        start: Float[Tensor, "b 2 h w"],
        window: Reach,
        steps: int,
        scale: float,
    ) -> tuple[Float[Tensor, "b 2 h w"], list[Displacements], Tensor]:
        """A flow corrected within windows round where it points. Each resolution answers for its own, as in RAFT.

        Args:
            start: px of this resolution.
            scale: brings the flow to about 1 for `correct`.

        Returns:
            The flow, px of this resolution; the last step's scores, raw and corrected; what `correct` has in mind.
        """
        flow = raw = scores = hidden = start
        for _ in range(steps):
            start = flow.detach()
            raw = weight * _smooth(_smooth(local_correlation(match, _warp(other, start), window)))
            scores, residual, hidden = correct(raw, guide, start * scale)
            moved, clearness = likeliest_displacement(scores, window)
            flow = clear_mean(start + moved, clearness, times=1) + residual
        return flow, [Displacements(raw, start, window), Displacements(scores, start, window)], hidden


def _unit(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Features of mean square 1, so that their mean product is the cosine of their angle."""
    return x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-6)


def _smooth(scores: Float[Tensor, "b p h w"]) -> Float[Tensor, "b p h w"]:
    """Each displacement's scores averaged over 3x3 neighbours: what lies together moves together."""
    return F.avg_pool2d(scores, 3, stride=1, padding=1, count_include_pad=False)


def _identity(layer: ConvBN) -> ConvBN:
    """The layer, a 1x1 convolution of as many channels as come in, starting as the identity before its BatchNorm."""
    nn.init.dirac_(next(layer[0].parameters()))
    return layer


def _planes(reach: tuple[int, int]) -> int:
    return (2 * reach[0] + 1) * (2 * reach[1] + 1)


def _warp(values: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b c h w"]:
    """values(x + u, y + v); 0 outside."""
    h, w = values.shape[-2:]
    x = torch.arange(w, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(h, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return sample_at(values, x, y, padding="zeros")


def _double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _resize(x: Float[Tensor, "b c h w"], like: Float[Tensor, "b _ fh fw"]) -> Float[Tensor, "b c fh fw"]:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def share_encoder(network: PlumbFlow, plummet: Plummet) -> None:
    """Takes over the encoder of a trained plummet of the same widths: the start from which matching is learned.

    Raises:
        UserError: the widths differ.
    """
    try:
        network.encoder.load_state_dict(plummet.encoder.state_dict())
    except RuntimeError:
        raise UserError("plummet's encoder has other widths than plumb-flow's: both need the same options") from None


@register("plumb-flow")
def plumb_flow(**config) -> PlumbFlow:
    """For a CPU or a small NPU."""
    return PlumbFlow(PlumbFlowConfig(**config))
