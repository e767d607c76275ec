import json

import numpy as np
import pytest
from click.testing import CliRunner

from leadline.cli.main import main
from leadline.data.formats.images import read_image, write_image


def run(*arguments):
    return CliRunner().invoke(main, ["interpolate", *map(str, arguments)])


@pytest.fixture
def frames(tmp_path):
    """Three frames of a pattern that moves by 4 px."""
    rows, columns = np.mgrid[0:64, 0:96]
    folder = tmp_path / "frames"
    for k in range(3):
        wave = 127 + 60 * np.sin((columns - 4 * k) / 5) + 50 * np.cos(rows / 7)
        write_image(folder / f"{k}.png", np.repeat(wave.round().astype(np.uint8)[..., None], 3, 2))
    return folder


def test_times_between_two_images(frames, tmp_path):
    result = run(frames / "0.png", frames / "1.png", "-o", tmp_path / "out", "-t", "0.25,0.5", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["frames_out"] == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["t0.250.png", "t0.500.png"]
    rows, columns = np.mgrid[0:64, 0:96]
    for time in (0.25, 0.5):
        expected = 127 + 60 * np.sin((columns - 4 * time) / 5) + 50 * np.cos(rows / 7)
        found = read_image(tmp_path / "out" / f"t{time:.3f}.png")[..., 0].astype(float)
        assert np.abs(found - expected)[8:-8, 8:-8].mean() < 1.5  # grey values; the mean of both is off by 8


def test_one_frame_into_a_file(frames, tmp_path):
    assert run(frames / "0.png", frames / "2.png", "-o", tmp_path / "middle.png").exit_code == 0
    assert read_image(tmp_path / "middle.png").shape == (64, 96, 3)


def test_a_folder_at_four_times_the_rate(frames, tmp_path):
    result = run(frames, "-o", tmp_path / "out", "--fps", "4x", "-m", "mean")
    assert result.exit_code == 0, result.output
    found = sorted((tmp_path / "out").iterdir())
    assert [p.name for p in found] == [f"{k:08d}.png" for k in range(9)]
    for k in range(3):
        assert (read_image(found[4 * k]) == read_image(frames / f"{k}.png")).all()


def test_a_video(tmp_path):
    pytest.importorskip("av")
    from video.clips import moving, read_clip, write_clip

    write_clip(tmp_path / "clip.mp4", moving(4), sound=True)
    result = run(tmp_path / "clip.mp4", "-o", tmp_path / "new.mp4", "--fps", "2x")
    assert result.exit_code == 0, result.output
    assert len(read_clip(tmp_path / "new.mp4")[0]) == 7
    assert "7 frames" in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{f}/0.png", "{f}/1.png", "-t", "1.0"], "time 1 does not lie between"),
        (["{f}/0.png", "{f}/1.png", "-t", "0,0.5"], "time 0 does not lie between"),
        (["{f}/0.png", "{f}/1.png", "-t", "nan"], "does not lie between"),
        (["{f}/0.png", "{f}/1.png", "-t", "half"], "give numbers between 0 and 1"),
        (["{f}/0.png", "{f}/1.png", "-t", "0.5,0.25"], "growing order"),
        (["{f}/0.png", "{f}/1.png", "-t", "0.5", "--fps", "2x"], "give one of them"),
        (["{f}/0.png", "{f}/1.png", "--fps", "1x"], "from 2x to 64x"),
        (["{f}/0.png"], "one image alone"),
        (["{f}/0.png", "{f}/nine.png"], "nine.png: no such file"),
        (["{f}", "{f}/0.png"], "A and B are two images"),
        (["{f}", "-m", "sgbm"], "is for stereo"),
        (["{f}/0.png", "{f}/1.png", "-o", "x.png", "--fps", "4x"], "is one file for 3 frames"),
        (["{f}/0.png", "{f}/small.png"], "differ in size"),
        (["{f}"], r"small.png: is 32x32 and the frames before are 96x64"),
        (["{f}/one"], "holds 1 image"),
    ],
)
def test_mistakes_are_told_in_one_line(frames, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    write_image(frames / "small.png", np.zeros((32, 32, 3), np.uint8))
    write_image(frames / "one" / "0.png", np.zeros((32, 32, 3), np.uint8))
    arguments = [part.format(f=frames) for part in arguments]
    result = run(*arguments, *([] if "-o" in arguments else ["-o", tmp_path / "out"]))
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert reason in result.stderr
