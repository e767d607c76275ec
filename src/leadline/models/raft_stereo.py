"""RAFT-Stereo: recurrent stereo over all-pairs correlation along rows, with GRUs at three resolutions.

Follows: L. Lipson, Z. Teed and J. Deng, "RAFT-Stereo: Multilevel Recurrent Field Transforms for Stereo Matching",
3DV 2021, and its code (princeton-vl/RAFT-Stereo). Equal to it number by number: official weights load with
`leadline.import_upstream`. Slow and accurate, with as many iterations as one has time for: a teacher.
Shapes: b batch, h w image; the recurrence is at 1/4 (`downsample` 2) or 1/8 (3), and below it at half and a quarter.
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
from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.lookup import look_up_row, row_correlation, row_pyramid

HIDDEN = 128  # channels of every recurrent state
LEVELS, RADIUS = 4, 4  # of the correlation pyramid


@dataclass(frozen=True)
class RaftStereoConfig:
    """The defaults are the published network; the authors' real-time one is shared, 3, 2, True with 7 iterations."""

    iterations: int = 16  # changes no weight; the paper trains with 22 and evaluates with 32
    downsample: int = 2  # the recurrence is at 1 / 2^downsample
    gru_levels: int = 3  # 1 to 3 resolutions that have a recurrent state
    shared_backbone: bool = False  # matching features from the context encoder rather than from one of their own
    slow_fast: bool = False  # the coarser states are updated more often than the finest

    def __post_init__(self) -> None:
        for name, low, high in (("iterations", 1, 100), ("downsample", 2, 3), ("gru_levels", 1, 3)):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"raft-stereo: {name} {getattr(self, name)} is outside {low}..{high}")


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with its norm and ReLU, beside a short cut."""

    def __init__(self, in_channels: int, channels: int, norm: type[nn.Module], stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1, self.norm2 = norm(channels), norm(channels)
        changes = stride > 1 or in_channels != channels
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride), norm(channels)) if changes else None
        )

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co h2 w2"]:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _stage(in_channels: int, channels: int, norm: type[nn.Module], stride: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(in_channels, channels, norm, stride), ResidualBlock(channels, channels, norm))


class _Trunk(nn.Module):
    """The common part of both encoders: 128 channels at 1 / 2^downsample."""

    def __init__(self, norm: type[nn.Module], downsample: int):
        super().__init__()
        self.norm1 = norm(64)
        self.conv1 = nn.Conv2d(3, 64, 7, 1 + (downsample > 2), padding=3)
        self.layer1 = _stage(64, 64, norm, 1)
        self.layer2 = _stage(64, 96, norm, 1 + (downsample > 1))
        self.layer3 = _stage(96, 128, norm, 1 + (downsample > 0))

    def trunk(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 128 hd wd"]:
        x = F.relu(self.norm1(self.conv1(image)))
        return self.layer3(self.layer2(self.layer1(x)))


class MatchingEncoder(_Trunk):
    """Features that are correlated, with instance norm."""

    def __init__(self, downsample: int):
        super().__init__(nn.InstanceNorm2d, downsample)
        self.conv2 = nn.Conv2d(128, 256, 1)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 256 hd wd"]:
        return self.conv2(self.trunk(images))


class ContextEncoder(_Trunk):
    """Initial state and context at each recurrent resolution, with batch norm."""

    def __init__(self, downsample: int, levels: int):
        super().__init__(nn.BatchNorm2d, downsample)

        def head() -> nn.Sequential:
            return nn.Sequential(ResidualBlock(128, 128, nn.BatchNorm2d), nn.Conv2d(128, HIDDEN, 3, padding=1))

        self.outputs08 = nn.ModuleList([head(), head()])
        if levels > 1:
            self.layer4 = _stage(128, 128, nn.BatchNorm2d, 2)
            self.outputs16 = nn.ModuleList([head(), head()])
        if levels > 2:
            self.layer5 = _stage(128, 128, nn.BatchNorm2d, 2)
            self.outputs32 = nn.ModuleList([nn.Conv2d(128, HIDDEN, 3, padding=1) for _ in range(2)])
        self.levels = levels

    def forward(self, x: Float[Tensor, "b 128 hd wd"]) -> list[tuple[Tensor, Tensor]]:
        """From the left view's trunk: (state, context) per resolution, finest first."""
        found = [(self.outputs08[0](x), self.outputs08[1](x))]
        if self.levels > 1:
            x = self.layer4(x)
            found.append((self.outputs16[0](x), self.outputs16[1](x)))
        if self.levels > 2:
            x = self.layer5(x)
            found.append((self.outputs32[0](x), self.outputs32[1](x)))
        return found


