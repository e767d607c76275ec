"""A fault of PyTorch's CPU convolutions that training in bf16 must keep clear of.

In bf16, with channels last in memory, oneDNN's gradient by the weights of some dilated convolutions is not written at
all: it holds whatever the memory held, or the process dies. So it was found of grouped ones (MobileStereoNet's fourth
stage is made of those) and of 24 or 40 input channels, while 8, 16, 32, 48 and 64 were right (torch 2.13 on a CPU that
computes bf16 in hardware). With channels first all are right.
"""

from typing import Any

import torch
from torch import nn


def keep_channels_first(network: nn.Module) -> None:
    """Dilated 2-D convolutions that may fail compute with channels first on a CPU, whatever comes in; in place."""
    for module in network.modules():
        if (
            isinstance(module, nn.Conv2d)
            and max(module.dilation) > 1
            and (module.groups > 1 or module.in_channels % 16)
        ):
            # A copy: with one channel per group .contiguous() would leave the strides of channels last as they are.
            module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)
            module.register_forward_pre_hook(_to_channels_first)


def _to_channels_first(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    image = inputs[0]
    return inputs if image.is_cuda else (image.contiguous(), *inputs[1:])
