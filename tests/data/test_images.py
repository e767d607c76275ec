"""Images: exact round trips, and broken files refused in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from leadline.data.formats.images import read_image, write_image
from leadline.errors import UserError

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.png", GREY8),
        ("a.png", RGB8),
        ("a.png", GREY16),
        ("a.png", RGB16),
        ("a.ppm", RGB8),
        ("a.ppm", RGB16),
        ("a.pgm", GREY8),
        ("a.pgm", GREY16),
        ("a.bmp", RGB8),
        ("a.bmp", GREY8),
        ("a.tiff", RGB16),
        ("a.tif", GREY8),
    ],
)
def test_lossless_round_trip(tmp_path: Path, name: str, image: np.ndarray):
    found = read_image(write_image(tmp_path / name, image))
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found, image)


def test_channels_are_rgb(tmp_path: Path):
    (tmp_path / "a.ppm").write_bytes(b"P6\n# made by hand\n2 1\n255\n" + bytes([255, 0, 0, 0, 0, 255]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.ppm"), np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8))


def test_alpha_is_dropped(tmp_path: Path):
    bgra = np.dstack([RGB8[:, :, ::-1], GREY8])
    cv2.imwrite(str(tmp_path / "a.png"), bgra)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB8)


def test_jpeg_with_bytes_after_its_end_is_read(tmp_path: Path):
    path = write_image(tmp_path / "a.jpg", cv2.GaussianBlur(RGB8, (5, 5), 3))
    expected = read_image(path)
    path.write_bytes(path.read_bytes() + b"a camera's own block")
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".ppm", ".pgm", ".bmp", ".tiff"])
def test_no_truncation_passes(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture):
    image = GREY8 if suffix == ".pgm" else RGB8
    content = write_image(tmp_path / f"whole{suffix}", image).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for length in range(0, len(content), 7):
        cut.write_bytes(content[:length])
        with pytest.raises(UserError, match="cut") as error:
            read_image(cut)
        assert "\n" not in str(error.value)
    assert capfd.readouterr().err == "", "nothing but the error is for the user"


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp"])
def test_over_long_is_refused(tmp_path: Path, suffix: str):
    path = write_image(tmp_path / f"a{suffix}", RGB8)
    path.write_bytes(path.read_bytes() + b"xyz")
    with pytest.raises(UserError, match="3 bytes too long"):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path, capfd: pytest.CaptureFixture):
    content = bytearray(write_image(tmp_path / "a.png", RGB8).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(bytes(content))
    with pytest.raises(UserError, match="checksum"):
        read_image(tmp_path / "a.png")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size", ["99999999 99999999", "9" * 5000 + " 1"])
def test_absurd_sizes_are_told(tmp_path: Path, size: str):
    (tmp_path / "a.pgm").write_bytes(f"P5 {size} 255\n".encode())
    with pytest.raises(UserError, match=r"a\.pgm"):
        read_image(tmp_path / "a.pgm")


def test_what_is_no_image_is_named(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"Pf\n1 1\n-1.0\n\0\0\0\0")
    with pytest.raises(UserError, match=r"a\.png: is a PFM map, not an image"):
        read_image(tmp_path / "a.png")
    with pytest.raises(UserError, match="no such file"):
        read_image(tmp_path / "b.png")
    with pytest.raises(UserError, match="is a folder"):
        read_image(tmp_path)


def test_float_image_is_refused(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.ones((3, 4), np.float32))
    with pytest.raises(UserError, match="float32"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize(("name", "image"), [("a.jpg", RGB16), ("a.bmp", GREY16), ("a.gif", RGB8), ("a.pgm", RGB8)])
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, name: str, image: np.ndarray):
    with pytest.raises(UserError):
        write_image(tmp_path / name, image)
    assert list(tmp_path.iterdir()) == []
