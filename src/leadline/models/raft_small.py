"""RAFT's small network for optical flow: all-pairs correlation, looked up and refined by a ConvGRU.

Follows: Z. Teed and J. Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020, and its code
(princeton-vl/RAFT, RAFT-S). Equal to it number by number: official weights load with `leadline.import_upstream`.
Shapes: b batch, h w image; everything recurrent is at 1/8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.models.registry import register
from leadline.nn.lookup import all_pairs_correlation, correlation_pyramid, look_up
from leadline.nn.recurrent import ConvGRU

HIDDEN, CONTEXT, MATCHING = 96, 64, 128  # channels
LEVELS, RADIUS = 4, 3  # of the correlation pyramid


@dataclass(frozen=True)
class RaftSmallConfig:
    """Iterations change no weight: any number can be run with the same ones."""

    iterations: int = 12  # the paper trains with 12 and evaluates with 12 to 32

    def __post_init__(self) -> None:
        if not 1 <= self.iterations <= 100:
            raise UserError(f"raft-small: iterations {self.iterations} is outside 1..100")


class Bottleneck(nn.Module):
    """1x1 to a quarter of the channels, 3x3, 1x1 back, each with its norm and ReLU, beside a short cut."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: bool):
        super().__init__()
        quarter = channels // 4
        self.conv1 = nn.Conv2d(in_channels, quarter, 1)
        self.conv2 = nn.Conv2d(quarter, quarter, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(quarter, channels, 1)
        self.norm1, self.norm2, self.norm3 = (_norm(c, norm) for c in (quarter, quarter, channels))
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride), _norm(channels, norm)) if stride > 1 else None
        )

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co h2 w2"]:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = F.relu(self.norm3(self.conv3(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class SmallEncoder(nn.Module):
    """Features at 1/8."""

    def __init__(self, out_channels: int, norm: bool):
        super().__init__()
        self.norm1 = _norm(32, norm)
        self.conv1 = nn.Conv2d(3, 32, 7, 2, padding=3)
        self.layer1 = nn.Sequential(Bottleneck(32, 32, 1, norm), Bottleneck(32, 32, 1, norm))
        self.layer2 = nn.Sequential(Bottleneck(32, 64, 2, norm), Bottleneck(64, 64, 1, norm))
        self.layer3 = nn.Sequential(Bottleneck(64, 96, 2, norm), Bottleneck(96, 96, 1, norm))
        self.conv2 = nn.Conv2d(96, out_channels, 1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h8 w8"]:
        x = F.relu(self.norm1(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class MotionEncoder(nn.Module):
    """Correlations and the flow they were looked up with, as 82 channels: 80 and the flow itself."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 96, 1)
        self.convf1 = nn.Conv2d(2, 64, 7, padding=3)
        self.convf2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv = nn.Conv2d(96 + 32, 80, 3, padding=1)

    def forward(self, flow: Float[Tensor, "b 2 h w"], correlation: Float[Tensor, "b p h w"]) -> Tensor:
        matched = F.relu(self.convc1(correlation))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([matched, moved], 1))), flow], 1)


class FlowHead(nn.Module):
    """The change of the flow that the recurrent state speaks for."""

    def __init__(self, in_channels: int, hidden: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, 2, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h w"]:
        return self.conv2(F.relu(self.conv1(x)))


class UpdateBlock(nn.Module):
    """One step of the recurrence."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = ConvGRU(CONTEXT + 82, HIDDEN)
        self.flow_head = FlowHead(HIDDEN, 128)

    def forward(self, state: Tensor, context: Tensor, correlation: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        state = self.gru(torch.cat([context, self.encoder(flow, correlation)], 1), state)
        return state, self.flow_head(state)


class RaftSmall(Network):
    """Flow (b, 2, h, w), (u, v) in px, frame 0 -> frame 1; `forward_all` gives it after every iteration."""

    task = Task.FLOW
    size_multiple = 8
    max_area = 800_000  # all pairs of 1/8 take 1 GB then
    min_size = (128, 128)  # so that the pyramid's coarsest level has two rows and columns

    def __init__(self, config: RaftSmallConfig):
        super().__init__(config)
        self.fnet = SmallEncoder(MATCHING, norm=True)
        self.cnet = SmallEncoder(HIDDEN + CONTEXT, norm=False)
        self.update_block = UpdateBlock()

    def forward(self, *images: Tensor, iterations: int | None = None) -> Tensor:
        """The flow after `iterations` steps (None: the config's number)."""
        return self._run(*images, iterations=iterations)[-1]

    def forward_all(
        self, frame0: Float[Tensor, "b 3 h w"], frame1: Float[Tensor, "b 3 h w"], iterations: int | None = None
    ) -> list[Float[Tensor, "b 2 h w"]]:
        return self._run(frame0, frame1, iterations=iterations, every=True)

    def _run(
        self, frame0: Tensor, frame1: Tensor, iterations: int | None = None, every: bool = False
    ) -> list[Float[Tensor, "b 2 h w"]]:
        self.check_size(*frame0.shape[-2:])
        frame0, frame1 = 2 * frame0 - 1, 2 * frame1 - 1
        features0, features1 = self.fnet(torch.cat([frame0, frame1])).float().chunk(2)
        pyramid = correlation_pyramid(all_pairs_correlation(features0, features1), LEVELS)
        state, context = self.cnet(frame0).split([HIDDEN, CONTEXT], 1)
        state, context = torch.tanh(state), F.relu(context)
        grid = pixel_grid(features0)
        flow = torch.zeros_like(grid)
        predictions = []
        steps = iterations or self.config.iterations
        for step in range(steps):
            flow = flow.detach()
            correlation = look_up(pyramid, grid + flow, RADIUS)
            state, change = self.update_block(state, context, correlation, flow)
            flow = flow + change
            if every or step == steps - 1:
                predictions.append(8 * F.interpolate(flow, scale_factor=8.0, mode="bilinear", align_corners=True))
        return predictions

    def from_upstream(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The official state dict with our names: two of the gates are one convolution, and windows go row by row."""
        ours = gates_joined(tensors, "update_block.gru")
        side = 2 * RADIUS + 1
        weight = ours.get("update_block.encoder.convc1.weight")
        if weight is not None and weight.shape[1:] == (LEVELS * side * side, 1, 1):
            windows = weight.reshape(-1, LEVELS, side, side).transpose(2, 3)
            ours["update_block.encoder.convc1.weight"] = windows.reshape(weight.shape).contiguous()
        return ours


def gates_joined(tensors: Mapping[str, Tensor], *places: str) -> dict[str, Tensor]:
    """RAFT's ConvGRUs (convz, convr, convq) as ours: update and reset in one convolution `gates`, `candidate`."""
    ours = dict(tensors)
    for place in places:
        for kind in ("weight", "bias"):
            names = [f"{place}.{gate}.{kind}" for gate in ("convz", "convr", "convq")]
            if all(name in ours for name in names):
                update, reset, candidate = (ours.pop(name) for name in names)
                ours[f"{place}.gates.{kind}"] = torch.cat([update, reset])
                ours[f"{place}.candidate.{kind}"] = candidate
    return ours


def pixel_grid(like: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h w"]:
    """(x, y) of every pixel."""
    h, w = like.shape[-2:]
    x = torch.arange(w, device=like.device, dtype=like.dtype).expand(h, w)
    y = torch.arange(h, device=like.device, dtype=like.dtype)[:, None].expand(h, w)
    return torch.stack([x, y])[None].expand(like.shape[0], -1, -1, -1)


def _norm(channels: int, norm: bool) -> nn.Module:
    return nn.InstanceNorm2d(channels) if norm else nn.Identity()


@register("raft-small")
def raft_small(**config) -> RaftSmall:
    """RAFT-S."""
    return RaftSmall(RaftSmallConfig(**config))
