"""Colour maps: order, range, unknown pixels, and the 8-bit views of images."""

import matplotlib
import numpy as np

from leadline.colors import color_disparity, color_error, to_grey8, to_rgb8, to_uint8


def test_disparity_colours_are_turbo():
    ramp = np.linspace(0, 64, 256, dtype=np.float32)[None]
    expected = matplotlib.colormaps["turbo"](np.arange(256), bytes=True)[:, :3]
    got = color_disparity(ramp, max_disparity=64.0)[0]
    assert np.abs(got.astype(int) - expected).max() <= 2


def test_error_colours_are_plasma():
    ramp = np.linspace(0, -5, 256, dtype=np.float32)[None]  # a signed error counts by its size
    expected = matplotlib.colormaps["plasma"](np.arange(256), bytes=True)[:, :3]
    assert np.abs(color_error(ramp)[0].astype(int) - expected).max() <= 3


def test_unknown_pixels_have_their_own_colour():
    values = np.array([[1.0, np.nan, np.inf, 2.0]], np.float32)
    valid = np.array([[True, True, True, False]])
    assert color_disparity(values, valid)[0, 1:].tolist() == [[0] * 3] * 3
    assert color_error(values, valid)[0, 1:].tolist() == [[128] * 3] * 3
    assert color_disparity(np.zeros((2, 2), np.float32), np.zeros((2, 2), bool)).max() == 0


def test_a_constant_zero_and_a_wild_value_do_no_harm():
    assert color_disparity(np.zeros((3, 3), np.float32)).shape == (3, 3, 3)
    values = np.tile(np.linspace(0, 10, 1000, dtype=np.float32), (2, 1))
    calm = color_disparity(values)
    values[0, 500] = 1e6
    assert np.abs(color_disparity(values)[1].astype(int) - calm[1]).max() < 12


def test_images_of_any_kind_in_8_bits():
    assert to_uint8(np.array([[0, 257, 65535, 128]], np.uint16)).tolist() == [[0, 1, 255, 0]]
    grey = np.array([[7, 9]], np.uint8)
    assert to_rgb8(grey).tolist() == [[[7] * 3, [9] * 3]]
    assert to_grey8(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).tolist() == [[76, 29]]  # 0.299 R, 0.114 B
