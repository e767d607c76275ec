"""Calibration files and point clouds."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from shared import shared_data

from leadline.data.formats.calib import camera_from_dict, read_calib, read_kitti_calib, read_middlebury_calib
from leadline.data.formats.ply import read_ply, write_ply
from leadline.errors import UserError
from leadline.geometry.camera import StereoCamera

MIDDLEBURY = """cam0=[3979.911 0 1244.772; 0 3979.911 1019.507; 0 0 1]
cam1=[3979.911 0 1369.115; 0 3979.911 1019.507; 0 0 1]
doffs=124.343
baseline=193.001
width=2964
height=1988
ndisp=270
isint=0
"""


def test_middlebury(tmp_path: Path):
    path = tmp_path / "calib.txt"
    path.write_text(MIDDLEBURY)
    expected = StereoCamera(focal=3979.911, baseline=0.193001, cx=1244.772, cy=1019.507, doffs=124.343)
    assert read_middlebury_calib(path) == expected
    assert read_calib(path) == expected


def test_middlebury_without_doffs_takes_it_from_the_cameras(tmp_path: Path):
    path = tmp_path / "calib.txt"
    path.write_text(MIDDLEBURY.replace("doffs=124.343\n", ""))
    assert read_calib(path).doffs == pytest.approx(1369.115 - 1244.772)


def _matrix(cx: float, offset: float) -> str:
    return f"700 0 {cx} {offset} 0 700 150 0 0 0 1 0"


@pytest.mark.parametrize("keys", [("P0", "P1", "P2", "P3"), ("P_rect_00", "P_rect_01", "P_rect_02", "P_rect_03")])
def test_kitti_pairs(tmp_path: Path, keys: tuple[str, ...]):
    """Camera 2 stands 0.06 m left of camera 0: its offset is positive, and counts into the baseline."""
    path = tmp_path / "calib.txt"
    matrices = [_matrix(600, 0), _matrix(600, -378), _matrix(600, 42), _matrix(610, -350)]
    path.write_text("".join(f"{key}: {matrix}\n" for key, matrix in zip(keys, matrices, strict=True)))
    assert read_kitti_calib(path, "grey") == StereoCamera(focal=700.0, baseline=0.54, cx=600.0, cy=150.0)
    assert read_kitti_calib(path, "color") == StereoCamera(focal=700.0, baseline=0.56, cx=600.0, cy=150.0, doffs=10.0)
    assert read_calib(path) == read_kitti_calib(path, "color")


def test_real_kitti_baselines():
    """KITTI's own set-up page: the grey and the colour cameras are 0.54 m apart."""
    grey = read_calib(shared_data("native", "kitti2012", "training", "calib", "000000.txt"))
    color = read_calib(shared_data("native", "kitti2015", "training", "calib_cam_to_cam", "000000.txt"))
    assert grey.baseline == pytest.approx(0.54, abs=0.01)
    assert color.baseline == pytest.approx(0.54, abs=0.01)
    assert color.focal == 721.5377


def test_json(tmp_path: Path):
    camera = StereoCamera(focal=500.0, baseline=0.1, cx=320.5, cy=240.5, doffs=2.0)
    path = tmp_path / "meta.json"
    for values in (camera.to_dict(), {"camera": camera.to_dict()}, {"calib": {"f": 500, "cx0": 320.5, "cy": 240.5,
                   "doffs": 2, "baseline_mm": 100}}):  # fmt: skip
        path.write_text(json.dumps(values))
        assert read_calib(path) == camera
    assert camera_from_dict({"f": 1050.0, "baseline_units": 1.0}) is None


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "P0: 1 2 3\nP1: 1 2 3\n",
        MIDDLEBURY.replace("baseline=193.001\n", ""),
        MIDDLEBURY.replace("193.001", "-193"),
        MIDDLEBURY.replace("3979.911 0 1244.772", "3979.911 0"),
        MIDDLEBURY.replace("doffs=124.343", "doffs=about a hundred"),
        '{"focal": 3',
        '{"focal": 3}',
        '{"focal": "x", "baseline": 1}',
        '{"focal": 0, "baseline": 1}',
        '{"focal": 3, "baseline_mm": "x"}',
        '{"focal": 3, "baseline": 1, "doffs": NaN}',
        '{"focal": 3, "baseline": 1, "cx": Infinity}',
        '{"text": ["cam0"]}',
        "",
    ],
)
def test_broken_calibration(tmp_path: Path, text: str):
    (tmp_path / "calib.txt").write_text(text)
    with pytest.raises(UserError, match=r"calib\.txt") as error:
        read_calib(tmp_path / "calib.txt")
    assert "\n" not in str(error.value)


