"""MobileStereoNet-2D: MobileNet features, an interlaced volume with disparities as channels, three 2-D hourglasses.

Follows: F. Shamsafar, S. Woerz, R. Rahim, A. Zell, "MobileStereoNet: Towards Lightweight Deep Networks for Stereo
Matching", WACV 2022, and its code (github.com/cogsys-tuebingen/mobilestereonet, 3c2931a). Numerically the original,
in training too; what differs is how the volume and the outputs are computed. Parameters keep the original's names.
Shapes: b batch, h w image.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models._interlaced_volume import as_called, interlaced_volume
from leadline.models._mobilestereonet_parts import (
    FeatureExtractor,
    Hourglass,
    InvertedResidual,
    both_views,
    check_max_disparity,
    check_pair,
    classifier,
    conv_norm,
    initialise,
)
from leadline.models.network import Network, Task
from leadline.models.registry import register
from leadline.nn.imagenet import ImageNetNormalize
from leadline.nn.upsampled_soft_argmin import upsampled_soft_argmin

PLANES = 48  # of the volume, at 1/4 resolution, whatever max_disparity: they look at disparities 0 .. 188 px


@dataclass(frozen=True)
class MobileStereoNet2DConfig:
    max_disparity: int = 192  # px, at least 48; the 48 planes are stretched over 0 .. max_disparity - 1

    def __post_init__(self) -> None:
        check_max_disparity("mobilestereonet-2d", self.max_disparity)
        if self.max_disparity < PLANES:
            raise UserError(
                f"mobilestereonet-2d: max_disparity {self.max_disparity} is less than the {PLANES} planes of its "
                f"volume, which can be stretched but not merged: use {PLANES} or more"
            )


class MobileStereoNet2D(Network):
    """2,352,706 parameters, of which 124,704 serve the training outputs alone; 29.8 GMAC at 256x512."""

    task = Task.STEREO
    size_multiple: ClassVar[int] = 16  # 1/4 resolution, and two halvings in the hourglasses
    min_size = (16, 4 * PLANES)  # the last plane must still see a column

    def __init__(self, config: MobileStereoNet2DConfig):
        super().__init__(config)
        self.normalize = ImageNetNormalize()
        self.feature_extraction = FeatureExtractor(stem_relu=True)
        self.preconv11 = nn.Sequential(
            conv_norm(320, 256, 1),
            nn.ReLU(inplace=True),
            conv_norm(256, 128, 1),
            nn.ReLU(inplace=True),
            conv_norm(128, 64, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 32, 1),
        )
        self.conv3d = nn.Sequential(*_volume_stage(1, 16, 8), *_volume_stage(16, 32, 4), *_volume_stage(32, 16, 2))
        self.volume11 = nn.Sequential(conv_norm(16, 1, 1), nn.ReLU(inplace=True))
        self.dres0 = nn.Sequential(
            InvertedResidual(PLANES, PLANES, 1, 3), nn.ReLU(), InvertedResidual(PLANES, PLANES, 1, 3), nn.ReLU()
        )
        self.dres1 = nn.Sequential(
            InvertedResidual(PLANES, PLANES, 1, 3), nn.ReLU(), InvertedResidual(PLANES, PLANES, 1, 3)
        )
        self.encoder_decoder1 = Hourglass(PLANES, dims=2)
        self.encoder_decoder2 = Hourglass(PLANES, dims=2)
        self.encoder_decoder3 = Hourglass(PLANES, dims=2)
        self.classif0 = classifier(PLANES, PLANES, dims=2)
        self.classif1 = classifier(PLANES, PLANES, dims=2)
        self.classif2 = classifier(PLANES, PLANES, dims=2)
        self.classif3 = classifier(PLANES, PLANES, dims=2)
        initialise(self)

    def forward(self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        return self._disparity(self.classif3(self._costs(left, right)[-1]))

    def forward_all(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 1 h w"]]:
        """Four disparities; the original weights their losses 0.5, 0.5, 0.7, 1."""
        heads = (self.classif0, self.classif1, self.classif2, self.classif3)
        return [self._disparity(head(cost)) for head, cost in zip(heads, self._costs(left, right), strict=True)]

    def forward_scores(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 1 h w"]], Float[Tensor, "b d hq wq"], float]:
        """Predictions as `forward_all`; the last one's scores before softmax at 0, 1, 2 … px; and 1 px between them."""
        heads = (self.classif0, self.classif1, self.classif2, self.classif3)
        scores = [head(cost) for head, cost in zip(heads, self._costs(left, right), strict=True)]
        # planes as the rows of one tall image, as the upsampling of `_disparity` reads between them
        columns, size = scores[-1].flatten(2).unsqueeze(1), scores[-1].shape[-2:]
        fine = F.interpolate(columns, size=(self.config.max_disparity, columns.shape[-1]), mode="bilinear")
        return [self._disparity(score) for score in scores], fine.squeeze(1).unflatten(2, size), 1.0

    def call_layers(self) -> bool:
        """The volume's second and third stage as 2-D convolutions: 60 % of the network's multiplications."""
        if isinstance(self.conv3d[3], nn.Conv2d):
            return False
        for index in (3, 6):
            as_called(self.conv3d, index)
        return True

    def _costs(self, left: Tensor, right: Tensor) -> list[Tensor]:
        """What the four classifiers look at, coarse to fine, each (b, 48, h/4, w/4)."""
        check_pair(self, left, right)
        left, right = both_views(self.feature_extraction, self.normalize(left), self.normalize(right))
        cost = self.dres0(self._volume(self.preconv11(left), self.preconv11(right)))
        cost0 = self.dres1(cost) + cost
        cost1 = self.encoder_decoder1(cost0)
        cost2 = self.encoder_decoder2(cost1)
        return [cost0, cost1, cost2, self.encoder_decoder3(cost2)]

    def _volume(self, left: Float[Tensor, "b 32 hq wq"], right: Float[Tensor, "b 32 hq wq"]) -> Tensor:
        return interlaced_volume(left, right, PLANES, self.conv3d, self.volume11)

    def _disparity(self, scores: Float[Tensor, "b 48 qh qw"]) -> Float[Tensor, "b 1 h w"]:
        return upsampled_soft_argmin(scores, self.config.max_disparity, factor=4)


def _volume_stage(in_channels: int, out_channels: int, depth: int) -> list[nn.Module]:
    """Kernel and stride as deep as each other, so that the groups of channels do not overlap."""
    conv = nn.Conv3d(in_channels, out_channels, (depth, 3, 3), (depth, 1, 1), (0, 1, 1))
    return [conv, nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True)]


@register("mobilestereonet-2d")
def mobilestereonet_2d(**config: Any) -> MobileStereoNet2D:
    return MobileStereoNet2D(MobileStereoNet2DConfig(**config))
