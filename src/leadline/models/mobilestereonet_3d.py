"""MobileStereoNet-3D: MobileNet features, group-wise correlation, three 3-D hourglasses.

Follows: F. Shamsafar, S. Woerz, R. Rahim, A. Zell, "MobileStereoNet: Towards Lightweight Deep Networks for Stereo
Matching", WACV 2022, and its code (github.com/cogsys-tuebingen/mobilestereonet, 3c2931a). Numerically the original,
in training too. Parameters keep the original's names.
Shapes: b batch, h w image, d = max_disparity // 4 planes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models._mobilestereonet_parts import (
    FeatureExtractor,
    Hourglass,
    InvertedResidual,
    both_views,
    check_max_disparity,
    check_pair,
    classifier,
    initialise,
)
from leadline.models.network import Network, Task
from leadline.models.registry import register
from leadline.nn.imagenet import ImageNetNormalize
from leadline.nn.upsampled_soft_argmin import upsampled_soft_argmin
from leadline.nn.volumes import groupwise_correlation

GROUPS = 40  # of 8 channels each
CHANNELS = 32  # of the filtered volume


@dataclass(frozen=True)
class MobileStereoNet3DConfig:
    max_disparity: int = 192  # px; max_disparity // 4 planes, which must be a multiple of 4

    def __post_init__(self) -> None:
        check_max_disparity("mobilestereonet-3d", self.max_disparity)
        planes = self.max_disparity // 4
        if planes < 4 or planes % 4:
            below, above = max(16, planes // 4 * 16), max(16, planes // 4 * 16 + 16)
            raise UserError(
                f"mobilestereonet-3d: max_disparity {self.max_disparity} gives {planes} planes at 1/4 resolution, "
                f"which its hourglasses cannot halve twice: use {below}" + (f" or {above}" if above != below else "")
            )


class MobileStereoNet3D(Network):
    """1,855,608 parameters, of which 85,728 serve the training outputs alone; 64.7 GMAC at 256x512."""

    task = Task.STEREO
    size_multiple: ClassVar[int] = 16  # 1/4 resolution, and two halvings in the hourglasses
    min_size = (16, 16)

    def __init__(self, config: MobileStereoNet3DConfig):
        super().__init__(config)
        self.normalize = ImageNetNormalize()
        self.feature_extraction = FeatureExtractor(stem_relu=False)
        self.dres0 = nn.Sequential(_filter(GROUPS), _filter(CHANNELS))
        self.dres1 = nn.Sequential(_filter(CHANNELS), _filter(CHANNELS))
        self.encoder_decoder1 = Hourglass(CHANNELS, dims=3)
        self.encoder_decoder2 = Hourglass(CHANNELS, dims=3)
        self.encoder_decoder3 = Hourglass(CHANNELS, dims=3)
        self.classif0 = classifier(CHANNELS, 1, dims=3)
        self.classif1 = classifier(CHANNELS, 1, dims=3)
        self.classif2 = classifier(CHANNELS, 1, dims=3)
        self.classif3 = classifier(CHANNELS, 1, dims=3)
        initialise(self)

    def forward(self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        return self._disparity(self.classif3(self._costs(left, right)[-1]))

    def forward_all(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 1 h w"]]:
        """Four disparities; the original weights their losses 0.5, 0.5, 0.7, 1."""
        heads = (self.classif0, self.classif1, self.classif2, self.classif3)
        return [self._disparity(head(cost)) for head, cost in zip(heads, self._costs(left, right), strict=True)]

    def _costs(self, left: Tensor, right: Tensor) -> list[Tensor]:
        """What the four classifiers look at, coarse to fine, each (b, 32, d, h/4, w/4)."""
        check_pair(self, left, right)
        left, right = both_views(self.feature_extraction, self.normalize(left), self.normalize(right))
        volume = groupwise_correlation(left, right, planes=self.config.max_disparity // 4, groups=GROUPS)
        cost = self.dres0(volume)
        cost0 = self.dres1(cost) + cost
        cost1 = self.encoder_decoder1(cost0)
        cost2 = self.encoder_decoder2(cost1)
        return [cost0, cost1, cost2, self.encoder_decoder3(cost2)]

    def _disparity(self, scores: Float[Tensor, "b 1 d qh qw"]) -> Float[Tensor, "b 1 h w"]:
        return upsampled_soft_argmin(torch.squeeze(scores, 1), self.config.max_disparity, factor=4)


def _filter(in_channels: int) -> InvertedResidual:
    return InvertedResidual(in_channels, CHANNELS, stride=1, expansion=3, dims=3)


@register("mobilestereonet-3d")
def mobilestereonet_3d(**config: Any) -> MobileStereoNet3D:
    return MobileStereoNet3D(MobileStereoNet3DConfig(**config))
