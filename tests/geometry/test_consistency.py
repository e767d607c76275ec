"""The left-right check and the background fill against scenes whose answer is known."""

import numpy as np
import pytest

from leadline.geometry.consistency import confidence, consistent, fill_background, left_right_difference


def test_views_of_a_plane_agree_wherever_the_match_is_inside():
    x = np.arange(40.0)
    left = np.tile(2 + 0.1 * x, (3, 1)).astype(np.float32)  # x_right = 0.9 x - 2
    right = np.tile((x + 2) / 0.9 - x, (3, 1)).astype(np.float32)
    difference = left_right_difference(left, right)
    inside = 0.9 * x - 2 >= 0
    np.testing.assert_allclose(difference[:, inside], 0, atol=1e-5)
    assert np.isinf(difference[:, ~inside]).all()


def test_a_box_hides_the_background_at_its_left():
    """Background at 2 px, a box at 6 px over columns 20..29: the left view sees 4 columns more at the box's left."""
    left = np.full((1, 50), 2.0, np.float32)
    left[:, 20:30] = 6
    right = np.full((1, 50), 2.0, np.float32)
    right[:, 14:24] = 6
    failed = np.flatnonzero(~consistent(left, right)[0])
    assert failed.tolist() == [0, 1, 16, 17, 18, 19]  # outside the right view, and hidden by the box


def test_difference_is_infinite_where_either_disparity_is_not_finite():
    left = np.array([[0.0, np.nan, 0.0, 0.0]], np.float32)
    right = np.array([[0.0, 0.0, np.inf, 0.5]], np.float32)
    np.testing.assert_array_equal(left_right_difference(left, right), [[0, np.inf, np.inf, 0.5]])


def test_confidence_falls_from_one_to_zero():
    values = confidence(np.array([[0.0, 1.0, 2.0, np.inf]], np.float32))
    assert values[0].tolist() == pytest.approx([1, 1 / np.e, 1 / np.e**2, 0])


def test_fill_takes_the_smaller_neighbour_in_the_row():
    disparity = np.array([[9.0, 5, 0, 0, 8, 0, 3, 0]], np.float32)
    valid = np.array([[False, True, False, False, True, False, True, False]])
    assert fill_background(disparity, valid).tolist() == [[5, 5, 5, 5, 8, 3, 3, 3]]


def test_fill_of_empty_rows_comes_from_the_rows_around():
    disparity = np.array([[9.0, 9], [4, 4], [9, 9], [9, 9]], np.float32)
    valid = np.array([[False, False], [True, False], [False, False], [False, False]])
    assert fill_background(disparity, valid).tolist() == [[4, 4]] * 4
    assert fill_background(disparity, np.zeros((4, 2), bool)).tolist() == [[0, 0]] * 4
    unknown = np.full((1, 2), np.nan, np.float32)
    assert fill_background(unknown, np.array([[False, False]])).tolist() == [[0, 0]]
