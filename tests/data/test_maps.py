"""PFM, KITTI PNG, .flo, depth PNG, npy and npz: against OpenCV and hand-made bytes, and round trips."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from shared import shared_data

from leadline.data.formats.arrays import read_array, write_array
from leadline.data.formats.depth_png import read_depth_png, write_depth_png
from leadline.data.formats.disparity import read_disparity, split_valid, write_disparity
from leadline.data.formats.flo import read_flo, write_flo
from leadline.data.formats.images import write_image
from leadline.data.formats.kitti import read_kitti_disparity, read_kitti_flow, write_kitti_disparity, write_kitti_flow
from leadline.data.formats.pfm import read_pfm, write_pfm
from leadline.errors import UserError

RNG = np.random.default_rng(1)
ONE = RNG.normal(50, 10, (5, 7)).astype(np.float32)
THREE = RNG.normal(0, 10, (5, 7, 3)).astype(np.float32)


# PFM


@pytest.mark.parametrize("order", ["<", ">"])
def test_pfm_from_bytes(tmp_path: Path, order: str):
    """Two rows, the lower first, both byte orders, a scale that is no unit."""
    path = tmp_path / "a.pfm"
    scale = b"-2.5" if order == "<" else b"2.5"
    path.write_bytes(b"Pf\n3 2\n" + scale + b"\n" + struct.pack(order + "6f", 4, 5, 6, 1, 2, 3))
    values, found_scale = read_pfm(path)
    np.testing.assert_array_equal(values, np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    assert found_scale == 2.5


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("values", [ONE, THREE])
def test_pfm_round_trip(tmp_path: Path, values: np.ndarray, big_endian: bool):
    values = values.copy()
    values[0, 0], values[1, 1] = np.inf, np.nan
    found, scale = read_pfm(write_pfm(tmp_path / "a.pfm", values, scale=0.25, big_endian=big_endian))
    np.testing.assert_array_equal(found, values)
    assert scale == 0.25
    assert found.dtype.isnative


def test_opencv_reads_what_is_written(tmp_path: Path):
    write_pfm(tmp_path / "a.pfm", ONE)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED), ONE)


def test_opencv_agrees_on_a_real_pfm():
    path = shared_data("native", "middlebury_style", "playground", "disp0.pfm")
    np.testing.assert_array_equal(read_pfm(path)[0], cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize("header", [b"Pf\n3 2\n0\n", b"Pf\n3 2\n1e\n", b"Pf\n0 2\n-1\n", b"Pf\n3\n-1.0\n", b"Pf"])
def test_pfm_damaged_header(tmp_path: Path, header: bytes):
    (tmp_path / "a.pfm").write_bytes(header + b"x" * 24)
    with pytest.raises(UserError, match=r"a\.pfm"):
        read_pfm(tmp_path / "a.pfm")


# KITTI


def test_kitti_disparity_encoding(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, 1, 256, 65535]], np.uint16))
    disparity, valid = read_kitti_disparity(tmp_path / "a.png")
    np.testing.assert_array_equal(disparity, np.array([[0, 1 / 256, 1, 65535 / 256]], np.float32))
    np.testing.assert_array_equal(valid, [[False, True, True, True]])


def test_kitti_disparity_round_trip(tmp_path: Path):
    stored = RNG.integers(0, 65536, (9, 11))
    disparity = (stored / 256).astype(np.float32)
    found, valid = read_kitti_disparity(write_kitti_disparity(tmp_path / "a.png", disparity))
    np.testing.assert_array_equal(found, disparity)
    np.testing.assert_array_equal(valid, stored > 0)


def test_kitti_disparity_limits(tmp_path: Path):
    tiny = write_kitti_disparity(tmp_path / "a.png", np.array([[1e-4, np.nan]], np.float32))
    np.testing.assert_array_equal(cv2.imread(str(tiny), cv2.IMREAD_UNCHANGED), [[1, 0]])
    with pytest.raises(UserError, match=r"256\.0 px does not fit"):
        write_kitti_disparity(tmp_path / "b.png", np.array([[256.0]], np.float32))
    assert not (tmp_path / "b.png").exists()
    write_kitti_disparity(tmp_path / "c.png", np.array([[300.0, 1.0]], np.float32), np.array([[False, True]]))


def test_kitti_flow_encoding(tmp_path: Path):
    rgb = np.array([[[32768 + 64, 32768 - 32, 1], [0, 0, 0], [65535, 0, 1]]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), rgb[:, :, ::-1])
    flow, valid = read_kitti_flow(tmp_path / "a.png")
    np.testing.assert_array_equal(flow, np.array([[[1, -0.5], [0, 0], [32767 / 64, -512]]], np.float32))
    np.testing.assert_array_equal(valid, [[True, False, True]])
    write_kitti_flow(tmp_path / "b.png", flow, valid)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)[:, :, ::-1], rgb)


def test_kitti_flow_of_a_real_file_round_trips(tmp_path: Path):
    path = shared_data("native", "kitti2015", "training", "flow_occ", "000000_10.png")
    flow, valid = read_kitti_flow(path)
    assert 0.05 < valid.mean() < 0.5
    again, valid_again = read_kitti_flow(write_kitti_flow(tmp_path / "a.png", flow, valid))
    np.testing.assert_array_equal(again, flow)
    np.testing.assert_array_equal(valid_again, valid)


def test_kitti_flow_beyond_its_range(tmp_path: Path):
    with pytest.raises(UserError, match="does not fit"):
        write_kitti_flow(tmp_path / "a.png", np.full((1, 1, 2), 512, np.float32))


@pytest.mark.parametrize("read", [read_kitti_disparity, lambda path: read_depth_png(path, 1000.0)])
@pytest.mark.parametrize("image", [np.ones((3, 4), np.uint8), np.ones((3, 4, 3), np.uint16)])
def test_wrong_type_or_channels(tmp_path: Path, image: np.ndarray, read: Callable):
    write_image(tmp_path / "a.png", image)
    with pytest.raises(UserError, match="16-bit grey"):
        read(tmp_path / "a.png")


def test_kitti_flow_of_wrong_type(tmp_path: Path):
    write_image(tmp_path / "a.png", np.ones((3, 4), np.uint16))
    with pytest.raises(UserError, match="16-bit RGB"):
        read_kitti_flow(tmp_path / "a.png")


# .flo


def test_flo_agrees_with_opencv(tmp_path: Path):
    flow = np.ascontiguousarray(THREE[:, :, :2])
    cv2.writeOpticalFlow(str(tmp_path / "a.flo"), flow)
    found, valid = read_flo(tmp_path / "a.flo")
    np.testing.assert_array_equal(found, flow)
    assert valid.all()
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(write_flo(tmp_path / "b.flo", flow))), flow)


def test_flo_unknown(tmp_path: Path):
    flow = np.ones((2, 3, 2), np.float32)
    flow[0, 1] = np.nan
    flow[1, 2, 0] = 2e9
    found, valid = read_flo(write_flo(tmp_path / "a.flo", flow))
    np.testing.assert_array_equal(valid, [[True, False, True], [True, True, False]])
    assert found[~valid].max() == 0
    assert (tmp_path / "a.flo").read_bytes()[:4] == struct.pack("<f", 202021.25)


# depth


def test_depth_png(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, 5000, 2500]], np.uint16))
    depth, valid = read_depth_png(tmp_path / "a.png", scale=5000.0)
    np.testing.assert_array_equal(depth, np.array([[0, 1, 0.5]], np.float32))
    np.testing.assert_array_equal(valid, [[False, True, True]])


def test_depth_png_round_trip_and_limits(tmp_path: Path):
    depth = (np.arange(65536).reshape(256, 256) / 1000).astype(np.float32)
    found, valid = read_depth_png(write_depth_png(tmp_path / "a.png", depth), scale=1000.0)
    np.testing.assert_array_equal(found, depth)
    assert valid.sum() == 65535
    far = np.array([[70.0, np.inf, -1.0, 2.0]], np.float32)
    stored = cv2.imread(str(write_depth_png(tmp_path / "b.png", far)), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, [[0, 0, 0, 2000]])


# arrays and any disparity


def test_arrays_round_trip(tmp_path: Path):
    np.testing.assert_array_equal(read_array(write_array(tmp_path / "a.npy", x=THREE)), THREE)
    path = write_array(tmp_path / "a.npz", x=ONE, y=THREE)
    np.testing.assert_array_equal(read_array(path, "y"), THREE)
    np.testing.assert_array_equal(np.load(path)["x"], ONE)
    with pytest.raises(UserError, match="holds x, y: name the key"):
        read_array(path)
    with pytest.raises(UserError, match="unknown key 'z'"):
        read_array(path, "z")


def test_pickles_are_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([{"code": "runs"}], dtype=object))
    with pytest.raises(UserError, match="not a plain array"):
        read_array(tmp_path / "a.npy")


def test_damage_within_an_archive_is_told(tmp_path: Path):
    """Deflate's own errors, and an archive with a password."""
    values = np.random.default_rng(0).normal(size=(20, 20))
    content = write_array(tmp_path / "a.npz", disparity=values).read_bytes()
    directory = content.rfind(b"PK\x01\x02")
    damaged = [content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :] for at in range(80, directory, 50)]
    locked = bytearray(content)
    locked[6] |= 1
    locked[directory + 8] |= 1
    for bad in (*damaged, bytes(locked)):
        (tmp_path / "b.npz").write_bytes(bad)
        with pytest.raises(UserError, match=r"b\.npz") as error:
            read_array(tmp_path / "b.npz")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("header", ["'shape': (100000000000000,), }", "'shape': (((((, }"])
