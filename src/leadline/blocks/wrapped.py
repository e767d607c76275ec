"""A block as a network of its own, so that whatever takes networks takes blocks: export targets, runtimes, profiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadline.blocks.block import BATCH_SIZES, Block, as_kind, example_shape
from leadline.models.network import Network, Task


@dataclass(frozen=True)
class WrappedConfig:
    block: str
    channels: int


class WrappedBlock(Network):
    """Takes one image, or two where the block has several inputs, and gives what the block makes of them.

    Each input is a fixed random mixture of an image's three colours, spread round 0, as many channels as the block
    wants; a 1x1 convolution of three channels costs next to nothing beside most blocks. The output is folded to four
    axes where it has more. Weights are seeded, so every target gets the same ones; BatchNorm has statistics.
    """

    def __init__(self, block: Block, channels: int):
        super().__init__(WrappedConfig(block.name, channels))
        self.name = f"block-{block.name}"
        # of the block here, of the class elsewhere
        self.task = Task.MONO if len(block.inputs) == 1 else Task.STEREO  # pyright: ignore[reportAttributeAccessIssue]
        self.size_multiple = max(4, block.multiple)  # pyright: ignore[reportAttributeAccessIssue]
        self.kinds, self.channels = block.inputs, channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.block = block.make(channels)
            _settle(self.block)
            self.mixtures = nn.ParameterList(
                nn.Parameter(2 * torch.randn(_elements(kind, channels), 3, 1, 1), requires_grad=False)
                for kind in self.kinds
            )

    def forward_all(self, *images: Tensor) -> list[Tensor]:
        inputs = []
        for i, (kind, mixture) in enumerate(zip(self.kinds, self.mixtures, strict=True)):
            mixed = F.conv2d(images[min(i, len(images) - 1)] - 0.5, mixture)
            inputs.append(as_kind(kind, _as_shape(kind, mixed, self.channels)))
        out = self.block(*inputs)
        return [out.flatten(1, out.dim() - 3) if out.dim() > 4 else out]


def _elements(kind: str, channels: int) -> int:
    """Values per pixel of an input of a kind."""
    return torch.Size(example_shape(kind, channels, 1, 1)).numel()


def _as_shape(kind: str, mixed: Tensor, channels: int) -> Tensor:
    """A mixture (1, values per pixel, h, w) in the shape of the kind."""
    h, w = mixed.shape[-2:]
    if kind == "tokens":
        return mixed.flatten(2).transpose(1, 2)
    return mixed.reshape(example_shape(kind, channels, h, w)) if kind in ("volume", *BATCH_SIZES) else mixed


def _settle(module: nn.Module) -> None:
    """Gives BatchNorms statistics, and parameters that begin at 0 something to do, as after training."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            assert part.running_var is not None
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 1.5)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter.data, std=0.05)
