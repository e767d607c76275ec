"""Small networks with what makes pruning hard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from deploy.networks import small_plummet
from torch import Tensor, nn

from leadline.models import Network, Task
from leadline.models.registry import _FACTORIES


@dataclass(frozen=True)
class Config:
    max_disparity: int = 16


class Couplings(Network):
    """Residual, re-ordered concatenation, depthwise and grouped convolutions, PReLU, tokens, planes."""

    task = Task.STEREO
    size_multiple = 4
    name = "couplings"

    def __init__(self, config: Config | None = None):
        super().__init__(config or Config())
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.act = nn.PReLU(16)
        self.first = nn.Sequential(nn.Conv2d(16, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.second = nn.Conv2d(12, 16, 3, padding=1)  # residual: with the stem
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.left = nn.Conv2d(16, 8, 1)
        self.right = nn.Conv2d(16, 8, 1)
        self.after = nn.Conv2d(16, 8, 3, padding=1)  # of the concatenation, in reverse order
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(12, 8, 4, 2, 1)
        self.tokens = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
        self.planes = nn.Conv2d(8, 8, 1)
        self.split = nn.Conv2d(8, 6, 1)

    def forward_all(self, left: Tensor, right: Tensor) -> list[Tensor]:
        x = self.act(self.stem(left - right))
        x = x + self.second(self.first(x))
        x = torch.sigmoid(self.depthwise(x))
        x = self.after(torch.cat([self.right(x), self.left(x)], 1))
        x = self.up(torch.relu(self.grouped(x)))
        b, c, h, w = x.shape
        x = x + self.tokens(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(b, c, h, w)
        one, two = torch.split(self.split(x), [3, 3], 1)
        share = torch.softmax(self.planes(x), 1) * torch.arange(8.0).view(1, 8, 1, 1).to(x.dtype)
        return [share.sum(1, keepdim=True) + (one * two).mean(1, keepdim=True)]


_FACTORIES["couplings"] = lambda **config: Couplings(Config(**config))


def couplings() -> Couplings:
    torch.manual_seed(0)
    network = Couplings().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
            module.running_mean.normal_()  # type: ignore[union-attr]
    return network


def pair(height: int = 32, width: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    one, two = (torch.rand(1, 3, height, width, generator=generator) for _ in "lr")
    return one, two


__all__ = ["Couplings", "couplings", "pair", "small_plummet"]
