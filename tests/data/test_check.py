"""`leadline data check` and `leadline data list`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from trees import disparity, put_image

from leadline.cli.data import command
from leadline.data.check import DisparityStatistics
from leadline.data.formats.images import read_image
from leadline.errors import UserError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def put_pair(folder: Path, truth: np.ndarray | None = None) -> None:
    put_image(folder / "left.png", 1)
    put_image(folder / "right.png", 2)
    if truth is not None:
        np.savez(folder / "disparity.npz", disparity=truth)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    truth = disparity(1)
    truth[0] = np.nan
    put_pair(tmp_path / "data/a", truth)
    put_pair(tmp_path / "data/b", disparity(2))
    put_pair(tmp_path / "data/c")
    meta = {"calib": {"focal": 100.0, "baseline": 0.1}}
    (tmp_path / "data/b/meta.json").write_text(json.dumps(meta))
    return tmp_path / "data"


def test_json_of_a_sound_data_set(good: Path):
    result = run("check", f"folder:{good}", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    values = np.concatenate([disparity(1)[1:].ravel(), disparity(2).ravel()])
    assert (report["pairs"], report["with_truth"], report["with_camera"]) == (3, 2, 1)
    assert report["problems"] == []
    assert report["sizes"] == {"10 x 6, RGB, 8 bits": 3}
    found = report["disparity"]
    assert found["valid_pixels"] == values.size
    assert found["density"] == pytest.approx(values.size / 120)
    assert (found["min"], found["max"]) == (values.min(), values.max())
    assert sum(bar["share"] for bar in found["histogram"]) == pytest.approx(1)
    assert report["samples"][1]["median"] == pytest.approx(np.median(disparity(2)))
    assert report["samples"][2]["name"] == "c"
    assert "density" not in report["samples"][2]


def test_for_people(good: Path):
    result = run("check", f"folder:{good}")
    assert result.exit_code == 0
    for said in ("10 x 6, RGB, 8 bits (3)", "focal 100.00 px, baseline 100.00 mm", "nothing broken or missing"):
        assert said in result.stdout


def test_bad_items_come_at_the_end_and_the_rest_is_read(good: Path):
    view = good / "a/left.png"
    view.write_bytes(view.read_bytes()[:-9])
    (good / "b/right.png").unlink()
    result = run("check", f"folder:{good}")
    assert result.exit_code == 1
    last = result.stdout.splitlines()[-3:]
    assert last[0] == "2 broken or missing:"
    assert "b/right.png: missing" in last[1]
    assert "a/left.png: truncated" in last[2]
    report = json.loads(run("check", f"folder:{good}", "--json").stdout)
    assert report["pairs"] == 1
    assert len(report["problems"]) == 2


def test_a_truth_in_the_wrong_scale_is_noticed(tmp_path: Path):
    put_pair(tmp_path / "a", disparity(1) * 256)
    result = run("check", f"folder:{tmp_path}")
    assert result.exit_code == 1
    assert "wider than the image (10 px): check the scale" in result.stdout


def test_pictures(good: Path, tmp_path: Path):
    assert run("check", f"folder:{good}", "--pictures", str(tmp_path / "look")).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "look").iterdir()) == ["a.png", "b.png", "c.png"]
    picture = read_image(tmp_path / "look/a.png")
    assert picture.shape == (6, 30, 3)
    np.testing.assert_array_equal(picture[:, :10], read_image(good / "a/left.png"))
    np.testing.assert_array_equal(picture[:, 10:20], read_image(good / "a/right.png"))
    assert read_image(tmp_path / "look/c.png").shape == (6, 20, 3)


def test_a_wrong_path_is_the_users_error(tmp_path: Path):
    result = run("check", f"folder:{tmp_path}/none")
    assert isinstance(result.exception, UserError)


def test_list():
    result = run("list")
    assert result.exit_code == 0
    known = json.loads(run("list", "--json").stdout)
    formats = {"kitti2012", "kitti2015", "sceneflow", "middlebury", "eth3d", "drivingstereo", "folder", "procedural"}
    formats |= {"nyu", "kitti-depth", "tum", "diode", "sun", "redwood", "frames"}
    formats |= {"vimeo90k", "ucf101", "snu-film", "xiph-2k", "xiph-4k", "middlebury-interp"}
    assert formats <= set(known)
    assert all(name in result.stdout for name in formats)


def test_statistics_against_numpy():
    rng = np.random.default_rng(0)
    parts = [rng.gamma(2, 20, size).astype(np.float32) for size in (1000, 5000)]
    statistics = DisparityStatistics()
    for part in parts:
        statistics.add(part, 10_000)
    everything = np.concatenate(parts)
    assert statistics.density == 0.3
    assert (statistics.minimum, statistics.maximum) == (everything.min(), everything.max())
    for percent in (0, 1, 25, 50, 75, 99, 100):
        assert statistics.percentile(percent) == pytest.approx(np.percentile(everything, percent), abs=0.25)
    bars = statistics.histogram(bars=8)
    assert len(bars) <= 8
    edges = [bar["from"] for bar in bars] + [bars[-1]["to"]]
    expected, _ = np.histogram(everything, edges)
    np.testing.assert_allclose([bar["share"] for bar in bars], expected / everything.size)


def test_statistics_without_a_truth():
    statistics = DisparityStatistics()
    assert statistics.to_dict() is None
    assert statistics.histogram() == []