class ContextGRU(nn.Module):
    """A ConvGRU whose context has been through its convolutions once, before the iterations, and is added."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.convz, self.convr, self.convq = (nn.Conv2d(HIDDEN + in_channels, HIDDEN, 3, padding=1) for _ in range(3))

    def forward(self, state: Tensor, context: tuple[Tensor, Tensor, Tensor], *inputs: Tensor) -> Tensor:
        x = torch.cat(inputs, 1)
        both = torch.cat([state, x], 1)
        update = torch.sigmoid(self.convz(both) + context[0])
        reset = torch.sigmoid(self.convr(both) + context[1])
        candidate = torch.tanh(self.convq(torch.cat([reset * state, x], 1)) + context[2])
        return (1 - update) * state + update * candidate


class MotionEncoder(nn.Module):
    """Correlations and the displacement they were looked up with, as 128 channels: 126 and the displacement."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1), 64, 1)
        self.convc2 = nn.Conv2d(64, 64, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 64, 7, padding=3)
        self.convf2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv = nn.Conv2d(128, 126, 3, padding=1)

    def forward(self, flow: Float[Tensor, "b 2 h w"], correlation: Float[Tensor, "b p h w"]) -> Tensor:
        matched = F.relu(self.convc2(F.relu(self.convc1(correlation))))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([matched, moved], 1))), flow], 1)


