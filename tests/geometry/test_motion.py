"""Depth from motion against planes whose images are known in closed form, and against OpenCV's triangulation."""

import cv2
import numpy as np
import pytest

from leadline.errors import UserError
from leadline.geometry.motion import (
    Motion,
    PinholeCamera,
    depth_from_motion,
    estimate_motion,
    flow_of_motion,
    rotation_from_gyro,
    rotation_matrix,
)

CAMERA = PinholeCamera(100.0, 110.0, 47.0, 31.0)
SIZE = (64, 96)
MOTIONS = [
    Motion(np.eye(3), np.array([0.3, 0.0, 0.0])),
    Motion(np.eye(3), np.array([0.0, 0.05, -0.5])),
    Motion(rotation_matrix(np.array([0.02, -0.03, 0.05])), np.array([0.2, -0.1, 0.3])),
]


def slanted_plane(normal, offset) -> np.ndarray:
    """Depth of the points with normal . X = offset."""
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(float)
    rays = np.stack([(x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy, np.ones_like(x)])
    return offset / np.tensordot(np.array(normal), rays, 1)


def homography_flow(normal, offset, motion) -> np.ndarray:
    """The flow of a plane by its homography K (R + t n' / d) K^-1: no depth in it."""
    k = CAMERA.matrix()
    h = k @ (motion.rotation + np.outer(motion.translation, normal) / offset) @ np.linalg.inv(k)
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(float)
    there = np.tensordot(h, np.stack([x, y, np.ones_like(x)]), 1)
    return np.stack([there[0] / there[2] - x, there[1] / there[2] - y], -1)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize(("normal", "offset"), [((0, 0, 1), 4.0), ((0.3, -0.2, 0.9), 3.0)])
def test_planes_have_their_depth(motion, normal, offset):
    flow = homography_flow(normal, offset, motion)
    depth = slanted_plane(normal, offset)
    np.testing.assert_allclose(flow_of_motion(depth, CAMERA, motion), flow, atol=1e-4)
    found = depth_from_motion(flow, CAMERA, motion, min_parallax=0.2)
    parallax_is_clear = found.parallax >= 0.2
    assert found.valid.mean() > 0.9
    np.testing.assert_array_equal(found.valid, parallax_is_clear)
    np.testing.assert_allclose(found.depth[found.valid], depth[found.valid], rtol=1e-4)
    assert found.residual.max() < 1e-3
    assert not found.moving.any()


def test_noise_gives_the_deviation_that_is_told():
    motion = MOTIONS[2]
    depth = slanted_plane((0.3, -0.2, 0.9), 3.0)
    exact = flow_of_motion(depth, CAMERA, motion)
    rng = np.random.default_rng(0)
    found = [
        depth_from_motion(exact + rng.normal(0, 0.1, exact.shape), CAMERA, motion, flow_error=0.1) for _ in range(60)
    ]
    everywhere = np.all([f.valid for f in found], axis=0)
    spread = np.std([f.depth for f in found], axis=0)[everywhere]
    told = np.mean([f.deviation for f in found], axis=0)[everywhere]
    assert everywhere.mean() > 0.5
    assert 0.9 < np.median(spread / told) < 1.1


def test_agrees_with_opencvs_triangulation():
    motion = MOTIONS[2]
    flow = flow_of_motion(slanted_plane((0.3, -0.2, 0.9), 3.0), CAMERA, motion)
    k = CAMERA.matrix()
    first = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), -1).reshape(-1, 2).astype(float)
    second = first + flow.reshape(-1, 2)
    one, two = k @ np.eye(3, 4), k @ np.column_stack([motion.rotation, motion.translation])
    points = cv2.triangulatePoints(one, two, first.T, second.T)
    theirs = (points[2] / points[3]).reshape(SIZE)
    ours = depth_from_motion(flow, CAMERA, motion, min_parallax=0.2)
    np.testing.assert_allclose(ours.depth[ours.valid], theirs[ours.valid], rtol=1e-3)


def test_what_moves_by_itself_is_told():
    motion = MOTIONS[0]  # along x: epipolar lines are rows
    flow = flow_of_motion(np.full(SIZE, 4.0), CAMERA, motion).astype(float)
    flow[20:30, 40:60, 1] += 5
    found = depth_from_motion(flow, CAMERA, motion)
    expected = np.zeros(SIZE, bool)
    expected[20:30, 40:60] = True
    np.testing.assert_array_equal(found.moving, expected)
    np.testing.assert_allclose(found.residual[expected], 5, atol=1e-3)
    assert not found.valid[expected].any()


