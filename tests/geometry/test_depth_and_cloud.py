"""Depth and points against closed forms and OpenCV's reprojection."""

import cv2
import numpy as np

from leadline.geometry.camera import StereoCamera
from leadline.geometry.cloud import point_cloud
from leadline.geometry.depth import depth_to_disparity, disparity_to_depth

CAMERA = StereoCamera(focal=500.0, baseline=0.1, cx=3.0, cy=2.0, doffs=5.0)


def test_depth_is_focal_times_baseline_over_shifted_disparity():
    depth, valid = disparity_to_depth(np.array([[20.0, 45.0, 0.0]], np.float32), CAMERA)
    np.testing.assert_allclose(depth, [[2.0, 1.0, 10.0]])  # 50 / (d + 5)
    assert valid.all()


def test_depth_is_unknown_behind_infinity_and_where_not_finite_or_masked():
    disparity = np.array([[-5.0, -9.0, np.nan, np.inf, 20.0, 20.0]], np.float32)
    mask = np.array([[True, True, True, True, False, True]])
    depth, valid = disparity_to_depth(disparity, CAMERA, mask)
    assert valid.tolist() == [[False, False, False, False, False, True]]
    assert depth[0, :5].tolist() == [0, 0, 0, 0, 0]


def test_depth_too_far_for_its_type_is_unknown():
    camera = StereoCamera(focal=500.0, baseline=0.1)
    depth, valid = disparity_to_depth(np.array([[1e-40, 1e-30]], np.float32), camera)
    assert valid.tolist() == [[False, True]]
    np.testing.assert_allclose(depth, [[0, 5e31]], rtol=1e-6)


def test_depth_and_disparity_are_inverse():
    disparity = np.random.default_rng(0).uniform(0.5, 200, (7, 9)).astype(np.float32)
    depth, valid = disparity_to_depth(disparity, CAMERA)
    again, _ = depth_to_disparity(depth, CAMERA, valid)
    np.testing.assert_allclose(again, disparity, rtol=1e-4)
    _, known = depth_to_disparity(np.array([[0.0, -1.0, np.nan, 2.0]], np.float32), CAMERA)
    assert known.tolist() == [[False, False, False, True]]


def test_points_are_those_of_opencv():
    rng = np.random.default_rng(1)
    disparity = rng.uniform(1, 60, (5, 8)).astype(np.float32)
    image = rng.integers(0, 256, (5, 8, 3), np.uint8)
    points, colors = point_cloud(disparity, image, CAMERA)
    # OpenCV's Q (stereoRectify): W = d / baseline + doffs / baseline
    q = np.array([[1, 0, 0, -3], [0, 1, 0, -2], [0, 0, 0, 500], [0, 0, 10, 50]], np.float64)
    np.testing.assert_allclose(points, cv2.reprojectImageTo3D(disparity, q).reshape(-1, 3), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(colors, image.reshape(-1, 3))


def test_cloud_leaves_out_far_and_invalid_points_and_centres_itself():
    camera = StereoCamera(focal=100.0, baseline=1.0)
    disparity = np.array([[10.0, 10.0, 1.0], [10.0, 10.0, 10.0]], np.float32)
    valid = np.array([[True, True, True], [True, False, True]])
    grey16 = np.array([[0, 257, 514], [65535, 1, 2]], np.uint16)
    points, colors = point_cloud(disparity, grey16, camera, valid, max_depth=50.0)
    np.testing.assert_allclose(points[0], [-0.1, -0.05, 10])  # (0 - 1) * 10 / 100, (0 - 0.5) * 10 / 100
    assert colors.tolist() == [[0] * 3, [1] * 3, [255] * 3, [0] * 3]  # the third and fifth pixel are left out
