"""Monocular depth for small devices: depthwise-separable encoder and decoder, added skips, nearest upsampling.

Follows: D. Wofk et al., "FastDepth: Fast Monocular Depth Estimation on Embedded Systems", ICRA 2019. Differences: the
depth is bounded and logarithmic (nn.depth_heads) where FastDepth's is linear and free; other encoders and heads can be
chosen, whose skips a 1x1 convolution brings to the decoder's channels; BatchNorm stays in all of the decoder; a
convolutional LSTM can carry what was seen from frame to frame.

    encoder   1/2    1/4    1/8    1/16   1/32
    decoder                               1/32 -> 1/16 -> 1/8 + skip -> 1/4 + skip -> 1/2 + skip -> 1

Shapes: b batch, h w image (multiples of 32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.depth_network import DepthNetwork
from leadline.models.encoders import Separable, make_encoder
from leadline.models.registry import register
from leadline.nn.conv import ConvBN
from leadline.nn.depth_heads import DepthHead
from leadline.nn.imagenet import ImageNetNormalize
from leadline.nn.recurrent import ConvLSTM

State = tuple[Float[Tensor, "b m hs ws"], Float[Tensor, "b m hs ws"]]


@dataclass(frozen=True)
class FastDepthConfig:
    backbone: str = "mobilenet"  # mobilenet, mobilenetv2, mobilenetv3, mobilenetv3-small or resnet18
    width: float = 1.0  # factor on the channels of "mobilenet"; the others are as published
    decoder: int = 32  # channels at full resolution; 2, 4, 8, 16 times that at 1/2, 1/4, 1/8, 1/16
    kernel: int = 5  # of the decoder's depthwise convolutions, px, odd
    head: str = "direct"  # direct, ordinal, bins or adaptive_bins
    planes: int = 64  # thresholds or bins of the head
    min_depth: float = 0.1  # m
    max_depth: float = 10.0  # m
    memory: int = 0  # channels of a convolutional LSTM at 1/32, for video; 0: none
    pose: bool = False  # a network for the camera's motion beside it, for learning from video


class FastDepth(DepthNetwork):
    """Depth (b, 1, h, w) in m of one image. The head is at full resolution if direct, else at 1/2 and enlarged."""

    size_multiple = 32

    def __init__(self, config: FastDepthConfig):
        super().__init__(config)
        if not 0.1 <= config.width <= 4 or not 4 <= config.decoder <= 256 or not 0 <= config.memory <= 1024:
            raise UserError("fastdepth: width 0.1..4, decoder 4..256 and memory 0..1024 channels are wanted")
        if config.kernel not in (3, 5, 7):
            raise UserError(f"fastdepth: kernel {config.kernel} is not 3, 5 or 7")
        self.normalize = ImageNetNormalize()
        self.encoder = make_encoder(config.backbone, config.width)
        half, quarter, eighth, _, deepest = self.encoder.channels
        w16, w8, w4, w2, w1 = (config.decoder * factor for factor in (16, 8, 4, 2, 1))
        self.memory = Memory(deepest, config.memory) if config.memory else None
        self.up = nn.ModuleList(
            Separable(before, after, config.kernel)
            for before, after in ((deepest, w16), (w16, w8), (w8, w4), (w4, w2), (w2, w1))
        )
        skips = ((eighth, w8), (quarter, w4), (half, w2))
        self.skip = nn.ModuleList(nn.Identity() if a == b else ConvBN(a, b, kernel=1, relu=False) for a, b in skips)
        self.full = config.head == "direct"
        if not self.full:
            del self.up[4]
        channels = w1 if self.full else w2
        self.head = DepthHead(config.head, channels, config.planes, config.min_depth, config.max_depth, pooled=deepest)

    def forward_head(
        self, image: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b p hp wp"], Float[Tensor, "#b p 1 1"]]:
        self.check_size(*image.shape[-2:])
        return self._decode(self._encode(image)[0])

    def forward_state(
        self, image: Float[Tensor, "b 3 h w"], state: State | None = None
    ) -> tuple[Float[Tensor, "b 1 h w"], State]:
        """The depth of the next frame of a video, and the state to give with the frame after it.

        Args:
            state: of the frame before; None at a video's beginning, where the result is that of `forward`.

        Raises:
            UserError: a network without memory.
        """
        if self.memory is None:
            raise UserError(f"{getattr(self, 'name', 'fastdepth')} has no memory: create it with memory=64")
        self.check_size(*image.shape[-2:])
        maps, state = self._encode(image, state)
        assert state is not None
        return self._decode(maps)[0], state

    def forward_video(
        self, images: Sequence[Tensor]
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b p hp wp"], Float[Tensor, "#b p 1 1"]]:
        *before, image = images
        self.check_size(*image.shape[-2:])
        state = None
        for frame in before if self.memory is not None else []:
            state = self._encode(frame, state)[1]
        return self._decode(self._encode(image, state)[0])

    def _encode(self, image: Float[Tensor, "b 3 h w"], state: State | None = None) -> tuple[list[Tensor], State | None]:
        """The encoder's maps, and at the deepest what is remembered."""
        maps = self.encoder(self.normalize(image))
        if self.memory is not None:
            maps[4], state = self.memory(maps[4], state)
        return maps, state

    def _decode(
        self, maps: list[Tensor]
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b p hp wp"], Float[Tensor, "#b p 1 1"]]:
        half, quarter, eighth, _, deepest = maps
        x = _double(self.up[0](deepest))
        for up, skip, level in zip(self.up[1:4], self.skip, (eighth, quarter, half), strict=True):
            x = _double(up(x)) + skip(level)
        if self.full:
            return self.head(_double(self.up[4](x)), deepest)
        depth, scores, positions = self.head(x, deepest)
        return F.interpolate(depth, scale_factor=2.0, mode="bilinear", align_corners=False), scores, positions


class Memory(nn.Module):
    """A convolutional LSTM beside the identity: what it remembers is added to the bottleneck."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.enter, self.leave = ConvBN(channels, hidden, kernel=1), nn.Conv2d(hidden, channels, 1)
        self.cell = ConvLSTM(hidden, hidden)

    def forward(self, x: Float[Tensor, "b c h w"], state: State | None) -> tuple[Float[Tensor, "b c h w"], State]:
        after = self.cell(self.enter(x), state)
        return x + self.leave(after[0]), after


def _double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


@register("fastdepth")
def fastdepth(**config) -> FastDepth:
    """As published: MobileNet with all its channels."""
    return FastDepth(FastDepthConfig(**config))


@register("fastdepth-s")
def fastdepth_s(**config) -> FastDepth:
    """Half the channels everywhere."""
    return FastDepth(FastDepthConfig(**{"width": 0.5, "decoder": 16, **config}))
