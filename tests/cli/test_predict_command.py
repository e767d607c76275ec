"""leadline predict at the terminal: the files it writes, read by other programs, and what it refuses."""

import json
import struct

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from leadline.cli.main import main

SHIFT = 12


def plane(height=60, width=160, seed=0):
    """Left and right BGR images of a plane at SHIFT px."""
    rough = np.random.default_rng(seed).uniform(size=(height, width + SHIFT, 3))
    smooth = cv2.GaussianBlur(rough, (0, 0), 1.2)
    wide = ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).astype(np.uint8)
    return np.ascontiguousarray(wide[:, :width]), np.ascontiguousarray(wide[:, SHIFT:])


@pytest.fixture
def pair(tmp_path):
    """The paths of a pair's files as text."""
    paths = [str(tmp_path / "left.png"), str(tmp_path / "right.png")]
    for path, image in zip(paths, plane(), strict=True):
        cv2.imwrite(path, image)
    return paths


@pytest.fixture
def folders(tmp_path):
    """Two folders with three images each."""
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
    for seed in range(3):
        left, right = plane(seed=seed)
        cv2.imwrite(str(tmp_path / "left" / f"{seed}_l.png"), left)
        cv2.imwrite(str(tmp_path / "right" / f"{seed}_r.png"), right)
    return str(tmp_path / "left"), str(tmp_path / "right")


def predict(*arguments, model="sgbm-padded"):
    return CliRunner().invoke(main, ["predict", *map(str, arguments), "--model", model, "--num-disparities", "32"])


