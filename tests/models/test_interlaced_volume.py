"""The volume against the plain algorithm: a loop over disparities, crops, interlaced channels, 3-D convolutions."""

import copy

import pytest
import torch
from torch import nn

from leadline.models import _interlaced_volume
from leadline.models._interlaced_volume import as_called, interlaced_volume
from leadline.models.mobilestereonet import MobileStereoNet2D, MobileStereoNet2DConfig


def loop_volume(left, right, planes: int, stages: nn.Module, last: nn.Module) -> torch.Tensor:
    b, c, h, w = left.shape
    volume = left.new_zeros(b, planes, h, w)
    for d in range(planes):
        pairs = torch.zeros(b, 2 * c, h, w - d, dtype=left.dtype)
        for channel in range(c):
            pairs[:, 2 * channel] = left[:, channel, :, d:]
            pairs[:, 2 * channel + 1] = right[:, channel, :, : w - d]
        volume[:, d, :, d:] = last(stages(pairs.unsqueeze(1)).squeeze(2)).squeeze(1)
    return volume


@pytest.fixture(scope="module")
def parts() -> tuple[nn.Sequential, nn.Sequential]:
    """The two sub-networks with BatchNorm statistics that are not the neutral ones."""
    torch.manual_seed(0)
    network = MobileStereoNet2D(MobileStereoNet2DConfig())
    for part in (network.conv3d, network.volume11):
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                nn.init.uniform_(module.running_mean, -0.3, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.8, 1.2)
                nn.init.uniform_(module.bias, 0.1, 0.5)
    return network.conv3d.eval(), network.volume11.eval()


def views(b: int = 2, h: int = 4, w: int = 14) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(b, 32, h, w, generator=generator), torch.randn(b, 32, h, w, generator=generator)


@pytest.mark.parametrize("w", [12, 14])  # 12: the last plane has one column, at both borders of its crop
@pytest.mark.parametrize("planes_together", [1, 3, 8, 12])
def test_equals_the_loop_however_many_planes_are_computed_together(parts, planes_together, w, monkeypatch):
    left, right = views(w=w)
    b, _, h, _ = left.shape
    monkeypatch.setattr(_interlaced_volume, "_BYTES_TOGETHER", {"cpu": planes_together * b * 128 * h * w * 4})
    with torch.no_grad():
        volume = interlaced_volume(left, right, 12, *parts)
        expected = loop_volume(left, right, 12, *parts)
    assert expected.std() > 0.1  # or nothing is compared
    torch.testing.assert_close(volume, expected, atol=1e-5, rtol=1e-5)


def test_stages_that_are_called_equal_the_loop(parts):
    stages = copy.deepcopy(parts[0])
    calls = []
    for index in (3, 6):
        as_called(stages, index)
        stages[index].register_forward_hook(lambda module, *_: calls.append(module))
    left, right = views()
    with torch.no_grad():
        volume = interlaced_volume(left, right, 12, stages, parts[1])
        expected = loop_volume(left, right, 12, *parts)
    torch.testing.assert_close(volume, expected, atol=1e-5, rtol=1e-5)
    assert set(calls) == {stages[3], stages[6]}


def test_the_form_that_is_exported_equals_the_loop(parts):
    class Volume(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages, self.last = parts

        def forward(self, left, right):
            return interlaced_volume(left, right, 12, self.stages, self.last)

    left, right = views(b=2, w=12)
    with torch.no_grad():
        exported = torch.export.export(Volume(), (left, right)).module()
        torch.testing.assert_close(exported(left, right), loop_volume(left, right, 12, *parts), atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_the_loop(parts):
    weights = [*parts[0].parameters(), *parts[1].parameters()]
    gradients = []
    for compute in (interlaced_volume, loop_volume):
        left, right = (view.requires_grad_() for view in views(b=1, h=3, w=7))
        loss = compute(left, right, 5, *parts).square().sum()
        gradients.append(torch.autograd.grad(loss, [left, right, *weights]))
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)


def test_training_keeps_the_statistics_of_each_plane_like_the_loop(parts):
    ours, loop = (tuple(copy.deepcopy(part).train() for part in parts) for _ in range(2))
    left, right = views()
    torch.testing.assert_close(
        interlaced_volume(left, right, 5, *ours), loop_volume(left, right, 5, *loop), atol=1e-4, rtol=1e-4
    )
    for a, b in zip(ours, loop, strict=True):
        for (key, value), expected in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4, msg=key)
