"""Functions, and modules of several inputs or outputs, as modules that give one tensor: what the catalogue measures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Call(nn.Module):
    """A function of tensors."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Joined(nn.Module):
    """A module with several outputs of one shape, joined along the channels."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(list(self.module(*inputs)), 1)


class First(nn.Module):
    """A module with several outputs; the first."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.module(*inputs)[0]