def refused(result):
    """The error line of a call that must have ended with one line and exit code 2."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if "warning" not in line]
    assert len(lines) == 1
    return lines[0]


def read_pfm_plainly(path):
    head, size, scale, rest = path.read_bytes().split(b"\n", 3)
    assert (head, float(scale)) == (b"Pf", -1.0)
    width, height = map(int, size.split())
    return np.frombuffer(rest, "<f4").reshape(height, width)[::-1]


def test_files_of_a_calibrated_pair(pair, tmp_path):
    out = tmp_path / "out"
    result = predict(*pair, "--focal", 300, "--baseline", 0.08, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    disparity = read_pfm_plainly(out / "disparity.pfm")
    assert np.abs(disparity[:, 20:-4] - SHIFT).max() < 0.3

    stored = cv2.imread(str(out / "disparity.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_allclose(stored / 256, disparity, atol=1 / 512)
    assert cv2.imread(str(out / "disparity_color.png")).shape == (60, 160, 3)

    depth = cv2.imread(str(out / "depth.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(depth, 300 * 0.08 / disparity * 1000, atol=0.51)

    header, body = (out / "cloud.ply").read_bytes().split(b"end_header\n")
    assert b"element vertex 9600" in header
    x, y, z, *color = struct.unpack("<fffBBB", body[:15])
    assert z == pytest.approx(24 / disparity[0, 0], rel=1e-5)
    assert (x, y) == pytest.approx((-79.5 * z / 300, -29.5 * z / 300))
    assert color == plane()[0][0, 0, ::-1].tolist()

    meta = json.loads((out / "meta.json").read_text())
    assert (meta["width"], meta["height"], meta["model"]) == (160, 60, "sgbm-padded")
    assert meta["calibration"]["baseline"] == 0.08
    assert meta["disparity"]["sign"] == "positive: x_right = x_left - d"
    assert meta["median_disparity"] == pytest.approx(SHIFT, abs=0.1)
    assert set(meta["files"]) | {"meta.json"} == {file.name for file in out.iterdir()}
    assert json.loads(result.stdout)["pairs"] == [meta]


def test_without_calibration_there_is_no_depth(pair, tmp_path):
    assert predict(*pair, "-o", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out" / "depth.png").exists()
    assert not (tmp_path / "out" / "cloud.ply").exists()


def test_a_calibration_file_with_doffs(pair, tmp_path):
    calib = tmp_path / "calib.txt"
    calib.write_text("cam0=[300 0 80; 0 300 30; 0 0 1]\ncam1=[300 0 84; 0 300 30; 0 0 1]\ndoffs=4\nbaseline=80\n")
    assert predict(*pair, "--calib", calib, "-o", tmp_path / "out").exit_code == 0
    depth = cv2.imread(str(tmp_path / "out" / "depth.png"), cv2.IMREAD_UNCHANGED)
    assert np.median(depth) == pytest.approx(300 * 80 / (SHIFT + 4), abs=5)


def test_max_depth_limits_the_cloud_alone(pair, tmp_path):
    result = predict(*pair, "--focal", 300, "--baseline", 0.08, "--max-depth", 1, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert b"element vertex 0" in (tmp_path / "out" / "cloud.ply").read_bytes()[:100]
    assert "every point is farther than 1 m" in result.stderr
    assert cv2.imread(str(tmp_path / "out" / "depth.png"), cv2.IMREAD_UNCHANGED).max() > 1900


def test_consistency_writes_confidence_and_occluded_masks(pair, tmp_path):
    out = tmp_path / "out"
    assert predict(*pair, "--consistency", "--occluded", "mask", "--right-view", "-o", out).exit_code == 0
    mask = cv2.imread(str(out / "consistent.png"), cv2.IMREAD_UNCHANGED)
    stored = cv2.imread(str(out / "disparity.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored > 0, mask == 255)
    assert not mask[:, :11].any()  # these columns' matches lie outside of the right view
    assert mask[:, 16:-20].all()
    assert cv2.imread(str(out / "confidence.png"), cv2.IMREAD_UNCHANGED)[:, 20:-20].min() > 180
    assert np.abs(read_pfm_plainly(out / "disparity_right.pfm")[:, 10:-30] - SHIFT).max() < 0.3


def test_folders_give_one_folder_per_pair(folders, tmp_path):
    out = tmp_path / "out"
    assert predict(*folders, "-o", out).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["0_l", "1_l", "2_l"]
    assert (out / "2_l" / "disparity.pfm").is_file()


def test_globs_with_equal_stems_are_told_apart_by_their_folders(tmp_path):
    for scene in ("a", "b"):
        (tmp_path / scene).mkdir()
        for name, image in zip(("im0.png", "im1.png"), plane(), strict=True):
            cv2.imwrite(str(tmp_path / scene / name), image)
    result = predict(tmp_path / "*" / "im0.png", tmp_path / "*" / "im1.png", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_im0.png", "b_im0.png"]


def test_no_result_overwrites_another(tmp_path):
    for scene in ("a/b_c", "a_b/c"):
        (tmp_path / scene).mkdir(parents=True)
        for name, image in zip(("im0.png", "im1.png"), plane(), strict=True):
            cv2.imwrite(str(tmp_path / scene / name), image)
    result = predict(tmp_path / "*" / "*" / "im0.png", tmp_path / "*" / "*" / "im1.png", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_b_c_im0.png", "a_b_c_im0.png~2"]


def test_a_folder_named_like_an_image_is_passed_over(folders, tmp_path):
    (tmp_path / "left" / "0_old.png").mkdir()
    assert predict(*folders, "-o", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0_l", "1_l", "2_l"]


def test_a_second_run_leaves_nothing_of_the_first(pair, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert predict(*pair, "--focal", 300, "--baseline", 0.08, "--consistency", "-o", out).exit_code == 0
    assert predict(*pair, "-o", out).exit_code == 0
    files = {"disparity.pfm", "disparity.png", "disparity_color.png", "meta.json", "notes.txt"}
    assert {file.name for file in out.iterdir()} == files


def test_results_do_not_go_beside_the_images(pair, tmp_path):
    (tmp_path / "meta.json").write_text('{"calib": {}}')
    assert "the images are in there" in refused(predict(*pair, "-o", tmp_path))
    assert (tmp_path / "meta.json").read_text() == '{"calib": {}}'


def test_a_pair_that_is_too_much_does_not_stop_the_batch(folders, tmp_path, monkeypatch):
    from leadline.classical import ClassicalStereo

    match, calls = ClassicalStereo.match, []

    def fails_once(self, left, right):
        calls.append(left.shape)
        if len(calls) == 1:
            raise RuntimeError("out of\nmemory")
        return match(self, left, right)

    monkeypatch.setattr(ClassicalStereo, "match", fails_once)
    result = predict(*folders, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "1 of 3 pairs failed" in result.stderr
    assert "0_r.png: out of memory" in result.stderr


def test_a_bad_item_is_reported_at_the_end_and_the_rest_goes_on(folders, tmp_path):
    broken = tmp_path / "right" / "1_r.png"
    broken.write_bytes(broken.read_bytes()[:-100])
    result = predict(*folders, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert "1 of 3 pairs failed" in result.stderr
    assert "truncated" in result.stderr
    told = json.loads(result.stdout)
    assert len(told["pairs"]) == 2
    assert told["failed"][0]["right"] == str(broken)
    assert not (tmp_path / "out" / "1_l").exists()


def test_mixed_kinds_of_images(tmp_path):
    left, right = plane()
    grey16 = cv2.cvtColor(left, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 16  # 12 bits in 16
    cv2.imwrite(str(tmp_path / "left.png"), grey16)
    cv2.imwrite(str(tmp_path / "right.png"), cv2.cvtColor(right, cv2.COLOR_BGR2GRAY))
    files = tmp_path / "left.png", tmp_path / "right.png"
    told = predict(*files, "-o", tmp_path / "dark")
    assert "--white-level" in told.stderr
    result = predict(*files, "-o", tmp_path / "out", "--white-level", 4080)
    assert "--white-level" not in result.stderr
    stored = cv2.imread(str(tmp_path / "out" / "disparity.png"), cv2.IMREAD_UNCHANGED)
    assert np.median(stored) / 256 == pytest.approx(SHIFT, abs=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000)])
def test_tiny_and_thin_images(size, tmp_path):
    for name in ("left.png", "right.png"):
        cv2.imwrite(str(tmp_path / name), np.full((*size, 3), 99, np.uint8))
    result = predict(tmp_path / "left.png", tmp_path / "right.png", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(tmp_path / "out" / "disparity.png"), cv2.IMREAD_UNCHANGED).shape == size


def test_disparities_beyond_16_bits_are_invalid_in_the_png(pair, tmp_path, monkeypatch):
    from leadline.classical import ClassicalStereo

    far = np.full((60, 160), 300, np.float32)
    far[0, 0] = 255.99
    monkeypatch.setattr(ClassicalStereo, "_predict", lambda self, left, right: far)
    result = predict(*pair, "-o", tmp_path / "out")
    assert "9599 pixels have a disparity over 255.996 px" in result.stderr
    stored = cv2.imread(str(tmp_path / "out" / "disparity.png"), cv2.IMREAD_UNCHANGED)
    assert (stored[0, 0], stored[1:].max()) == (65533, 0)
    assert read_pfm_plainly(tmp_path / "out" / "disparity.pfm")[1, 1] == 300


def test_disparities_at_the_end_of_a_networks_range_are_warned_of(tmp_path):
    wide = cv2.resize(np.random.default_rng(3).integers(0, 255, (64, 400, 3), np.uint8), (1200, 192))
    for shift, told in ((60, False), (181, True)):
        cv2.imwrite(str(tmp_path / "left.png"), wide[:, :960])
        cv2.imwrite(str(tmp_path / "right.png"), wide[:, shift : shift + 960])
        arguments = ["predict", str(tmp_path / "left.png"), str(tmp_path / "right.png"), "-o", str(tmp_path / "out")]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert ("crowd at the end of plummet-s's range of 192 px" in result.stderr) == told, result.stderr


def test_careful_prediction(pair, tmp_path):
    arguments = ["predict", *pair, "-o", str(tmp_path / "out"), "-m", "sgbm:careful", "--num-disparities", "16"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = read_pfm_plainly(tmp_path / "out" / "disparity.pfm")
    assert abs(np.median(found[:, 40:]) - SHIFT) < 0.5
    assert json.loads((tmp_path / "out" / "meta.json").read_text())["model"] == "sgbm:careful"


def test_swapped_and_unrectified_pairs_are_warned_of(tmp_path):
    left, right = plane(200, 320)
    cv2.imwrite(str(tmp_path / "left.png"), right)
    cv2.imwrite(str(tmp_path / "right.png"), np.roll(left, 5, axis=0))
    files = tmp_path / "left.png", tmp_path / "right.png"
    result = predict(*files, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "swapped" in result.stderr
    assert "unrectified" in result.stderr
    assert len(json.loads((tmp_path / "out" / "meta.json").read_text())["warnings"]) == 2
    assert "swapped" not in predict(*files, "-o", tmp_path / "out", "--no-check").stderr


def test_bad_input_is_refused_in_one_line(pair, folders, tmp_path):
    left, right = pair
    out = tmp_path / "out"
    assert "no such file or folder" in refused(predict(left, tmp_path / "none.png", "-o", out))
    assert "RIGHT" in refused(predict(left, tmp_path / "none*.png", "-o", out))
    (tmp_path / "empty").mkdir()
    assert "no image in this folder" in refused(predict(folders[0], tmp_path / "empty", "-o", out))
    assert "3 image(s)" in refused(predict(folders[0], right, "-o", out))
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((59, 160, 3), np.uint8))
    assert "differ in size" in refused(predict(left, tmp_path / "small.png", "-o", out))
    (tmp_path / "cut.png").write_bytes((tmp_path / "left.png").read_bytes()[:500])
    assert "truncated" in refused(predict(left, tmp_path / "cut.png", "-o", out))
    assert "cannot be made" in refused(predict(left, right, "-o", f"{left}/out"))
    assert "too long" in refused(predict("x" * 5000, right, "-o", out))
    assert "unknown model 'sgmb'" in refused(predict(left, right, "-o", out, model="sgmb"))
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--focal", "300"], "both --focal"),
        (["--baseline", "0.1", "--doffs", "3"], "both --focal"),
        (["--focal", "-1", "--baseline", "0.1"], "must be positive"),
        (["--calib", "none.txt"], "no such file"),
        (["--calib", "none.txt", "--focal", "3"], "exclude each other"),
        (["--focal", "300", "--baseline", "0.1", "--doffs", "nan"], "not a number, nan"),
        (["--white-level", "0"], "--white-level 0"),
        (["--max-depth", "nan"], "--max-depth nan"),
        (["--max-depth", "-1"], "--max-depth -1"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, told, pair, tmp_path):
    assert told in refused(predict(*pair, *options, "-o", tmp_path / "out"))
