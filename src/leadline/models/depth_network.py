"""What the networks for monocular depth share: their range, their head's loss, and the pose network beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from leadline.errors import UserError, unknown_name
from leadline.models.network import Network, Task
from leadline.models.pose import PoseNet
from leadline.nn.depth_heads import HEADS, DepthHead

FARTHEST = 1000.0  # m
MAX_PLANES = 512


class DepthNetwork(Network):
    """Depth (b, 1, h, w) in m, within (min_depth, max_depth) of its config, of single images (b, 3, h, w).

    The config also says which head (`nn.depth_heads`) with how many `planes`, and with `pose: true` there is a
    network for the camera's motion, which `forward` does not use: losses on video without known poses train it.
    """

    task = Task.MONO
    head: DepthHead
    pose: PoseNet | None

    def __init__(self, config: Any):
        super().__init__(config)
        check_depth_config(config)
        self.pose = PoseNet() if config.pose else None

    def forward_head(
        self, image: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b p hp wp"], Float[Tensor, "#b p 1 1"]]:
        """The depth at full size, and the head's scores and the planes' positions."""
        raise NotImplementedError

    def forward_all(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b 1 h w"]]:
        return [self.forward_head(image)[0]]

    def forward_video(
        self, images: Sequence[Tensor]
    ) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b p hp wp"], Float[Tensor, "#b p 1 1"]]:
        """As `forward_head` for the last of several frames; what a network with memory has seen before counts."""
        return self.forward_head(images[-1])

    def forward_supervised(
        self, images: Sequence[Tensor], truth: Float[Tensor, "b 1 h w"]
    ) -> tuple[list[Float[Tensor, "b 1 h w"]], dict[str, Tensor]]:
        """Predictions as `forward_all`, and the head's loss as "head": 0 for a direct head.

        Args:
            images: the frames of a video up to the one whose truth is given; without memory that one is looked at.
            truth: m; 0 where unknown.
        """
        depth, scores, positions = self.forward_video(images)
        return [depth], {"head": self.head.loss(scores, positions, truth)}


def check_depth_config(config: Any) -> None:
    """Raises UserError where head, planes or range are not what a depth network can have."""
    if config.head not in HEADS:
        raise unknown_name("head", config.head, list(HEADS))
    if not 2 <= config.planes <= MAX_PLANES:
        raise UserError(f"planes {config.planes} is outside 2..{MAX_PLANES}")
    if not 0 < config.min_depth < config.max_depth <= FARTHEST:
        raise UserError(
            f"min_depth {config.min_depth:g} and max_depth {config.max_depth:g}: 0 < min_depth < max_depth <= "
            f"{FARTHEST:g} m is wanted"
        )
