"""Several planes in one convolution: the same function, in float and in whole numbers."""

import pytest
import torch
from deploy.networks import small_plummet

import leadline
from leadline.compress import quantize
from leadline.deploy.planes import PlanesTogether, _at_once, planes_together
from leadline.nn.plane_conv import PlaneConv

SIZE = (64, 96)


def _together(network: torch.nn.Module) -> list[PlanesTogether]:
    return [module for module in network.modules() if isinstance(module, PlanesTogether)]


@pytest.mark.parametrize(("planes", "channels", "out"), [(6, 4, 8), (8, 3, 1), (9, 2, 4)])
@pytest.mark.parametrize("relu", [True, False])
def test_the_same_convolution(planes: int, channels: int, out: int, relu: bool) -> None:
    torch.manual_seed(0)
    module = PlaneConv(planes, channels, out, relu)
    volume = torch.randn(1, planes * channels, 5, 7)
    with torch.no_grad():
        module(volume)  # BatchNorm's statistics
        for parameter in module.norm.parameters():
            parameter.uniform_(0.5, 1.5)
        wanted = module.eval()(volume)
        for at_once in (k for k in (2, 3, 4) if planes % k == 0):
            torch.testing.assert_close(PlanesTogether(module, at_once)(volume), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [None, {}, {"bits": 4}, {"mode": "dynamic"}], ids=str)
def test_a_network_stays_what_it_is(options: dict | None) -> None:
    network = small_plummet()
    if options is not None:
        network = quantize(network, data="procedural:2,seed=5,size=64x96", **options)
    made, images = planes_together(network), torch.rand(2, 1, 3, *SIZE).unbind()
    assert _together(made)
    assert not _together(network)
    with torch.no_grad():
        torch.testing.assert_close(made(*images), network(*images), atol=1e-3, rtol=1e-4)


def test_scales_per_group_of_inputs_stay_as_they_are() -> None:
    network = quantize(small_plummet(), bits=4, granularity=2, data="procedural:2,seed=5,size=64x96")
    grouped = {n for n, m in network.named_modules() if isinstance(m, PlaneConv) and m.conv.numbers.granularity > 0}
    made = planes_together(network)
    assert grouped
    assert all(isinstance(made.get_submodule(name), PlaneConv) for name in grouped)


@pytest.mark.parametrize(
    ("planes", "out", "at_once"), [(24, 8, 2), (24, 1, 8), (15, 8, 3), (13, 8, 1), (12, 1, 6), (24, 16, 1)]
)
def test_not_more_planes_than_pay(planes: int, out: int, at_once: int) -> None:
    assert _at_once(PlaneConv(planes, 2, out)) == at_once


@pytest.mark.parametrize("norm", ["group", "instance", "layer", "frozen"])
def test_other_norms_stay_as_they_are(norm: str) -> None:
    torch.manual_seed(0)
    network = leadline.create("plummet-s", max_disparity=64, norm=norm).eval()
    made, images = planes_together(network), torch.rand(2, 1, 3, *SIZE).unbind()
    with torch.no_grad():
        torch.testing.assert_close(made(*images), network(*images), atol=1e-3, rtol=1e-4)
