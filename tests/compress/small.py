"""Small networks with every kind of layer that is quantised."""

from dataclasses import dataclass

import torch
from deploy.networks import small_plummet
from torch import nn
from torch.nn import functional

from leadline.models import Network, Task
from leadline.models.registry import register

__all__ = ["mixed", "small_plummet"]


@dataclass(frozen=True)
class MixedConfig:
    width: int = 8


class Mixed(Network):
    """A flow network of sorts: convolutions with and without BatchNorm, PReLU, groups, transposed, 3-D, linear."""

    task = Task.FLOW
    size_multiple = 4

    def __init__(self, config: MixedConfig):
        super().__init__(config)
        c = config.width
        self.enter = nn.Sequential(nn.Conv2d(6, c, 3, 2, 1), nn.PReLU(c))
        self.depthwise = nn.Sequential(nn.Conv2d(c, c, 3, 1, 2, 2, c, bias=False), nn.BatchNorm2d(c), nn.ReLU6())
        self.deep = nn.Conv3d(1, 2, 3, padding=1)
        self.mix = nn.Linear(c, c)
        self.up = nn.ConvTranspose2d(c, c, 4, 2, 1)
        self.out = nn.Conv2d(c, 2, 3, padding=1)
        self.unused = nn.Conv2d(c, 1, 1)

    def forward_all(self, *images):
        x = self.enter(torch.cat(images, 1))
        x = self.depthwise(x) + x
        x = x + self.deep(x[:, None]).mean(1)
        x = self.mix(x.movedim(1, -1)).movedim(-1, 1)
        return [self.out(functional.relu(self.up(x)))]


@register("mixed-test")
def mixed_test(**config):
    return Mixed(MixedConfig(**config))


def mixed():
    torch.manual_seed(2)
    network = mixed_test()
    network.name = "mixed-test"
    norm = network.depthwise[1]
    norm.running_mean.normal_(0, 0.2)
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.uniform_(-1, 2)
    return network.eval()