def test_an_array_with_a_damaged_header_is_told(tmp_path: Path, header: str):
    text = f"{{'descr': '<f4', 'fortran_order': False, {header}".ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + text.encode() + bytes(8))
    with pytest.raises(UserError, match=r"a\.npy: damaged"):
        read_array(tmp_path / "a.npy")


def test_split_valid():
    stored = np.array([[0.0, -1.0, np.nan, np.inf, -np.inf, 1e10, 0.5]])
    disparity, valid = split_valid(stored)
    np.testing.assert_array_equal(valid, [[False] * 6 + [True]])
    np.testing.assert_array_equal(disparity, np.array([[0, 0, 0, 0, 0, 0, 0.5]], np.float32))


@pytest.mark.parametrize("suffix", [".pfm", ".png", ".npy", ".npz"])
def test_any_disparity_round_trip(tmp_path: Path, suffix: str):
    disparity = (RNG.integers(1, 50000, (5, 6)) / 256).astype(np.float32)
    valid = RNG.random((5, 6)) > 0.3
    found, found_valid = read_disparity(write_disparity(tmp_path / f"a{suffix}", disparity, valid))
    np.testing.assert_array_equal(found_valid, valid)
    np.testing.assert_array_equal(found, np.where(valid, disparity, 0))


def test_npz_of_several_arrays_gives_its_disparity(tmp_path: Path):
    np.savez(tmp_path / "a.npz", disparity=ONE, other=THREE)
    np.testing.assert_array_equal(read_disparity(tmp_path / "a.npz")[0], ONE)


