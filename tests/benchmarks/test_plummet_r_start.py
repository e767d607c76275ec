"""A plummet that is given a second look finds first what it found before."""

import runpy
import sys
from pathlib import Path

import torch

import leadline
from leadline.checkpoint import load_network

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "plummet_r_start.py"
SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "max_disparity": 64}  # fmt: skip


def test_its_first_disparity_is_that_of_before(tmp_path, monkeypatch):
    old = leadline.create("plummet-s", **SMALL).eval()
    leadline.save(old, tmp_path / "old.safetensors")
    monkeypatch.setattr(sys, "argv", ["start", str(tmp_path / "old.safetensors"), str(tmp_path / "new.safetensors")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    new = load_network(tmp_path / "new.safetensors")
    assert new.name == "plummet-r"
    seen = []
    new.get_submodule("refine").register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    images = torch.rand(2, 1, 3, 32, 96, generator=torch.Generator().manual_seed(0)).unbind()
    with torch.no_grad():
        new.eval()(*images)
        assert torch.equal(seen[0], old(*images))
