"""What every network of leadline is: a module with a task, a plain config and two forwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

import torch
from torch import SymInt, Tensor, nn

from leadline.errors import UserError

Pixels = int | SymInt  # a symbol while a graph of free size is traced


class Task(StrEnum):
    """What a network predicts from its images."""

    STEREO = "stereo"  # left, right -> disparity (b, 1, h, w), px
    FLOW = "flow"  # frame0, frame1 -> flow (b, 2, h, w), px
    INTERPOLATION = "interpolation"  # frame0, frame1[, t] -> frame (b, 3, h, w)
    MONO = "mono"  # image -> depth (b, 1, h, w), m


OUTPUT = {  # name and unit of what a task gives
    Task.STEREO: ("disparity", "px"),
    Task.FLOW: ("flow", "px"),
    Task.INTERPOLATION: ("frame", "1"),
    Task.MONO: ("depth", "m"),
}


class Network(nn.Module):
    """Base of all networks. Images in: float, (b, 3, h, w), RGB, [0, 1]; the network normalises them itself.

    `forward(*images)` gives the final full-resolution prediction and nothing else, so that it exports as it
    stands; `forward_all(*images)` gives every supervised prediction, coarse to fine, the last being the final.
    Both ask for h and w that `check_size` accepts; a Predictor pads any image to such a size.
    """

    task: ClassVar[Task]
    name: str  # set by the registry
    config: Any  # a frozen dataclass
    surgeries: list[dict[str, Any]]  # what compression did, in order; set where a checkpoint is loaded
    provenance: dict[str, Any]  # where the weights come from; set likewise
    size_multiple: int = 1  # h and w must be multiples of this
    min_size: tuple[int, int] = (1, 1)  # smallest (h, w) that forward accepts
    max_area: int = 3_000_000  # px that a Predictor gives it at once; larger images go through in tiles
    decides: bool = False  # picks one of several answers at each pixel, so that rounding alone may change a pixel's
    takes_time: bool = False  # interpolation: forward takes the new frame's time in (0, 1) as a third input

    def __init__(self, config: Any):
        super().__init__()
        if not dataclasses.is_dataclass(config):
            raise TypeError(f"config of {type(self).__name__} must be a dataclass, got {type(config).__name__}")
        self.config = config

    def forward(self, *images: Tensor) -> Tensor:
        return self.forward_all(*images)[-1]

    def forward_all(self, *images: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def from_upstream(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the original project's checkpoint under this network's names."""
        return dict(tensors)

    def call_layers(self) -> bool:
        """Turns layers whose weights are computed with, but which are not called, into ones that are; in place.

        The function stays the same. Quantisation replaces layers, so that only what is called takes part in it. False
        where there is nothing to do.
        """
        return False

    @property
    def reach(self) -> int | None:
        """px that a match may lie away; None: nothing limits it, or nothing is matched."""
        return getattr(self.config, "max_disparity", None)

    def config_dict(self) -> dict[str, Any]:
        """The config as plain JSON-able values."""
        return dataclasses.asdict(self.config)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The smallest size >= (height, width) that forward accepts."""
        m = self.size_multiple
        height, width = max(height, self.min_size[0]), max(width, self.min_size[1])
        return -(-height // m) * m, -(-width // m) * m

    def check_size(self, height: Pixels, width: Pixels) -> None:
        """Raises UserError where forward would not accept images of this size."""
        m = self.size_multiple
        if height % m or width % m or height < self.min_size[0] or width < self.min_size[1]:
            raise UserError(
                f"{getattr(self, 'name', type(self).__name__)} takes sizes that are multiples of {self.size_multiple} "
                f"and at least {self.min_size[0]}x{self.min_size[1]}, got {height}x{width}: pad the images, "
                "or call it through leadline.load(...).predict, which does"
            )


def channels_last(network: Network) -> Network:
    """Puts the 2-D convolutions' weights in the layout that CPUs and tensor cores read fastest."""
    for parameter in network.parameters():
        if parameter.ndim == 4:  # Module.to(memory_format=...) fails on the 5-D weights of 3-D convolutions
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
