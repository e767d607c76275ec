import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from leadline.cli.main import main
from leadline.data.formats.arrays import read_array
from leadline.data.formats.images import read_image, write_image
from leadline.data.formats.poses import read_gyro, read_poses
from leadline.errors import UserError

DEPTH, FOCAL = 4.0, 160.0


def run(*arguments):
    return CliRunner().invoke(main, ["motion-depth", *map(str, arguments)])


@pytest.fixture
def frames(tmp_path):
    """A wall 4 m away, seen by a camera that moves right by 0.1 m a frame: 4 px. Named by their times."""
    noise = np.random.default_rng(0).uniform(0, 255, (96, 176)).astype(np.float32)
    wall = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    folder = tmp_path / "frames"
    for k in range(3):
        write_image(folder / f"{10 + 0.1 * k:.1f}.png", wall[:, 4 * k : 4 * k + 160].copy())
    return folder


def tum(path, times):
    path.write_text("# time tx ty tz qx qy qz qw\n" + "".join(f"{t} {t - 10:.4f} 0 0 0 0 0 1\n" for t in times))
    return path


def test_poses_give_metres(frames, tmp_path):
    poses = tum(tmp_path / "poses.txt", [10.0, 10.1, 10.2])
    result = run(frames, "-o", tmp_path / "out", "--fx", FOCAL, "--poses", poses, "--json")
    assert result.exit_code == 0, result.output
    pairs = json.loads(result.stdout)["pairs"]
    assert len(pairs) == 2
    assert pairs[0]["unit"] == "m"
    assert pairs[0]["motion"]["translation"] == pytest.approx([-0.1, 0, 0], abs=1e-6)
    for pair in pairs:
        assert pair["median_depth"] == pytest.approx(DEPTH, rel=0.03)
        assert pair["valid"] > 0.7
    stored = read_image(tmp_path / "out" / "10.0" / "depth.png")
    assert np.median(stored[stored > 0]) == pytest.approx(4000, rel=0.03)
    deviation = read_array(tmp_path / "out" / "10.0" / "depth.npz", "deviation")
    # One pixel's worth of parallax is 1 m here: 0.3 px of flow error are 0.3 m.
    assert np.median(deviation[np.isfinite(deviation)]) == pytest.approx(0.3, rel=0.15)


