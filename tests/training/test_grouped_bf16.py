"""Gradients in bf16, of networks as they are trained, against those in float32."""

import copy

import pytest
import torch
from torch import nn

from leadline.training.grouped_bf16 import keep_channels_first


@pytest.mark.parametrize("groups", [64, 16, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_weights_of_grouped_and_dilated_convolutions_get_their_gradient(groups: int, dilation: int) -> None:
    torch.manual_seed(0)
    exact = nn.Sequential(nn.Conv2d(64, 64, 3, 1, dilation, dilation, groups), nn.ReLU(), nn.Conv2d(64, 1, 1))
    layers = copy.deepcopy(exact).to(memory_format=torch.channels_last)
    keep_channels_first(layers)
    image = torch.randn(8, 64, 24, 64)
    exact(image).square().mean().backward()
    with torch.autocast("cpu", torch.bfloat16):
        out = layers(image.contiguous(memory_format=torch.channels_last))
    out.float().square().mean().backward()
    for got, wanted in zip(layers.parameters(), exact.parameters(), strict=True):
        assert got.grad is not None
        assert wanted.grad is not None
        assert (got.grad - wanted.grad).norm() < 0.03 * wanted.grad.norm()
