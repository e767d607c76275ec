"""MobileStereoNet-2D that takes over from its stand-in predicts the same, and its volume goes on learning."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import leadline
from leadline.data.procedural import render_stereo
from leadline.models import registry

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def start(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import mobilestereonet_start

    yield mobilestereonet_start
    sys.modules.pop("mobilestereonet_start")
    registry._FACTORIES.pop(mobilestereonet_start.NAME)


@pytest.fixture
def stand_in(start):
    """With statistics and residual branches that are not those of the beginning."""
    torch.manual_seed(0)
    network = leadline.create(start.NAME)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1)
    return network.eval()


def test_the_volume_computes_what_stood_in_its_place(start, stand_in):
    pair = render_stereo(5, [0], (64, 208))
    network = start.with_volume(stand_in).eval()
    with torch.no_grad():
        expected, found = stand_in(pair.left, pair.right), network(pair.left, pair.right)
    assert expected.std() > 1
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_what_the_volume_has_room_for_can_be_learnt(start, stand_in):
    pair = render_stereo(5, [0], (64, 208))
    network = start.with_volume(stand_in).eval()
    network(pair.left, pair.right).mean().backward()
    last = network.volume11[0][0].weight.grad[0, :, 0, 0]
    assert (last[start.TERMS :] != 0).any()
    assert (last[: start.TERMS] != 0).all()


def test_alone_the_volume_is_the_distribution(start):
    torch.manual_seed(0)
    network = leadline.create(start.NAME, alone=True).eval()
    pair = render_stereo(5, [0], (64, 208))
    predictions, scores, spacing = network.forward_scores(pair.left, pair.right)
    assert (len(predictions), scores.shape, spacing) == (1, (1, 48, 16, 52), 4.0)
    scores[:, 0].sum().backward()
    assert next(network.feature_extraction.parameters()).grad is not None
    assert next(network.encoder_decoder1.parameters()).grad is None