def test_kitti_poses_by_order_and_a_motion_by_hand(frames, tmp_path):
    rows = [f"1 0 0 {0.1 * k:.3f} 0 1 0 0 0 0 1 0" for k in range(3)]
    (tmp_path / "kitti.txt").write_text("\n".join(rows))
    assert run(frames, "-o", tmp_path / "a", "--fx", FOCAL, "--poses", tmp_path / "kitti.txt").exit_code == 0
    pair = sorted(frames.iterdir())[:2]
    assert run(*pair, "-o", tmp_path / "b", "--fx", FOCAL, "--motion", "0,0,0,-0.1,0,0").exit_code == 0
    for key in ("depth", "valid"):
        one, other = (read_array(tmp_path / place / "depth.npz", key) for place in ("a/10.0", "b"))
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_without_a_motion_the_scale_is_said_to_be_unknown(frames, tmp_path):
    """A gyroscope that did not turn: the rotation is known, the translation has length 1 (0.1 m), so 4 m are 40."""
    (tmp_path / "gyro.csv").write_text("#time,wx,wy,wz\n9.9,0,0,0\n10.3,0,0,0\n")
    pair = sorted(frames.iterdir())[:2]
    result = run(*pair, "-o", tmp_path / "a", "--fx", FOCAL, "--gyro", tmp_path / "gyro.csv", "--json")
    assert result.exit_code == 0, result.output
    about = json.loads(result.stdout)["pairs"][0]
    assert about["unit"] == "translation"
    assert about["median_depth"] == pytest.approx(40, rel=0.05)
    assert "the scale is not known" in result.stderr
    assert not (tmp_path / "a" / "depth.png").exists()
    scaled = run(
        *pair, "-o", tmp_path / "b", "--fx", FOCAL, "--gyro", tmp_path / "gyro.csv", "--distance", "0.1", "--json"
    )
    about = json.loads(scaled.stdout)["pairs"][0]
    assert about["unit"] == "m"
    assert about["median_depth"] == pytest.approx(DEPTH, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "focal length is needed"),
        (["--fx", "0"], "more than 0"),
        (["--fx", "160", "--motion", "1,2"], "give six numbers"),
        (["--fx", "160", "--motion", "0,0,0,0,0,0"], "does not move"),
        (["--fx", "160", "--poses", "{poses}", "--motion", "0,0,0,1,0,0"], "exclude each other"),
        (["--fx", "160", "--poses", "{poses}", "--distance", "2"], "is for an estimated motion"),
        (["--fx", "160", "--poses", "{short}"], "has 2 pose.s. and there are 3 frames"),
        (["--fx", "160", "--poses", "{words}"], "holds more than numbers"),
        (["--fx", "160", "--poses", "{ragged}"], "line 2 has 8 numbers, those before have 12"),
        (["--fx", "160", "--poses", "{nothing}"], "no line of numbers"),
        (["--fx", "160", "--calib", "none.json"], "exclude each other"),
        (["--calib", "none.json"], "no such file"),
        (["--fx", "160", "-m", "bm"], "is for stereo"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, told, frames, tmp_path):
    files = {
        "poses": tum(tmp_path / "poses.txt", [10.0, 10.1, 10.2]),
        "short": tmp_path / "short.txt",
        "words": tmp_path / "words.txt",
        "ragged": tmp_path / "ragged.txt",
        "nothing": tmp_path / "nothing.txt",
    }
    files["short"].write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 2)
    files["words"].write_text("1 0 0 x 0 1 0 0 0 0 1 0\n")
    files["ragged"].write_text("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 0 0 1\n")
    files["nothing"].write_text("# only a comment\n")
    given = [a.format(**files) for a in arguments]
    many = "--poses" in given
    paths = [frames] if many else sorted(frames.iterdir())[:2]
    result = run(*paths, "-o", tmp_path / "out", *given)
    assert result.exit_code == 2, result.output
    import re

    assert re.search(told, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1


def test_frames_without_a_pose_fail_one_by_one(frames, tmp_path):
    result = run(frames, "-o", tmp_path / "out", "--fx", FOCAL, "--poses", tum(tmp_path / "p.txt", [10.0, 10.1]))
    assert result.exit_code == 1
    assert "1 of 2 pairs failed" in result.stderr
    assert "nearest to the frame at 10.200000 s is 0.100 s away" in result.stderr


def test_pose_files(tmp_path):
    path = tmp_path / "tum.txt"
    half = np.sqrt(0.5)
    path.write_text(f"0.0 1 2 3 0 0 {half} {half}\n1.0 0 0 0 0 0 0 1\n")
    poses, times = read_poses(path)
    np.testing.assert_allclose(poses[0] @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-6)  # a quarter turn about z, then moved
    assert times.tolist() == [0.0, 1.0]
    for text, told in (
        ("0 0 0 0 0 0 0 2\n", "quaternion of length 2.000"),
        ("1 0 0 0 0 0 0 1\n0 0 0 0 0 0 0 1\n", "times do not grow"),
        ("1 0 0 0 0 2 0 0 0 0 1 0\n", "no rotation"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=told):
            read_poses(path)


def test_gyro_files(tmp_path):
    path = tmp_path / "imu.csv"
    path.write_text(
        "#timestamp [ns],wx,wy,wz,ax,ay,az\n1400000000000000000,1,2,3,0,0,9\n1400000000005000000,1,2,3,0,0,9\n"
    )
    times, rates = read_gyro(path)
    assert np.diff(times) == pytest.approx(0.005, abs=1e-6)
    assert rates.tolist() == [[1, 2, 3]] * 2
