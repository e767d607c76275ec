"""A plummet that is given planes every 2 px predicts what it did, up to what the new part says."""

import sys
from pathlib import Path

import pytest
import torch

import leadline
from leadline.data.procedural import render_stereo
from leadline.models.plummet import Plummet

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "hidden_thirtysecond": 8, "max_disparity": 64}  # fmt: skip


@pytest.fixture
def grow(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import plummet_fine_start

    yield plummet_fine_start.grow
    sys.modules.pop("plummet_fine_start")


@torch.no_grad()
def test_it_begins_with_the_scores_of_the_old_one(grow):
    torch.manual_seed(0)
    old, fine = (leadline.create("plummet-s", **SMALL, fine=fine).eval() for fine in (0, 8))
    assert isinstance(old, Plummet)
    assert isinstance(fine, Plummet)
    grow(fine, old)
    fine.fine_weight.zero_()
    pair = render_stereo(5, [0], (96, 256))
    expected, found = old.forward_scores(pair.left, pair.right)[1], fine.forward_scores(pair.left, pair.right)[1]
    torch.testing.assert_close(found[:, ::2], expected)
    torch.testing.assert_close(found[:, 1:-1:2], (expected[:, 1:] + expected[:, :-1]) / 2)
