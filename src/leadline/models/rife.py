"""RIFE: a frame between two others, by estimating the flows from the new frame to both at once.

Follows: Z. Huang, T. Zhang, W. Heng, B. Shi, S. Zhou, "Real-Time Intermediate Flow Estimation for Video Frame
Interpolation", ECCV 2022, and its code (github.com/hzwer/ECCV2022-RIFE, 5d8adbd). Numerically the original, teacher
and losses included; parameters keep the original's names.

What is easily got wrong, since the paper does not tell:
- the blending mask goes into the next block and into the refinement as the logit; only blending takes its sigmoid;
- each block warps the original frames by the whole flow so far, never what was warped before;
- warping clamps at the border and counts pixel centres (align_corners), resizing does not (half-pixel centres);
- a block sees the flow last, behind everything else, in the teacher even behind the true frame;
- the flow that warps the context is halved from level to level, each time from the level before;
- only the last frame is refined, and the teacher's superiority is judged before that;
- the originals' scripts feed BGR (as OpenCV reads), training reverses the channels of every other sample, so that a
  trained network hardly minds. `bgr` feeds it that way exactly.

Shapes: b batch, h w frame. Flows have 4 channels, px: (x, y) from the new frame to frame 0, then to frame 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.models.registry import register
from leadline.nn.laplacian import laplacian_distance
from leadline.nn.warp import warp_clamped

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
COARSE_TO_FINE = (4, 2, 1)  # the blocks' resolutions, as divisors, at scale 1
BETTER = 0.01  # mean absolute difference by which the teacher must win for its flow to be followed


@dataclass(frozen=True)
class RifeConfig:
    """The published network by default."""

    scale: float = 1.0  # at which motion is looked for: 0.5 for 4K or large motion, 2 for small frames
    large: bool = False  # the 2R variant: everything at twice the resolution, with the same parameters
    tta: bool = False  # the 2T variant: the mean of the frames and of the frames turned by 180 degrees
    teacher: bool = True  # the block that sees the true frame; it serves training alone
    bgr: bool = False  # reverse the channels on the way in and out, as the originals' scripts do

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UserError(f"rife: scale {self.scale} is none of {', '.join(f'{s:g}' for s in SCALES)}")


@dataclass
class Stages:
    """What the three blocks found, coarse to fine, and the teacher where the true frame was given."""

    flows: list[Float[Tensor, "b 4 h w"]] = field(default_factory=list)
    masks: list[Float[Tensor, "b 1 h w"]] = field(default_factory=list)  # logits: how much of frame 0 to take
    frames: list[Float[Tensor, "b 3 h w"]] = field(default_factory=list)  # the last one refined
    teacher_flow: Float[Tensor, "b 4 h w"] | None = None
    teacher_frame: Float[Tensor, "b 3 h w"] | None = None
    distillation: Float[Tensor, ""] | None = None


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride, 1), nn.PReLU(out_channels))


def _deconv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1), nn.PReLU(out_channels))


def _resize(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class IFBlock(nn.Module):
    """Updates of flow and mask logit, found at 1/scale of the frames' resolution."""

    def __init__(self, in_channels: int, channels: int, large: bool):
        super().__init__()
        self.conv0 = nn.Sequential(
            _conv(in_channels, channels // 2, stride=1 if large else 2), _conv(channels // 2, channels, stride=2)
        )
        self.convblock = nn.Sequential(*(_conv(channels, channels) for _ in range(8)))
        self.lastconv = nn.ConvTranspose2d(channels, 5, 4, 2, 1)
        self.out_stride = 1 if large else 2  # of what lastconv gives, at the block's resolution

    def forward(
        self, x: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 4 h w"] | None, scale: float
    ) -> tuple[Float[Tensor, "b 4 h w"], Float[Tensor, "b 1 h w"]]:
        x = _resize(x, 1 / scale)
        if flow is not None:
            x = torch.cat([x, _resize(flow, 1 / scale) * (1 / scale)], 1)
        x = self.conv0(x)
        up = scale * self.out_stride
        update = _resize(self.lastconv(self.convblock(x) + x), up)
        return update[:, :4] * up, update[:, 4:]


class ConvPair(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int = 2):
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, stride)
        self.conv2 = _conv(out_channels, out_channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return self.conv2(self.conv1(x))


class Context(nn.Module):
    """Features of one frame at four levels, each warped to the new frame."""

    def __init__(self, large: bool):
        super().__init__()
        self.conv1 = ConvPair(3, 16, stride=1 if large else 2)
        self.conv2 = ConvPair(16, 32)
        self.conv3 = ConvPair(32, 64)
        self.conv4 = ConvPair(64, 128)
        self.large = large

    def forward(self, frame: Float[Tensor, "b 3 h w"], flow: Float[Tensor, "b 2 h w"]) -> list[Tensor]:
        warped = []
        for level, conv in enumerate((self.conv1, self.conv2, self.conv3, self.conv4)):
            frame = conv(frame)  # what goes on to the next level is not warped
            if level or not self.large:
                flow = _resize(flow, 0.5) * 0.5
            warped.append(warp_clamped(frame, flow))
        return warped


class Refinement(nn.Module):
    """A U-Net that sees frames, warped frames, mask logit, flow and context; gives twice a correction, plus one."""

    def __init__(self, large: bool):
        super().__init__()
        self.down0 = ConvPair(17, 32, stride=1 if large else 2)
        self.down1 = ConvPair(64, 64)
        self.down2 = ConvPair(128, 128)
        self.down3 = ConvPair(256, 256)
        self.up0 = _deconv(512, 128)
        self.up1 = _deconv(256, 64)
        self.up2 = _deconv(128, 32)
        self.up3 = _deconv(64, 16)
        self.conv = nn.Conv2d(16, 3, 3, 2 if large else 1, 1)

    def forward(
        self, seen: Float[Tensor, "b 17 h w"], context0: list[Tensor], context1: list[Tensor]
    ) -> Float[Tensor, "b 3 h w"]:
        contexts = [torch.cat(both, 1) for both in zip(context0, context1, strict=True)]
        s0 = self.down0(seen)
        s1 = self.down1(torch.cat([s0, contexts[0]], 1))
        s2 = self.down2(torch.cat([s1, contexts[1]], 1))
        s3 = self.down3(torch.cat([s2, contexts[2]], 1))
        x = self.up0(torch.cat([s3, contexts[3]], 1))
        x = self.up1(torch.cat([x, s2], 1))
        x = self.up2(torch.cat([x, s1], 1))
        x = self.up3(torch.cat([x, s0], 1))
        return torch.sigmoid(self.conv(x))


class Rife(Network):
    """The frame between two, at the middle or (`rife-m`) at any time in between.

    10,071,550 parameters without the teacher (rife-m: 10,073,710), 14.5 GMAC at 256x448.
    """

    task = Task.INTERPOLATION

    def __init__(self, config: RifeConfig, takes_time: bool):
        super().__init__(config)
        self.takes_time = takes_time
        large, time = config.large, int(takes_time)
        self.block0 = IFBlock(6 + time, 240, large)
        self.block1 = IFBlock(17 + time, 150, large)
        self.block2 = IFBlock(17 + time, 90, large)
        self.block_tea = IFBlock(20 + time, 90, large) if config.teacher else None
        self.contextnet = Context(large)
        self.unet = Refinement(large)
        self.scales = tuple(divisor / config.scale for divisor in COARSE_TO_FINE)
        # Four halvings in the refinement, and two in the coarsest block; the 2R variant has one less of each.
        self.size_multiple = int(16 * max(1, 1 / config.scale)) // (2 if large else 1)
        self.min_size = (self.size_multiple, self.size_multiple)

    def forward(
        self,
        frame0: Float[Tensor, "b 3 h w"],
        frame1: Float[Tensor, "b 3 h w"],
        time: Float[Tensor, "b 1 1 1"] | None = None,
    ) -> Float[Tensor, "b 3 h w"]:
        """The frame at `time` (0: frame 0, 1: frame 1); None: the middle. `rife` knows the middle alone."""
        frame = self.stages(frame0, frame1, time).frames[-1]
        if self.config.tta:
            turned = self.stages(frame0.flip(2, 3), frame1.flip(2, 3), time).frames[-1].flip(2, 3)
            frame = (frame + turned) / 2
        return frame

    def forward_all(
        self,
        frame0: Float[Tensor, "b 3 h w"],
        frame1: Float[Tensor, "b 3 h w"],
        time: Float[Tensor, "b 1 1 1"] | None = None,
    ) -> list[Float[Tensor, "b 3 h w"]]:
        """The frames of the three blocks, coarse to fine, the last refined."""
        return self.stages(frame0, frame1, time).frames

    def forward_supervised(
        self, images: Sequence[Tensor], truth: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 3 h w"]], dict[str, Tensor]]:
        """As `forward_all`, and what the losses "motion", "teacher" and "distillation" look at."""
        found = self.stages(images[0], images[1], images[2] if len(images) > 2 else None, truth)
        own = {"flows": torch.stack(found.flows)}
        if found.teacher_frame is not None and found.distillation is not None:
            own |= {"teacher": laplacian_distance(found.teacher_frame, truth), "distillation": found.distillation}
        return found.frames, own

    def flow(self, frame0: Tensor, frame1: Tensor, time: Tensor | None = None) -> Float[Tensor, "b 4 h w"]:
        """The last flow, px, from the new frame to both."""
        return self.stages(frame0, frame1, time, refine=False).flows[-1]

    def stages(
        self,
        frame0: Float[Tensor, "b 3 h w"],
        frame1: Float[Tensor, "b 3 h w"],
        time: Float[Tensor, "b 1 1 1"] | None = None,
        truth: Float[Tensor, "b 3 h w"] | None = None,
        refine: bool = True,
    ) -> Stages:
        """Everything that is found on the way.

        Args:
            frame0, frame1: RGB in [0, 1].
            time: see `forward`.
            truth: the true frame; given, the teacher is asked too.
            refine: whether the last frame is refined.
        """
        self.check_size(*frame0.shape[-2:])
        if self.config.bgr:
            frame0, frame1 = frame0.flip(1), frame1.flip(1)
            truth = None if truth is None else truth.flip(1)
        seen = [frame0, frame1]
        if self.takes_time:
            time = frame0.new_full((1, 1, 1, 1), 0.5) if time is None else time
            seen.append(torch.zeros_like(frame0[:, :1]) + time.to(frame0.dtype))
        found = Stages()
        flow, mask = self.block0(torch.cat(seen, 1), None, self.scales[0])
        warped0, warped1 = self._keep(found, flow, mask, frame0, frame1)
        for block, scale in ((self.block1, self.scales[1]), (self.block2, self.scales[2])):
            more_flow, more_mask = block(torch.cat([*seen, warped0, warped1, mask], 1), flow, scale)
            flow, mask = flow + more_flow, mask + more_mask
            warped0, warped1 = self._keep(found, flow, mask, frame0, frame1)
        if truth is not None and self.block_tea is not None:
            more = self.block_tea(torch.cat([*seen, warped0, warped1, mask, truth], 1), flow, 1.0)
            self._teach(found, more, truth, frame0, frame1)
        if refine:
            context0, context1 = self.contextnet(frame0, flow[:, :2]), self.contextnet(frame1, flow[:, 2:])
            refined = self.unet(torch.cat([frame0, frame1, warped0, warped1, mask, flow], 1), context0, context1)
            found.frames[-1] = (found.frames[-1] + 2 * refined - 1).clamp(0, 1)
        if self.config.bgr:
            found.frames = [frame.flip(1) for frame in found.frames]
            found.teacher_frame = None if found.teacher_frame is None else found.teacher_frame.flip(1)
        return found

    def _keep(
        self, found: Stages, flow: Tensor, mask: Tensor, frame0: Tensor, frame1: Tensor
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
        """Notes a block's flow, mask and frame; returns both frames warped."""
        warped0, warped1 = warp_clamped(frame0, flow[:, :2]), warp_clamped(frame1, flow[:, 2:])
        found.flows.append(flow)
        found.masks.append(mask)
        found.frames.append(_blend(warped0, warped1, mask))
        return warped0, warped1

    def _teach(
        self, found: Stages, update: tuple[Tensor, Tensor], truth: Tensor, frame0: Tensor, frame1: Tensor
    ) -> None:
        """Adds the teacher's flow and frame, and how far the students' flows are from it where it does better."""
        flow, mask = found.flows[-1] + update[0], found.masks[-1] + update[1]
        frame = _blend(warp_clamped(frame0, flow[:, :2]), warp_clamped(frame1, flow[:, 2:]), mask)
        teacher_error = (frame - truth).abs().mean(1, keepdim=True)
        total = flow.new_zeros(())
        for student_flow, student_frame in zip(found.flows, found.frames, strict=True):
            student_error = (student_frame - truth).abs().mean(1, keepdim=True)
            follow = (student_error > teacher_error + BETTER).to(flow.dtype).detach()
            # The original has no floor under the root, whose gradient is infinite where the flows are equal.
            apart = (flow.detach() - student_flow).square().mean(1, keepdim=True).clamp(min=1e-12).sqrt()
            total = total + (apart * follow).mean()
        found.teacher_flow, found.teacher_frame, found.distillation = flow, frame, total


def _blend(warped0: Tensor, warped1: Tensor, mask: Tensor) -> Float[Tensor, "b 3 h w"]:
    share = torch.sigmoid(mask)
    return warped0 * share + warped1 * (1 - share)


@register("rife")
def rife(**config: Any) -> Rife:
    """The middle frame (the original's IFNet)."""
    return Rife(RifeConfig(**config), takes_time=False)


@register("rife-m")
def rife_m(**config: Any) -> Rife:
    """The frame at any time (the original's IFNet_m)."""
    return Rife(RifeConfig(**config), takes_time=True)
