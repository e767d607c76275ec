"""Folding BatchNorm changes nothing but the number of operations."""

import pytest
import torch
from deploy.networks import small_plummet
from torch import nn

from leadline.deploy.fold import fold_batchnorm, fold_constants

BATCH_NORM = torch.ops.aten.batch_norm.default


def trained(norm):
    """As training leaves it: statistics, and scales of both signs."""
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 2)
        norm.weight.normal_()
        norm.bias.normal_()
    return norm


def count(module):
    return sum(node.target is BATCH_NORM for node in module.graph.nodes)


@pytest.mark.parametrize(
    ("conv", "channels", "left"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), 6, 0),
        (nn.Conv2d(4, 8, 3, groups=4, stride=2, bias=False), 8, 0),
        (nn.Conv2d(4, 6, 3, dilation=2, padding=2), 6, 0),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), 6, 0),
        (nn.ConvTranspose2d(4, 8, 4, stride=2, padding=1, groups=2, bias=False), 8, 1),
    ],
)
def test_convolutions(conv, channels, left):
    torch.manual_seed(0)
    network = nn.Sequential(conv, trained(nn.BatchNorm2d(channels)), nn.ReLU()).eval()
    image = torch.randn(2, 4, 12, 16)
    folded = fold_batchnorm(network, (image,))
    assert count(folded) == left
    torch.testing.assert_close(folded(image), network(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("conv", [nn.Conv3d(2, 4, 3, padding=1), nn.ConvTranspose3d(2, 4, 4, stride=2, padding=1)])
def test_volumes(conv):
    torch.manual_seed(0)
    network = nn.Sequential(conv, trained(nn.BatchNorm3d(4))).eval()
    volume = torch.randn(1, 2, 6, 8, 8)
    folded = fold_batchnorm(network, (volume,))
    assert count(folded) == 0
    torch.testing.assert_close(folded(volume), network(volume), atol=1e-5, rtol=1e-5)


def test_a_convolution_that_is_used_twice_keeps_its_norm():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), trained(nn.BatchNorm2d(4))

        def forward(self, x):
            y = self.conv(x)
            return y + self.norm(y)

    torch.manual_seed(0)
    network, image = Twice().eval(), torch.randn(1, 3, 4, 4)
    folded = fold_batchnorm(network, (image,))
    assert count(folded) == 1
    torch.testing.assert_close(folded(image), network(image))


def test_a_network():
    network = small_plummet()
    pair = torch.rand(2, 1, 3, 48, 64, generator=torch.Generator().manual_seed(0)).unbind()
    folded = fold_batchnorm(network, tuple(pair))
    assert count(folded) == 0
    with torch.no_grad():
        torch.testing.assert_close(folded(*pair), network(*pair), atol=1e-3, rtol=0)


def test_constants():
    """What does not depend on the image is a constant; what does stays."""

    class Ramp(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            weight = self.conv.weight * self.scale
            mask = (torch.arange(10) >= torch.eye(3)[1].sum()).float()
            return torch.conv2d(x, weight) * mask

    torch.manual_seed(0)
    network, image = Ramp().eval(), torch.randn(1, 3, 8, 12)
    folded = fold_constants(fold_batchnorm(network, (image,)))
    left = [str(node.target) for node in folded.graph.nodes if node.op == "call_function"]
    assert [name for name in left if "assert" not in name] == ["aten.conv2d.default", "aten.mul.Tensor"]
    torch.testing.assert_close(folded(image), network(image))
