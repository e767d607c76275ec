"""A network small enough to train in a test: features, a correlation over a few planes, a soft argmin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from leadline.models import Network, Task
from leadline.models.registry import register


@dataclass(frozen=True)
class TinyConfig:
    max_disparity: int = 16  # px
    width: int = 4
    dropout: float = 0.1


class Tiny(Network):
    task = Task.STEREO
    size_multiple = 4

    def __init__(self, config: TinyConfig):
        super().__init__(config)
        self.features = nn.Sequential(nn.Conv2d(3, config.width, 5, 2, 2), nn.BatchNorm2d(config.width), nn.ReLU())
        planes = config.max_disparity // 2
        self.aggregate = nn.Sequential(
            nn.Conv2d(planes, planes, 3, 1, 1, groups=planes, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Conv2d(planes, planes, 3, 1, 1),
        )

    def forward_scores(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 1 h w"]], Float[Tensor, "b planes hq wq"], float]:
        one, two = self.features(left), self.features(right)
        planes = self.config.max_disparity // 2
        width = one.shape[-1]
        volume = torch.stack([(one * functional.pad(two, (d, 0))[..., :width]).mean(1) for d in range(planes)], 1)
        scores = self.aggregate(volume)
        values = torch.arange(planes, dtype=scores.dtype).view(1, -1, 1, 1) * 2
        coarse = (functional.softmax(scores, 1) * values).sum(1, keepdim=True)
        fine = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        return [functional.interpolate(coarse, scale_factor=2.0), fine], scores, 2.0

    def forward_all(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 1 h w"]]:
        return self.forward_scores(left, right)[0]


@register("tiny")
def tiny(**config: float) -> Tiny:
    return Tiny(TinyConfig(**config))  # type: ignore[arg-type]


def recipe(**changes: object) -> dict:
    """A recipe for it that takes a second or two."""
    return {
        "name": "tiny",
        "network": {"name": "tiny"},
        "data": [{"source": "procedural", "scenes": {"max_disparity": 12}}],
        "render_size": [40, 56],
        "crop": [32, 48],
        "batch": 2,
        "reuse": 2,
        "steps": 12,
        "seed": 3,
        "augment": {"brightness": 0.1, "asymmetric": 0.5, "noise": 0.02, "scale": [0.9, 1.1], "occluders": 0.5},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "ema": 0.9,
        "workers": 0,
        "threads": 1,
        "accelerator": "cpu",
        "devices": 1,
        "log": {"every": 5, "images_every": 4, "histograms_every": 4},
        "checkpoint": {"every": 5},
        **changes,
    }
