"""Without a batch a network says the same, and no tensor in it has more than one sample."""

import pytest
import torch
import torch.nn.functional as F
from deploy.networks import small_plummet
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from leadline.deploy.fold import fold_batchnorm
from leadline.deploy.unbatch import CannotUnbatch, Unbatched


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.function = nn.Conv2d(4, 4, 3, padding=1), function

    def forward(self, a, b):
        return self.function(self, a, b)


def pair(channels=4, size=(8, 12)):
    return tuple(torch.randn(2, 1, channels, *size, generator=torch.Generator().manual_seed(0)).unbind())


def unequal(self, a, b):
    one, two = torch.cat([a, b, a]).split([1, 2])
    return torch.cat([one, two.sum(1, keepdim=True).reshape(1, 2, 8, 12)], 1)


def halves(self, a, b):
    x, y = torch.cat([a, b]).chunk(2, 1)
    return torch.cat((x * y).chunk(2), 1)


CASES = {
    "views": lambda s, a, b: torch.cat(s.conv(torch.cat([a, b])).chunk(2), 1),
    "all of it": lambda s, a, b: torch.cat([s.conv(torch.cat([a, b]))[..., :8, :12].chunk(2)[0], a], 1),
    "planes": lambda s, a, b: s.conv(torch.cat([a, b], 1).reshape(2, 4, 8, 12)).relu().reshape(1, 8, 8, 12),
    "unequal": unequal,
    "halves of channels": halves,
    "arithmetic": lambda s, a, b: (torch.cat([a, b]) * torch.arange(4.0)[:, None, None] + a).reshape(1, 8, 8, 12),
    "resized": lambda s, a, b: F.interpolate(torch.cat([a, b]), scale_factor=2.0, mode="bilinear").view(1, 8, 16, 24),
}


class Samples(TorchDispatchMode):
    """Remembers the first axis of every tensor with four."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and tensor.dim() == 4 and tensor.device.type != "meta":
                self.seen.add(tensor.shape[0])
        return found


@pytest.mark.parametrize("case", CASES)
def test_the_same_function(case):
    images = pair()
    module = fold_batchnorm(Function(CASES[case]), images)
    expected = module(*images)
    samples = Samples()
    samples.seen = set()
    with torch.no_grad(), samples:
        found = Unbatched(module)(*images)
    torch.testing.assert_close(found, expected)
    assert samples.seen == {1}


def test_a_network():
    images = tuple(image.sigmoid() for image in pair(3, (32, 64)))
    network = small_plummet()
    module = fold_batchnorm(network, images)
    with torch.no_grad():
        torch.testing.assert_close(Unbatched(module)(*images), network(*images), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "function",
    [
        lambda s, a, b: torch.cat([a, b]).mean(0, keepdim=True),
        lambda s, a, b: torch.cat([a, b]).transpose(0, 1),
        lambda s, a, b: torch.cat([a, b]).reshape(4, 2, 8, 12),
    ],
)
def test_what_goes_along_the_batch_is_named(function):
    images = pair()
    module = fold_batchnorm(Function(function), images)
    with pytest.raises(CannotUnbatch, match=r"^forward: "):
        Unbatched(module)(*images)
