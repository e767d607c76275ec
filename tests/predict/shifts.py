"""Networks and scenes whose right answer is known without computing it the same way."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from leadline.models import Network, Task


@dataclass(frozen=True)
class NoConfig:
    max_disparity: int = 8


class Local(Network):
    """A fixed 5x5 filter on left - right, with stride 4 and back: local, and bound to the stride's grid."""

    task = Task.STEREO
    size_multiple = 8
    min_size = (16, 16)

    def __init__(self):
        super().__init__(NoConfig())
        self.sizes = []
        self.filter = nn.Conv2d(3, 1, 5, stride=4, padding=2, bias=False)
        torch.nn.init.normal_(self.filter.weight, generator=torch.Generator().manual_seed(0))

    def forward_all(self, left, right):
        self.check_size(*left.shape[2:])
        self.sizes.append(tuple(left.shape[2:]))
        return [F.interpolate(self.filter(left - right), scale_factor=4, mode="nearest")]


class Brightness(Network):
    """Gives the left image's red channel back, in hundreds: shows what the network was fed."""

    task = Task.STEREO
    size_multiple = 16

    def __init__(self):
        super().__init__(NoConfig())

    def forward_all(self, left, right):
        assert left.shape == right.shape
        assert left.shape[1] == 3
        return [left[:, :1] * 100]


def random_texture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    rough = rng.uniform(size=(height, width, 3))
    smooth = cv2.GaussianBlur(rough, (0, 0), 1.2)
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).astype(np.uint8)


def shifted_pair(shift, height=60, width=200):
    """A fronto-parallel plane: left(x) = right(x - shift)."""
    wide = random_texture(height, width + shift)
    return np.ascontiguousarray(wide[:, :width]), np.ascontiguousarray(wide[:, shift:])