def test_low_parallax_and_behind():
    motion = MOTIONS[0]
    depth = np.full(SIZE, 4.0)
    depth[:, 50:] = 1000.0  # 0.03 px of parallax
    flow = flow_of_motion(depth, CAMERA, motion).astype(float)
    flow[:, :10] *= -1  # the wrong way: would lie behind
    found = depth_from_motion(flow, CAMERA, motion)
    assert found.low_parallax[:, 50:].all()
    assert found.behind[:, :10].all()
    assert found.valid[:, 10:50].all()
    assert np.isinf(found.deviation[:, :10]).all()


def test_unknown_flow_has_no_depth():
    flow = flow_of_motion(np.full(SIZE, 4.0), CAMERA, MOTIONS[0])
    flow[5, 5] = np.nan
    valid = np.ones(SIZE, bool)
    valid[7, 7] = False
    found = depth_from_motion(flow, CAMERA, MOTIONS[0], valid)
    assert not found.valid[5, 5]
    assert not found.valid[7, 7]
    assert found.valid.sum() == flow[..., 0].size - 2


def rough_depth() -> np.ndarray:
    """Not a plane, from which a motion cannot be told."""
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    return 3 + np.sin(x / 7) + np.cos(y / 9) * (x > 48)


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_motion_is_found_up_to_scale(motion):
    flow = flow_of_motion(rough_depth(), CAMERA, motion)
    found, agreeing = estimate_motion(flow, CAMERA, threshold=0.2)
    direction = motion.translation / np.linalg.norm(motion.translation)
    assert not found.is_metric
    assert agreeing > 0.95
    np.testing.assert_allclose(found.rotation, motion.rotation, atol=3e-3)
    assert np.degrees(np.arccos(np.clip(found.translation @ direction, -1, 1))) < 2


@pytest.mark.parametrize("motion", MOTIONS)
def test_with_a_known_rotation_the_translation_is_found_among_outliers(motion):
    flow = flow_of_motion(rough_depth(), CAMERA, motion).astype(float)
    flow[10:40, 20:50] += [6, -9]  # moves by itself: a sixth of the image
    found, agreeing = estimate_motion(flow, CAMERA, rotation=motion.rotation, threshold=0.2)
    direction = motion.translation / np.linalg.norm(motion.translation)
    assert 0.7 < agreeing < 0.95
    assert np.degrees(np.arccos(np.clip(found.translation @ direction, -1, 1))) < 1


def test_gyro_rates_become_the_rotation():
    rate = np.array([0.1, -0.4, 0.25])
    times = np.arange(0, 1.001, 0.005)
    found = rotation_from_gyro(times, np.tile(rate, (len(times), 1)), 0.2033, 0.3141)
    # The camera turns by +rate, so points turn the other way.
    np.testing.assert_allclose(found, rotation_matrix(-rate * (0.3141 - 0.2033)), atol=1e-9)
    expected, _ = cv2.Rodrigues(-rate * (0.3141 - 0.2033))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_poses_become_the_motion():
    pose0, pose1 = np.eye(4), np.eye(4)
    pose1[:3, :3], pose1[:3, 3] = rotation_matrix(np.array([0, 0.1, 0])), [1.0, 2.0, 3.0]
    motion = Motion.between(pose0, pose1)
    world = np.array([0.5, -0.2, 9.0])
    np.testing.assert_allclose(
        motion.rotation @ world + motion.translation, np.linalg.inv(pose1)[:3] @ [*world, 1], atol=1e-12
    )
    assert motion.angle == pytest.approx(np.degrees(0.1))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: depth_from_motion(np.zeros((4, 4, 2)), CAMERA, Motion(np.eye(3), np.zeros(3))), "does not move"),
        (lambda: estimate_motion(np.full((20, 20, 2), np.nan), CAMERA), "too few"),
        (lambda: estimate_motion(np.zeros((20, 20, 2)), CAMERA), "nothing moves"),
        (
            lambda: estimate_motion(
                flow_of_motion(
                    rough_depth(), CAMERA, Motion(rotation_matrix(np.array([0, 0.05, 0])), np.full(3, 1e-9))
                ),
                CAMERA,
                rotation=rotation_matrix(np.array([0, 0.05, 0])),
            ),
            "only turned",
        ),
        (lambda: rotation_from_gyro(np.array([0.0, 1.0]), np.zeros((2, 3)), 0.5, 1.5), "covers 0.000000 to 1.000000"),
    ],
)
def test_what_has_no_answer_is_told(call, told):
    with pytest.raises(UserError, match=told):
        call()
