"""Readers of single images with depth: made-up trees in each layout, and the real files beside the repository."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from shared import shared_data

from leadline.cli.main import main
from leadline.data import open_data
from leadline.data.datasets.tum import associate
from leadline.data.formats.arrays import write_array
from leadline.data.formats.images import read_image, write_image
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera
from leadline.models import Task

IMAGE = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
METRES = np.linspace(0.5, 6.0, 48, dtype=np.float32).reshape(6, 8)


def _png(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, values.astype(np.uint16))


def _image(path: Path) -> None:
    write_image(path, IMAGE)


def _only(spec: str):
    data = open_data(spec)
    assert data.task is Task.MONO
    assert len(data) == 1
    return data[0]


def _check(sample, tolerance: float = 1e-3, hole: bool = True) -> None:
    np.testing.assert_array_equal(sample.images[0], IMAGE)
    expected = np.ones((6, 8), bool)
    expected[0, 0] = not hole
    np.testing.assert_array_equal(sample.valid, expected)
    np.testing.assert_allclose(sample.depth[expected], METRES[expected], atol=tolerance)
    assert not hole or sample.depth[0, 0] == 0


def _stored(scale: float) -> np.ndarray:
    stored = np.rint(METRES * scale)
    stored[0, 0] = 0
    return stored


def test_nyu_frames(tmp_path: Path):
    _image(tmp_path / "bathroom" / "rgb_00045.png")
    _png(tmp_path / "bathroom" / "sync_depth_00045.png", _stored(1000))
    _image(tmp_path / "bathroom" / "rgb_00046.png")
    data = open_data(f"nyu:{tmp_path}")
    assert len(data.problems) == 1
    assert "its depth is missing" in data.problems[0]
    sample = _only(f"nyu:{tmp_path}")
    _check(sample)
    assert sample.name == "bathroom_00045"
    assert sample.intrinsics is not None


def test_nyu_labelled_file(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w") as file:  # as MATLAB stores (h, w, 3, n)
        file["images"] = IMAGE.transpose(2, 1, 0)[None]
        file["depths"] = METRES.T[None]
    _check(_only(f"nyu:{path}"), hole=False)
    (tmp_path / "other.mat").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable HDF5"):
        open_data(f"nyu:{tmp_path / 'other.mat'}")


DRIVE = "2011_09_26_drive_0002_sync"
CALIB = "P_rect_02: 721.5 0 609.5 44.8 0 720.5 172.8 0.2 0 0 1 0.003\nP_rect_03: 700 0 600 0 0 701 170 0 0 0 1 0\n"


def _kitti(root: Path) -> None:
    for frame in (69, 70):
        _png(root / f"depth/train/{DRIVE}/proj_depth/groundtruth/image_02/{frame:010d}.png", _stored(256))
        raw = root / f"depth/raw/2011_09_26/{DRIVE}/image_02/data/{frame:010d}.png"
        raw.parent.mkdir(parents=True, exist_ok=True)
        _image(raw)
    (root / "depth/raw/2011_09_26/calib_cam_to_cam.txt").write_text(CALIB)


def test_kitti_as_distributed_and_the_eigen_split(tmp_path: Path):
    _kitti(tmp_path)
    data = open_data(f"kitti-depth:{tmp_path / 'depth'}")
    assert [sample.name for sample in data] == [f"{DRIVE}_image_02_{frame:010d}" for frame in (69, 70)]
    _check(data[0], 1 / 256)
    assert data[0].intrinsics == PinholeCamera(721.5, 720.5, 609.5, 172.8)
    lines = (
        f"2011_09_26/{DRIVE} 0000000070 l",
        f"2011_09_26/{DRIVE}/image_02/data/0000000070.png {DRIVE}/proj_depth/groundtruth/image_02/0000000070.png 721.5",
        f"2011_09_26/{DRIVE}/image_02/data/0000000070.png",
    )
    for line in lines:
        split = tmp_path / "split.txt"
        split.write_text(f"{line}\n2011_09_26/{DRIVE} 0000000099 l\n\n")
        chosen = open_data(f"kitti-depth:{tmp_path / 'depth'},split={split}")
        assert [sample.name for sample in chosen] == [f"{DRIVE}_image_02_0000000070"]
        assert len(chosen.problems) == 1
        assert "line 2" in chosen.problems[0]
    split.write_text("what is this\n")
    with pytest.raises(UserError, match="line 1 is no"):
        open_data(f"kitti-depth:{tmp_path / 'depth'},split={split}")


def test_kitti_raw_images_beside_the_truth(tmp_path: Path):
    _kitti(tmp_path)
    (tmp_path / "depth/raw/2011_09_26").rename(tmp_path / "2011_09_26")
    assert len(open_data(f"kitti-depth:{tmp_path / 'depth'}")) == 2


def test_kitti_selection(tmp_path: Path):
    name = f"{DRIVE}_image_0000000005_image_02"
    _png(tmp_path / "groundtruth_depth" / f"{DRIVE}_groundtruth_depth_0000000005_image_02.png", _stored(256))
    (tmp_path / "image").mkdir()
    _image(tmp_path / "image" / f"{name}.png")
    (tmp_path / "intrinsics").mkdir()
    (tmp_path / "intrinsics" / f"{name}.txt").write_text("721.5 0 596.5 0 721.5 149.8 0 0 1")
    sample = _only(f"kitti-depth:{tmp_path}")
    _check(sample, 1 / 256)
    assert sample.intrinsics == PinholeCamera(721.5, 721.5, 596.5, 149.8)


def test_tum(tmp_path: Path):
    scene = tmp_path / "rgbd_dataset_freiburg2_desk"
    (scene / "rgb").mkdir(parents=True)
    _image(scene / "rgb" / "1305031231.825686.png")
    _image(scene / "rgb" / "1305031299.000000.png")
    _png(scene / "depth" / "1305031231.833292.png", _stored(5000))
    sample = _only(f"tum:{tmp_path}")
    _check(sample, 1 / 5000)
    assert sample.intrinsics is not None
    assert sample.intrinsics.fx == 520.9


def test_times_are_associated_by_the_nearest_and_once():
    assert associate([1.0, 2.0, 3.0], [1.015, 1.99, 2.005, 3.5]) == [(1.0, 1.015), (2.0, 2.005)]
    assert associate([1.0, 1.01], [1.009]) == [(1.01, 1.009)]


def test_diode(tmp_path: Path):
    folder = tmp_path / "indoors" / "scene_00019" / "scan_00183"
    folder.mkdir(parents=True)
    _image(folder / "a.png")
    mask = np.ones((6, 8), np.float64)
    mask[0, 0] = 0
    write_array(folder / "a_depth.npy", depth=METRES[..., None])
    write_array(folder / "a_depth_mask.npy", mask=mask)
    _check(_only(f"diode:{tmp_path}"))


def test_sun(tmp_path: Path):
    scene = tmp_path / "kv1" / "NYUdata" / "NYU0001"
    (scene / "image").mkdir(parents=True)
    _image(scene / "image" / "NYU0001.png")
    millimetres = _stored(1000).astype(np.uint16)
    _png(scene / "depth_bfx" / "NYU0001.png", (millimetres << np.uint16(3)) | (millimetres >> np.uint16(13)))
    (scene / "intrinsics.txt").write_text("518.8 0 284.5\n0 519.4 208.7\n0 0 1\n")
    sample = _only(f"sun:{tmp_path}")
    _check(sample)
    assert sample.intrinsics == PinholeCamera(518.8, 519.4, 284.5, 208.7)


def test_redwood_files_are_matched_by_their_number(tmp_path: Path):
    (tmp_path / "rgb").mkdir()
    _image(tmp_path / "rgb" / "0000012-000000400400.png")
    _png(tmp_path / "depth" / "0000012-000000400500.png", _stored(1000))
    _check(_only(f"redwood:{tmp_path}"))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".png"])
def test_own_images(tmp_path: Path, suffix: str):
    scene = tmp_path / "desk"
    scene.mkdir()
    _image(scene / "image.png")
    with_hole = METRES.copy()
    with_hole[0, 0] = np.nan
    if suffix == ".png":
        _png(scene / "depth.png", _stored(4000))
    else:
        write_array(scene / f"depth{suffix}", depth=with_hole)
    (scene / "meta.json").write_text('{"depth_scale": 4000, "calib": {"fx": 500, "cx": 3.5, "cy": 2.5}}')
    sample = open_data(f"folder:{tmp_path}", "mono")[0]
    _check(sample)
    assert sample.intrinsics == PinholeCamera(500, 500, 3.5, 2.5)


def test_frames_of_a_video(tmp_path: Path):
    for i in range(4):
        write_image(tmp_path / f"{i:03d}.png", np.full((6, 8, 3), 10 * i, np.uint8))
    with pytest.raises(UserError, match="fx, fy, cx, cy"):
        open_data(f"frames:{tmp_path}")
    (tmp_path / "meta.json").write_text('{"fx": 500, "cx": 3.5, "cy": 2.5}')
    data = open_data(f"frames:{tmp_path}")
    assert len(data) == 2
    assert data[1].images[0][0, 0, 0] == 20
    assert [frame[0, 0, 0] for frame in data[1].frames] == [10, 30]
    assert data[1].depth is None


def test_a_stereo_pair_as_a_single_image(tmp_path: Path):
    scene = tmp_path / "pair"
    scene.mkdir()
    write_image(scene / "left.png", IMAGE)
    write_image(scene / "right.png", IMAGE[:, ::-1].copy())
    disparity = np.full((6, 8), 5.0, np.float32)
    disparity[0, 0] = np.nan
    write_array(scene / "disparity.npz", disparity=disparity)
    (scene / "meta.json").write_text('{"calib": {"focal": 100, "baseline": 0.2, "cx": 4, "cy": 3, "doffs": 3}}')
    sample = open_data(f"folder:{tmp_path}", "mono")[0]
    assert sample.valid.sum() == 47
    np.testing.assert_allclose(sample.depth[sample.valid], 100 * 0.2 / (5 + 3))
    assert sample.poses[0][0, 3] == -0.2
    # x_right = x - d = x - fB / Z + doffs: moved by doffs both principal points are one
    np.testing.assert_array_equal(sample.frames[0][:, 0], IMAGE[:, ::-1][:, 3])
    (scene / "meta.json").write_text("{}")
    with pytest.raises(UserError, match="no calibrated camera"):
        open_data(f"folder:{tmp_path}", "mono")[0]


@pytest.mark.parametrize(
    ("kind", "folder", "sample", "index"),
    [
        ("nyu", "nyu", "mono_nyu_0", 0),
        ("nyu", "nyu", "mono_nyu_100", 1),
        ("kitti-depth", "kitti_depth", "mono_kitti_5", 0),
        ("redwood", "redwood_rgbd", "mono_redwood_0", 0),
    ],
)
def test_native_reader_agrees_with_the_sample(kind: str, folder: str, sample: str, index: int):
    native = open_data(f"{kind}:{shared_data('native', folder)}")[index]
    uniform = open_data(f"folder:{shared_data('samples', sample)}", "mono")[0]
    stored = np.load(shared_data("samples", sample, "depth.npz"))["depth"]
    for found in (native, uniform):
        np.testing.assert_array_equal(found.valid, np.isfinite(stored))
        np.testing.assert_allclose(found.depth, np.nan_to_num(stored, nan=0), rtol=1e-6)
        np.testing.assert_array_equal(found.images[0], uniform.images[0])
    assert native.intrinsics in (uniform.intrinsics, None)


def test_check_tells_depths_and_cameras(tmp_path: Path):
    _image(tmp_path / "rgb_1.png")
    _png(tmp_path / "sync_depth_1.png", _stored(1000))
    done = CliRunner().invoke(
        main, ["data", "check", f"nyu:{tmp_path}", "--json", "--pictures", str(tmp_path / "look")]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["with_truth"], told["with_camera"]) == (1, 1)
    rest = METRES.ravel()[1:]
    assert told["depth"]["percentiles"]["50"] == pytest.approx(np.median(rest), abs=0.06)
    assert told["depth"]["max"] == pytest.approx(rest.max(), abs=1e-3)
    assert told["depth"]["density"] == pytest.approx(47 / 48)
    assert read_image(tmp_path / "look" / "1.png").shape == (6, 16, 3)
    assert "depth (m)" in CliRunner().invoke(main, ["data", "check", f"nyu:{tmp_path}"]).stdout


def test_native_tum():
    data = open_data(f"tum:{shared_data('native', 'tum_rgbd')}")
    assert len(data) == 2
    raw = cv2.imread(str(shared_data("native", "tum_rgbd", "depth", "1305031231.833292.png")), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(data[0].depth, raw / 5000, rtol=1e-6)
