"""What plummet-w begins with computes what the small network computes."""

import sys
from pathlib import Path

import pytest
import torch

import leadline
from leadline.data.procedural import render_stereo

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def networks(monkeypatch):
    """The wide network that was grown, and the small one."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import plummet_w_start

    monkeypatch.setattr(plummet_w_start, "SCENES", 2)
    monkeypatch.setattr(plummet_w_start, "SIZE", (96, 256))
    torch.manual_seed(0)
    small = leadline.load("plummet-s").network.eval()
    wide = plummet_w_start.beside(small).eval()
    plummet_w_start.grow(wide, small)
    yield wide, small
    sys.modules.pop("plummet_w_start")


@torch.no_grad()
def test_the_wide_network_begins_as_the_small_one(networks):
    wide, small = networks
    pair = render_stereo(5, [0], (96, 256))
    found, expected = wide(pair.left, pair.right), small(pair.left, pair.right)
    assert (found - expected).abs().mean() < 0.15  # of the channels matched at 1/4, the new ones are heard softly
    features = wide.encoder(wide.normalize(pair.left))
    for ours, theirs in zip(features[:3], small.encoder(small.normalize(pair.left))[:3], strict=True):
        torch.testing.assert_close(ours[:, : theirs.shape[1]], theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_new_channels_are_not_silent(networks):
    wide, small = networks
    pair = render_stereo(5, [0], (96, 256))
    for ours, theirs in zip(wide.encoder(pair.left), small.encoder(pair.left), strict=True):
        assert ours[:, theirs.shape[1] :].std() > 0.01
