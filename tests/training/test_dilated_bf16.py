"""Gradients in bf16, of networks as they are trained, against those in float32."""

import copy

import pytest
import torch
from torch import nn

from leadline.training.dilated_bf16 import keep_channels_first


@pytest.mark.parametrize(("channels", "groups"), [(64, 64), (64, 16), (64, 1), (24, 1), (40, 1)])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_weights_of_dilated_convolutions_get_their_gradient(channels: int, groups: int, dilation: int) -> None:
    torch.manual_seed(0)
    middle = nn.Conv2d(channels, channels, 3, 1, dilation, dilation, groups)
    exact = nn.Sequential(middle, nn.ReLU(), nn.Conv2d(channels, 1, 1))
    layers = copy.deepcopy(exact).to(memory_format=torch.channels_last)
    keep_channels_first(layers)
    image = torch.randn(8, channels, 24, 64)
    exact(image).square().mean().backward()
    with torch.autocast("cpu", torch.bfloat16):
        out = layers(image.contiguous(memory_format=torch.channels_last))
    out.float().square().mean().backward()
    for got, wanted in zip(layers.parameters(), exact.parameters(), strict=True):
        assert got.grad is not None
        assert wanted.grad is not None
        assert (got.grad - wanted.grad).norm() < 0.03 * wanted.grad.norm()
