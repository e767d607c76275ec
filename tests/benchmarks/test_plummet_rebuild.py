"""A plummet that is given a second look finds first what it found before, and without it is itself again."""

import runpy
import sys
from pathlib import Path

import torch

import leadline
from leadline.checkpoint import load_network

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "plummet_rebuild.py"
SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "hidden_thirtysecond": 8, "max_disparity": 64, "scale": 1.0}  # fmt: skip


def rebuild(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["rebuild", *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_a_second_look_comes_and_goes(tmp_path, monkeypatch, capsys):
    old = leadline.create("plummet-s", **SMALL, edge=False).eval()
    first, second, third = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "third"))
    leadline.save(old, first)
    rebuild(monkeypatch, first, second, "--network", "plummet-r")
    assert capsys.readouterr().out == "new: refine\nleft behind: nothing\n"
    new = load_network(second)
    assert (new.name, new.config.refine, new.config.edge) == ("plummet-r", 24, False)
    seen = []
    new.get_submodule("refine").register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    images = torch.rand(2, 1, 3, 32, 96, generator=torch.Generator().manual_seed(0)).unbind()
    with torch.no_grad():
        new.eval()(*images)
        assert torch.equal(seen[0], old(*images))
    rebuild(monkeypatch, second, third, "--network", "plummet-s", "edge=true")
    assert capsys.readouterr().out == "new: nothing\nleft behind: refine\n"
    again = load_network(third)
    assert again.config_dict() == {**old.config_dict(), "edge": True}
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in old.state_dict().items())


@torch.no_grad()
def test_planes_come_and_go(tmp_path, monkeypatch):
    torch.manual_seed(0)
    old = leadline.create("plummet-r", **SMALL).eval()
    torch.nn.init.normal_(old.get_submodule("aggregation.score.1").weight)
    first, second, third = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "third"))
    leadline.save(old, first)
    rebuild(monkeypatch, first, second, "max_disparity=96")
    far = load_network(second)
    images = torch.rand(2, 1, 3, 32, 128, generator=torch.Generator().manual_seed(0)).unbind()
    scores, more = (network.forward_scores(*images)[1] for network in (old, far))
    # The last plane midway between two sees its farther neighbour; the filter at 1/8 reaches three planes farther.
    torch.testing.assert_close(more[:, :18], scores[:, :18])
    assert more.shape[1] == 48
    rebuild(monkeypatch, second, third, "max_disparity=64")
    again = load_network(third).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in old.state_dict().items())
