"""Integers with several readers, as TFLite's converter needs them."""

import torch
import torch.ao.quantization.fx._decomposed  # it registers torch.ops.quantized_decomposed
from torch import nn

from leadline.deploy.apart import one_reader_each


def test_every_reader_gets_a_dequantisation_of_its_own():
    class Shared(nn.Module):
        def forward(self, x):
            there = (0.05, -3, -128, 127, torch.int8)
            codes = torch.ops.quantized_decomposed.quantize_per_tensor(x, *there)
            y = torch.ops.quantized_decomposed.dequantize_per_tensor(codes, *there)
            return y.relu() + y[..., 1:].sum() * y.mean()

    x = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    module = one_reader_each(torch.export.export(Shared(), (x,)).module())
    made = [node for node in module.graph.nodes if "dequantize_per_tensor" in str(node.target)]
    assert len(made) == 3
    assert all(len(node.users) == 1 for node in made)
    assert len({node.args[0] for node in made}) == 1
    torch.testing.assert_close(module(x), Shared()(x), rtol=0, atol=0)
