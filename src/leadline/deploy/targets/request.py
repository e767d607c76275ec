"""What a converter is asked for and what it says of its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from leadline.models.network import Network
from leadline.predict.predictor import VIEWS


@dataclass(frozen=True)
class Request:
    """One conversion."""

    size: tuple[int, int]  # (h, w), one that the network accepts; with `dynamic` the size of the example
    dynamic: bool = False
    precision: str = "float32"
    calibration: Sequence[tuple[np.ndarray, ...]] = ()  # images (1, 3, h, w) float32 for static int8, by sample

    def example(self, network: Network) -> tuple[Tensor, ...]:
        """Images of noise that the graph is traced with, and the time where the network takes one."""
        generator = torch.Generator().manual_seed(0)
        images = tuple(torch.rand(1, 3, *self.size, generator=generator) for _ in VIEWS[network.task])
        return (*images, torch.full((1, 1, 1, 1), 0.5)) if network.takes_time else images


@dataclass(frozen=True)
class Made:
    """What the manifest has to say of how a model was made."""

    made_with: dict[str, str] = field(default_factory=dict)  # converter and its version, settings that matter