def test_a_map_of_three_channels_is_no_disparity(tmp_path: Path):
    write_pfm(tmp_path / "a.pfm", THREE)
    with pytest.raises(UserError, match=r"a\.pfm: holds float32"):
        read_disparity(tmp_path / "a.pfm")


# broken files of every kind

WHOLE: dict[str, Callable[[Path], Path]] = {
    ".pfm": lambda path: write_pfm(path, ONE),
    ".flo": lambda path: write_flo(path, np.ones((2, 3, 2), np.float32)),
    ".npy": lambda path: write_array(path, x=ONE),
    ".npz": lambda path: write_array(path, x=ONE),
    ".png": lambda path: write_kitti_disparity(path, np.abs(ONE)),
}
READ: dict[str, Callable] = {
    ".pfm": read_pfm,
    ".flo": read_flo,
    ".npy": read_array,
    ".npz": read_array,
    ".png": read_kitti_disparity,
}


@pytest.mark.parametrize("suffix", WHOLE)
def test_no_truncation_passes(tmp_path: Path, suffix: str):
    content = WHOLE[suffix](tmp_path / f"whole{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(UserError, match=f"cut{suffix}") as error:
            READ[suffix](cut)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".pfm", ".flo", ".npy", ".png"])
def test_over_long_is_refused(tmp_path: Path, suffix: str):
    path = WHOLE[suffix](tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match="1 bytes too long"):
        READ[suffix](path)


@pytest.mark.parametrize("suffix", [".pfm", ".flo", ".npy"])
def test_mislabelled_is_told(tmp_path: Path, suffix: str):
    path = WHOLE[".png"](tmp_path / "a.png").rename(tmp_path / f"a{suffix}")
    with pytest.raises(UserError, match=rf"a{suffix}: is a PNG image, not a"):
        READ[suffix](path)


def test_unwritable_place(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        write_pfm(tmp_path / "file" / "a.pfm", ONE)