class FlowHead(nn.Module):
    """The change of the displacement; its second channel, along columns, is not used in stereo."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Float[Tensor, "b 1 h w"]:
        return self.conv2(F.relu(self.conv1(x)))[:, :1]


class UpdateBlock(nn.Module):
    """One step of the recurrence, from the coarsest state to the finest."""

    def __init__(self, levels: int, downsample: int):
        super().__init__()
        self.levels = levels
        self.encoder = MotionEncoder()
        self.gru08 = ContextGRU(128 + HIDDEN * (levels > 1))
        if levels > 1:
            self.gru16 = ContextGRU(HIDDEN * (levels > 2) + HIDDEN)
        if levels > 2:
            self.gru32 = ContextGRU(HIDDEN)
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(
            nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(256, 9 * 4**downsample, 1)
        )

    def coarse(self, states: list[Tensor], contexts: list[tuple[Tensor, Tensor, Tensor]], first: int) -> None:
        """Updates the states from the coarsest one up to `first`, in place of the list."""
        if self.levels > 2:
            states[2] = self.gru32(states[2], contexts[2], _halve(states[1]))
        if self.levels > 1 and first <= 1:
            coarser = [_resize(states[2], states[1])] if self.levels > 2 else []
            states[1] = self.gru16(states[1], contexts[1], _halve(states[0]), *coarser)

    def forward(
        self,
        states: list[Tensor],
        contexts: list[tuple[Tensor, Tensor, Tensor]],
        correlation: Float[Tensor, "b p h w"],
        flow: Float[Tensor, "b 2 h w"],
    ) -> Float[Tensor, "b 1 h w"]:
        """Updates all states and gives the change of the displacement along the row."""
        self.coarse(states, contexts, first=1)
        coarser = [_resize(states[1], states[0])] if self.levels > 1 else []
        states[0] = self.gru08(states[0], contexts[0], self.encoder(flow, correlation), *coarser)
        return self.flow_head(states[0])


class RaftStereo(Network):
    """Disparity (b, 1, h, w) in px of a rectified pair; `forward_all` gives it after every iteration."""

    task = Task.STEREO

    def __init__(self, config: RaftStereoConfig):
        super().__init__(config)
        self.size_multiple = 2 ** (config.downsample + config.gru_levels - 1)
        self.min_size = (16, 8 * 2**config.downsample)  # one column remains at the pyramid's coarsest level
        self.cnet = ContextEncoder(config.downsample, config.gru_levels)
        self.update_block = UpdateBlock(config.gru_levels, config.downsample)
        self.context_zqr_convs = nn.ModuleList(
            [nn.Conv2d(HIDDEN, 3 * HIDDEN, 3, padding=1) for _ in range(config.gru_levels)]
        )
        if config.shared_backbone:
            self.conv2 = nn.Sequential(ResidualBlock(128, 128, nn.InstanceNorm2d), nn.Conv2d(128, 256, 3, padding=1))
        else:
            self.fnet = MatchingEncoder(config.downsample)

    def forward(self, *images: Tensor, iterations: int | None = None) -> Tensor:
        """The disparity after `iterations` steps (None: the config's number)."""
        return self._run(*images, iterations=iterations)[-1]

    def forward_all(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"], iterations: int | None = None
    ) -> list[Float[Tensor, "b 1 h w"]]:
        return self._run(left, right, iterations=iterations, every=True)

    def _run(
        self, left: Tensor, right: Tensor, iterations: int | None = None, every: bool = False
    ) -> list[Float[Tensor, "b 1 h w"]]:
        self.check_size(*left.shape[-2:])
        left, right = 2 * left - 1, 2 * right - 1
        if self.config.shared_backbone:
            both = self.cnet.trunk(torch.cat([left, right]))
            found, matching = self.cnet(both.chunk(2)[0]), self.conv2(both)
        else:
            found, matching = self.cnet(self.cnet.trunk(left)), self.fnet(torch.cat([left, right]))
        pyramid = row_pyramid(row_correlation(*matching.float().chunk(2)), LEVELS)
        states = [torch.tanh(state) for state, _ in found]
        contexts = [
            tuple(conv(F.relu(context)).chunk(3, 1))
            for (_, context), conv in zip(found, self.context_zqr_convs, strict=True)
        ]
        column = torch.arange(states[0].shape[-1], device=left.device, dtype=torch.float32)
        shift = torch.zeros_like(states[0][:, :1], dtype=torch.float32)  # -disparity, px of this resolution
        factor = 2**self.config.downsample
        predictions = []
        steps = iterations or self.config.iterations
        for step in range(steps):
            shift = shift.detach()
            correlation = look_up_row(pyramid, column + shift, RADIUS)
            if self.config.slow_fast:
                if self.config.gru_levels == 3:
                    self.update_block.coarse(states, contexts, first=2)
                self.update_block.coarse(states, contexts, first=1)
            flow = torch.cat([shift, torch.zeros_like(shift)], 1)
            shift = shift + self.update_block(states, contexts, correlation, flow)
            if every or step == steps - 1:
                weights = 0.25 * self.update_block.mask(states[0])
                predictions.append(convex_upsample(-factor * shift, weights, factor, edge="zeros"))
        return predictions

    def from_upstream(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The official state dict without what it holds twice (norms of short cuts) or, with fewer levels, not used."""
        unused = [(), ("layer5.", "outputs32.", "gru32.", "context_zqr_convs.2."),
                  ("layer4.", "outputs16.", "gru16.", "context_zqr_convs.1.")]  # fmt: skip
        dropped = (".norm3.", *(part for parts in unused[: 4 - self.config.gru_levels] for part in parts))
        return {key: value for key, value in tensors.items() if not any(part in f".{key}" for part in dropped)}


def _halve(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.avg_pool2d(x, 3, stride=2, padding=1)


def _resize(x: Float[Tensor, "b c h w"], like: Float[Tensor, "b c fh fw"]) -> Float[Tensor, "b c fh fw"]:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


@register("raft-stereo")
def raft_stereo(**config) -> RaftStereo:
    """The published network; its real-time variant by `shared_backbone`, `downsample`, `gru_levels`, `slow_fast`."""
    return RaftStereo(RaftStereoConfig(**config))
