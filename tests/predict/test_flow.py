"""Classical flow, the forward-backward check, and depth from motion with any flow predictor."""

import cv2
import numpy as np
import pytest

import leadline
from leadline.classical_flow import ClassicalFlow
from leadline.errors import UserError
from leadline.geometry.consistency import forward_backward_difference, forward_backward_limit
from leadline.geometry.motion import Motion, PinholeCamera, flow_of_motion
from leadline.models.network import Task
from leadline.predict import Predictor, predict_flow_checked, predict_motion_depth


def textured(height=96, width=160, seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


class Known(Predictor):
    """Answers with flows that it was given, whatever the frames."""

    task, name = Task.FLOW, "known"

    def __init__(self, forward, backward):
        self.answers = [forward, backward]

    def _predict(self, *images, **options):
        return self.answers.pop(0)


@pytest.mark.parametrize("name", ClassicalFlow.NAMES)
@pytest.mark.parametrize("kind", ["grey", "rgb", "16 bit"])
def test_a_shift_is_its_flow(name, kind):
    wide = textured(width=180)
    frames = [wide[:, 10:170], wide[:, 7:167]]  # what was at x is at x + 3
    if kind == "rgb":
        frames = [np.repeat(f[..., None], 3, 2) for f in frames]
    elif kind == "16 bit":
        frames = [f.astype(np.uint16) * 257 for f in frames]
    flow = leadline.load(name).predict(*(np.ascontiguousarray(f) for f in frames))
    assert flow.shape == (96, 160, 2)
    assert flow.dtype == np.float32
    error = np.hypot(flow[..., 0] - 3, flow[..., 1])[12:-12, 12:-12]
    assert error.mean() < 0.15


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (33, 8)])
@pytest.mark.parametrize("name", ClassicalFlow.NAMES)
def test_small_frames(name, size):
    frames = [np.random.default_rng(s).integers(0, 255, size, dtype=np.uint8) for s in (0, 1)]
    assert leadline.load(name).predict(*frames).shape == (*size, 2)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(UserError, match="did you mean 'dis'"):
        ClassicalFlow("diss")
    with pytest.raises(UserError, match="num_disparities is for"):
        leadline.load("dis", num_disparities=64)


def test_difference_of_exact_flows_is_zero_and_leaving_is_infinite():
    forward = np.zeros((8, 10, 2), np.float32)
    forward[..., 0] = 2.5
    difference = forward_backward_difference(forward, -forward)
    np.testing.assert_allclose(difference[:, :7], 0, atol=1e-6)
    assert np.isinf(difference[:, 7:]).all()  # 7 + 2.5 > 9


def test_difference_against_a_loop():
    rng = np.random.default_rng(0)
    forward, backward = rng.normal(0, 2, (2, 9, 11, 2)).astype(np.float32)
    found, limit = forward_backward_difference(forward, backward), forward_backward_limit(forward, backward)
    for y in range(9):
        for x in range(11):
            to_x, to_y = x + float(forward[y, x, 0]), y + float(forward[y, x, 1])
            if not (0 <= to_x <= 10 and 0 <= to_y <= 8):
                assert np.isinf(found[y, x])
                continue
            back = cv2.remap(backward, np.float32([[to_x]]), np.float32([[to_y]]), cv2.INTER_LINEAR)[0, 0]
            # cv2 interpolates in steps of 1/32 px
            assert found[y, x] == pytest.approx(np.hypot(*(forward[y, x] + back)), abs=0.2)
            squares = (forward[y, x].astype(float) ** 2).sum() + (back.astype(float) ** 2).sum()
            assert limit[y, x] == pytest.approx(np.sqrt(0.01 * squares + 0.5), abs=0.02)


def test_what_is_hidden_fails_the_check():
    """A square moves right over a still background: what it covers in frame 1 has no way back."""
    forward, backward = np.zeros((2, 20, 40, 2), np.float32)
    forward[5:15, 10:20, 0] = 6
    backward[5:15, 16:26, 0] = -6
    checked = predict_flow_checked(Known(forward, backward), *([np.zeros((20, 40), np.uint8)] * 2))
    hidden = np.zeros((20, 40), bool)
    hidden[5:15, 20:26] = True
    np.testing.assert_array_equal(checked.occluded, hidden)
    assert not checked.outside.any()


def test_only_flow_has_a_flow_back():
    with pytest.raises(UserError, match="only a flow model"):
        predict_flow_checked(leadline.load("bm"), *([np.zeros((40, 40), np.uint8)] * 2))


def test_depth_from_motion_of_a_rendered_plane():
    """A textured slanted plane seen by two cameras, warped by its homography; the flow is DIS's."""
    camera = PinholeCamera(200.0, 200.0, 79.5, 47.5)
    motion = Motion(np.eye(3), np.array([-0.2, 0.0, 0.0]))
    y, x = np.mgrid[0:96, 0:160].astype(float)
    rays = np.stack([(x - 79.5) / 200, (y - 47.5) / 200, np.ones_like(x)])
    depth = 5.0 / np.tensordot(np.array([0.2, 0.1, 1.0]), rays, 1)
    k = camera.matrix()
    homography = k @ (motion.rotation + np.outer(motion.translation, [0.2, 0.1, 1.0]) / 5.0) @ np.linalg.inv(k)
    frame0 = textured()
    frame1 = cv2.warpPerspective(frame0, homography, (160, 96), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    found = predict_motion_depth(leadline.load("dis"), frame0, frame1, camera, motion)
    assert found.agreeing is None
    inner = found.depth.valid[10:-10, 20:-10]
    assert inner.mean() > 0.9
    error = np.abs(found.depth.depth / depth - 1)[10:-10, 20:-10][inner]
    assert np.median(error) < 0.02
    # and the same with the motion estimated beside a block in front, its scale told
    depth[30:60, 60:100] = 3.0
    flow = flow_of_motion(depth, camera, motion)
    back = -flow
    estimated = predict_motion_depth(Known(flow, back), frame0, frame1, camera, distance=0.2)
    assert estimated.motion.is_metric
    assert estimated.agreeing > 0.9
    ok = estimated.depth.valid
    assert np.median(np.abs(estimated.depth.depth / depth - 1)[ok]) < 0.02


def test_the_flow_of_an_interpolation_network(tmp_path):
    """A network whose middle-frame flow is that of a scene which zooms evenly about its centre."""
    import torch

    from leadline.predict.middle_flow import MiddleFlow, from_the_middle

    y, x = torch.meshgrid(torch.arange(40.0) - 20, torch.arange(60.0) - 30, indexing="ij")
    # x1 = 1.2 x0, evenly: at the middle a point is at 1.1 x0, so m(xm) = 0.2 xm / 1.1
    motion = torch.stack([x, y])[None] * 0.2 / 1.1
    expected = torch.stack([x, y])[None] * 0.2
    inner = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(from_the_middle(motion)[inner], expected[inner], atol=0.01, rtol=0)

    network = leadline.create("rife", teacher=False)
    leadline.save(network, tmp_path / "r.safetensors")
    predictor = leadline.load(f"{tmp_path / 'r.safetensors'}:flow")
    assert predictor.task is Task.FLOW
    assert predictor.name == "rife:flow"
    frames = [np.random.default_rng(s).integers(0, 255, (40, 50, 3), dtype=np.uint8) for s in (0, 1)]
    assert predictor.predict(*frames).shape == (40, 50, 2)
    with pytest.raises(UserError, match="only interpolation networks"):
        MiddleFlow(leadline.create("plummet-s"))
