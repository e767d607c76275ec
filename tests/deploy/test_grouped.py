"""Grouped 3-D convolutions as 2-D ones are the same function."""

import pytest
import torch
from torch import nn

from leadline.deploy.fold import fold_batchnorm
from leadline.deploy.grouped import without_grouped_3d


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv3d(8, 8, 3, padding=1, groups=8),
        nn.Conv3d(8, 12, (3, 5, 1), stride=(2, 1, 2), padding=(1, 2, 0), groups=4, bias=False),
        nn.Conv3d(8, 8, 3, padding=2, dilation=2, groups=8),
        nn.Conv3d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
    ],
)
def test_the_same_function(conv):
    x = torch.randn(1, 8, 5, 8, 10, generator=torch.Generator().manual_seed(0))
    module = without_grouped_3d(fold_batchnorm(nn.Sequential(conv), (x,)))
    assert "aten.conv3d.default" not in [str(node.target) for node in module.graph.nodes]
    torch.testing.assert_close(module(x), conv(x), atol=1e-5, rtol=1e-5)


def test_others_stay():
    conv, x = nn.Conv3d(4, 4, 3), torch.randn(1, 4, 5, 8, 10, generator=torch.Generator().manual_seed(0))
    module = without_grouped_3d(fold_batchnorm(nn.Sequential(conv), (x,)))
    torch.testing.assert_close(module(x), conv(x))
