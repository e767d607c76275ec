"""Transposed convolutions in other words are the same function."""

import pytest
import torch
import torch.ao.quantization.fx._decomposed  # it registers torch.ops.quantized_decomposed
from torch import nn

from leadline.deploy.fold import fold_batchnorm
from leadline.deploy.transposed import without_output_padding, without_transposed_3d


def targets(module):
    return [str(node.target) for node in module.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (5, 7)),
        (nn.ConvTranspose2d(4, 6, 3, stride=3, padding=1, output_padding=(2, 1), groups=2, bias=False), (5, 7)),
        (nn.ConvTranspose3d(4, 6, 3, stride=2, padding=1, output_padding=1), (3, 5, 7)),
    ],
)
def test_output_padding(conv, shape):
    x = torch.randn(2, 4, *shape, generator=torch.Generator().manual_seed(0))
    module = without_output_padding(fold_batchnorm(nn.Sequential(conv), (x,)))
    (node,) = (node for node in module.graph.nodes if "conv_transpose" in str(node.target) and node.op != "get_attr")
    assert not any(node.args[5])
    torch.testing.assert_close(module(x), conv(x))


def test_output_padding_of_an_integer_weight():
    """The weight is a constant that the graph quantises and dequantises: the zeros go in before."""

    class Stored(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(1)))
            self.scale = nn.Buffer(torch.linspace(0.01, 0.03, 6))
            self.zero = nn.Buffer(torch.zeros(6, dtype=torch.long))

        def forward(self, x):
            there = (self.scale, self.zero, 1, -127, 127, torch.int8)
            codes = torch.ops.quantized_decomposed.quantize_per_channel(self.weight, *there)
            weight = torch.ops.quantized_decomposed.dequantize_per_channel(codes, *there)
            return nn.functional.conv_transpose2d(x, weight, None, 2, 1, 1)

    network, x = Stored(), torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    module = without_output_padding(fold_batchnorm(network, (x,)))
    (node,) = (node for node in module.graph.nodes if "conv_transpose" in str(node.target) and node.op != "get_attr")
    assert not any(node.args[5])
    torch.testing.assert_close(module(x), network(x))


@pytest.mark.parametrize(
    "conv",
    [
        nn.ConvTranspose3d(4, 6, 3, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose3d(4, 6, 4, stride=2, padding=1, groups=2, bias=False),
        nn.ConvTranspose3d(4, 6, (3, 5, 4), stride=(1, 3, 2), padding=(1, 0, 1), output_padding=(0, 1, 1)),
        nn.ConvTranspose3d(4, 6, 5, stride=2, padding=1),
        nn.ConvTranspose3d(4, 6, 2, stride=2),
    ],
)
def test_by_phases(conv):
    """The 3-D ones are convolutions afterwards, whatever kernel, stride and groups."""
    x = torch.randn(2, 4, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    module = without_transposed_3d(without_output_padding(fold_batchnorm(nn.Sequential(conv), (x,))))
    assert "aten.conv_transpose3d.input" not in targets(module)
    torch.testing.assert_close(module(x), conv(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("conv", [nn.ConvTranspose3d(4, 6, 1, stride=2), nn.ConvTranspose3d(4, 6, 3, dilation=2)])
def test_what_is_not_rewritten_stays(conv):
    x = torch.randn(1, 4, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    module = without_transposed_3d(fold_batchnorm(nn.Sequential(conv), (x,)))
    assert "aten.conv_transpose3d.input" in targets(module)
    torch.testing.assert_close(module(x), conv(x))
