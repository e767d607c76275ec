"""The mean of two checkpoints lies between them."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

import leadline
from leadline.checkpoint import load_network

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "weights_mean.py"
SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "hidden_thirtysecond": 8, "max_disparity": 64}  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_mean_of_two(share, tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}.safetensors" for name in ("before", "after", "mean")]
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = leadline.create("plummet-s", **SMALL)
        network.provenance = {"seed": seed}
        network(*torch.rand(2, 1, 3, 64, 128).unbind())  # statistics that differ
        leadline.save(network, paths[seed], network.provenance)
    monkeypatch.setattr(sys, "argv", ["mean", *map(str, paths), "--share", str(share)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    before, after, mean = (load_network(path) for path in paths)
    for name, tensor in mean.state_dict().items():
        first, second = (network.state_dict()[name].double() for network in (before, after))
        torch.testing.assert_close(tensor.double(), first + share * (second - first), atol=1e-6, rtol=1e-5)
    assert mean.provenance == {"seed": 1, "averaged with": str(paths[0]), "share": share}


def test_networks_of_two_builds_have_no_mean(tmp_path, monkeypatch, capsys):
    paths = [tmp_path / f"{planes}.safetensors" for planes in (64, 96)]
    for path in paths:
        leadline.save(leadline.create("plummet-s", **{**SMALL, "max_disparity": int(path.stem)}), path)
    monkeypatch.setattr(sys, "argv", ["mean", *map(str, paths), str(tmp_path / "out.safetensors")])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "plummet_rebuild" in capsys.readouterr().err