def test_a_binary_file_is_no_calibration(tmp_path: Path):
    (tmp_path / "calib.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="not a text file"):
        read_calib(tmp_path / "calib.txt")


POINTS = np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32)
COLORS = np.random.default_rng(3).integers(0, 256, (7, 3), dtype=np.uint8)


def test_ply_round_trip(tmp_path: Path):
    points, colors = read_ply(write_ply(tmp_path / "a.ply", POINTS, COLORS))
    np.testing.assert_array_equal(points, POINTS)
    assert colors is not None
    np.testing.assert_array_equal(colors, COLORS)
    points, colors = read_ply(write_ply(tmp_path / "b.ply", POINTS))
    np.testing.assert_array_equal(points, POINTS)
    assert colors is None
    assert len(read_ply(write_ply(tmp_path / "c.ply", POINTS[:0], COLORS[:0]))[0]) == 0


def test_ply_is_written_as_the_format_says(tmp_path: Path):
    content = write_ply(tmp_path / "a.ply", POINTS[:1], COLORS[:1]).read_bytes()
    header, body = content.split(b"end_header\n")
    assert header.decode().splitlines() == [
        "ply", "format binary_little_endian 1.0", "element vertex 1",
        "property float x", "property float y", "property float z",
        "property uchar red", "property uchar green", "property uchar blue",
    ]  # fmt: skip
    assert body == struct.pack("<3f3B", *POINTS[0], *COLORS[0])


def test_ply_of_another_program(tmp_path: Path):
    """Doubles, an alpha and a normal between, a comment, faces after the points."""
    header = (
        "ply\r\nformat binary_little_endian 1.0\r\ncomment made elsewhere\r\nelement vertex 2\r\n"
        "property double x\r\nproperty double y\r\nproperty double z\r\nproperty float nx\r\n"
        "property uchar red\r\nproperty uchar green\r\nproperty uchar blue\r\nproperty uchar alpha\r\n"
        "element face 1\r\nproperty list uchar int vertex_indices\r\nend_header\r\n"
    )
    body = struct.pack("<3df4B", 1, 2, 3, 9, 10, 20, 30, 255) + struct.pack("<3df4B", 4, 5, 6, 9, 40, 50, 60, 255)
    (tmp_path / "a.ply").write_bytes(header.encode() + body + struct.pack("<B3i", 3, 0, 1, 0))
    points, colors = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(points, np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    assert colors is not None
    np.testing.assert_array_equal(colors, [[10, 20, 30], [40, 50, 60]])


def test_ply_broken(tmp_path: Path):
    content = write_ply(tmp_path / "a.ply", POINTS, COLORS).read_bytes()
    broken = {
        "every cut": [content[:length] for length in range(len(content))],
        "over-long": [content + b"x"],
        "ascii": [content.replace(b"binary_little_endian", b"ascii")],
        "another file": [b"\x89PNG\r\n\x1a\n"],
        "no z": [content.replace(b"float z", b"float w")],
        "odd counts": [content.replace(b"vertex 7", b"vertex " + count) for count in (b"\xb2", b"9" * 5000, b"-1")],
        "unknown type": [content.replace(b"float z", b"quad z")],
    }
    for what, contents in broken.items():
        for bad in contents:
            (tmp_path / "b.ply").write_bytes(bad)
            with pytest.raises(UserError, match=r"b\.ply") as error:
                read_ply(tmp_path / "b.ply")
            assert "\n" not in str(error.value), what
