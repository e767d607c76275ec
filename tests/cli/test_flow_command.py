import json

import numpy as np
import pytest
from click.testing import CliRunner

from leadline.cli.main import main
from leadline.data.formats.arrays import read_array
from leadline.data.formats.flo import read_flo
from leadline.data.formats.images import read_image, write_image
from leadline.data.formats.kitti import read_kitti_flow


def run(*arguments):
    return CliRunner().invoke(main, ["flow", *map(str, arguments)])


@pytest.fixture
def frames(tmp_path):
    """Three frames of a pattern that moves right by 2 px and down by 1."""
    rows, columns = np.mgrid[0:64, 0:96]
    folder = tmp_path / "frames"
    for k in range(3):
        x, y = columns - 2 * k, rows - k
        wave = 127 + 50 * np.sin(x / 5) + 40 * np.cos(y / 4) + 30 * np.sin((x + 2 * y) / 6)
        write_image(folder / f"{k}.png", np.repeat(wave.round().astype(np.uint8)[..., None], 3, 2))
    return folder


def test_a_pair_in_every_format(frames, tmp_path):
    out = tmp_path / "out"
    result = run(frames / "0.png", frames / "1.png", "-o", out, "--format", "flo,kitti,npz", "--consistency", "--json")
    assert result.exit_code == 0, result.output
    about = json.loads(result.stdout)["pairs"][0]
    assert about["model"] == "plumb-flow"
    assert about["consistent"] > 0.9
    assert {*about["files"], "meta.json"} == {path.name for path in out.iterdir()}
    flow, valid = read_flo(out / "flow.flo")
    assert valid.all()
    assert np.abs(np.median(flow[8:-8, 8:-8], axis=(0, 1)) - [2, 1]).max() < 0.1
    kitti, known = read_kitti_flow(out / "flow.png")
    assert known.all()
    assert np.abs(kitti - flow).max() <= 1 / 128
    np.testing.assert_array_equal(read_array(out / "flow.npz", "flow"), flow)
    back, _ = read_flo(out / "flow_backward.flo")
    assert np.abs(np.median(back[8:-8, 8:-8], axis=(0, 1)) - [-2, -1]).max() < 0.1
    consistent, occluded = (read_image(out / name) for name in ("consistent.png", "occluded.png"))
    np.testing.assert_array_equal(consistent, 255 - occluded)


def test_a_folder_is_a_sequence(frames, tmp_path):
    result = run(frames, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert [p["frame1"][-5:] for p in json.loads(result.stdout)["pairs"]] == ["1.png", "2.png"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0", "1"]
    assert run(frames, "-o", tmp_path / "two", "--step", 2).exit_code == 0
    flow, _ = read_flo(tmp_path / "two" / "flow.flo")
    assert np.abs(np.median(flow[8:-8, 8:-8], axis=(0, 1)) - [4, 2]).max() < 0.2


def test_masked_pixels_are_unknown(frames, tmp_path):
    assert run(frames / "0.png", frames / "1.png", "-o", tmp_path / "o", "--mask", "--threshold", "0.05").exit_code == 0
    _, valid = read_flo(tmp_path / "o" / "flow.flo")
    assert 0 < valid.mean() < 1
    assert (read_image(tmp_path / "o" / "flow_color.png")[~valid] == 0).all()


def test_a_video_is_a_sequence(tmp_path):
    pytest.importorskip("av")
    import sys

    sys.path.insert(0, "tests/video")
    from clips import moving, write_clip

    clip = write_clip(tmp_path / "clip.mp4", moving(3, step=2.0))
    result = run(clip, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    pairs = json.loads(result.stdout)["pairs"]
    assert [pair["times"] for pair in pairs] == [[0.0, 0.1], [0.1, 0.2]]
    flow, _ = read_flo(tmp_path / "out" / "000001" / "flow.flo")
    assert abs(np.median(flow[8:-8, 8:-8, 0]) - 2) < 0.2
    single = write_clip(tmp_path / "one.mp4", moving(1))
    failed = run(single, "-o", tmp_path / "none")
    assert failed.exit_code == 2
    assert "1 frame(s) with a step of 1" in failed.stderr


def test_a_broken_frame_does_not_stop_the_others(frames, tmp_path):
    (frames / "1.png").write_bytes(b"nothing")
    write_image(frames / "3.png", np.zeros((64, 96), np.uint8))
    result = run(frames, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 of 3 pairs failed" in result.stderr
    assert (tmp_path / "out" / "2" / "flow.flo").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["0.png"], "one image alone"),
        (["none"], "no such file or folder"),
        (["0.png", "9.png"], "no such file or folder"),
        (["0.png", "1.png", "9.png"], "no such file"),
        (["0.png", "1.png", "--format", "bmp"], "give one or several of flo, kitti, npz"),
        (["0.png", "1.png", "-m", "bm"], "is for stereo"),
        (["0.png", "1.png", "-m", "diss"], "did you mean 'dis'"),
        (["0.png", "1.png", "--threshold", "0"], "more than 0"),
        (["0.png", "1.png", "--step", "2"], "--step is for a sequence"),
        (["0.png", "small.png"], "differ in size"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, told, frames, tmp_path):
    write_image(frames / "small.png", np.zeros((8, 8), np.uint8))
    paths = [str(frames / a) if a.endswith(".png") or a == "none" else a for a in arguments]
    result = run(*paths, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
