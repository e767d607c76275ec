"""Procedural scenes: is the ground truth true, and does a scene depend on nothing but its seed and index?"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leadline import UserError
from leadline.data import open_data
from leadline.data.procedural import SceneConfig, render_motion, render_stereo
from leadline.data.procedural.motion import draw_motion, flow_at, moved_from
from leadline.data.procedural.scene import FIELDS, Layers
from leadline.data.procedural.worlds import world_of

# A camera without faults, so that both views show the same colours.
FAULTLESS = {
    "reflections": 0.0, "photometric": 0.0, "blur": 0.0, "noise": 0.0, "vignetting": 0.0, "misalignment": 0.0,
    "low_light": 0.0, "greyscale": 0.0,
}  # fmt: skip
CLEAN = SceneConfig(**FAULTLESS)


def warp(image: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """image at (x + u, y + v), by torch's own sampler."""
    h, w = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    grid = torch.stack([2 * (x + u) / (w - 1) - 1, 2 * (y + v) / (h - 1) - 1], -1)
    return F.grid_sample(image, grid, align_corners=True, padding_mode="border")


@pytest.mark.parametrize(
    "layout",
    [
        {"room": 1.0, "street": 0.0},
        {"room": 0.0, "street": 1.0},
        {"room": 0.0, "street": 0.0},
        {"furnished": 1.0},
        {"outdoors": 1.0},
    ],
    ids=str,
)
def test_right_view_at_x_minus_disparity_shows_the_left_view(layout):
    batch = render_stereo(3, range(6), (96, 192), SceneConfig(**FAULTLESS, **layout, textureless=0.0))
    warped = warp(batch.right, -batch.disparity[:, 0], torch.zeros_like(batch.disparity[:, 0]))
    error = (warped - batch.left).abs().mean(1, keepdim=True)
    seen = ~batch.occluded
    assert error[seen].median() < 0.004
    assert error[seen].mean() < 0.015  # outlines are mixed with what lies behind, differently in each view
    # The test could not fail if wrong disparities fitted as well:
    shifted = warp(batch.right, -batch.disparity[:, 0] - 1, torch.zeros_like(batch.disparity[:, 0]))
    assert (shifted - batch.left).abs().mean(1, keepdim=True)[seen].mean() > 2 * error[seen].mean()


@pytest.mark.parametrize("worlds", [{}, {"furnished": 1.0}, {"outdoors": 1.0}], ids=str)
def test_occlusion_agrees_with_a_forward_splat(worlds):
    batch = render_stereo(5, range(4), (64, 160), replace(CLEAN, **worlds))
    agreement = []
    for disparity, occluded in zip(batch.disparity[:, 0].numpy(), batch.occluded[:, 0].numpy(), strict=True):
        h, w = disparity.shape
        for y in range(0, h, 7):
            nearest = np.full(w, -np.inf)  # per column of the right view, the largest disparity that lands there
            column = np.round(np.arange(w) - disparity[y]).astype(int)
            inside = (column >= 0) & (column < w)
            np.maximum.at(nearest, column[inside], disparity[y][inside])
            hidden = ~inside
            hidden[inside] = nearest[column[inside]] > disparity[y][inside] + 1.5
            agreement.append((hidden == occluded[y]).mean())
    assert np.mean(agreement) > 0.97


def test_rooms_and_streets_stand_among_layers_where_their_number_says_and_within_the_range():
    mixed = SceneConfig(furnished=0.3, outdoors=0.4, max_disparity=40)
    together = render_stereo(2, range(8), (48, 96), mixed)
    worlds = [world_of(2, i, mixed) for i in range(8)]
    assert set(worlds) == {"room", "street", None}
    for i, world in enumerate(worlds):
        alike = replace(mixed, furnished=float(world == "room"), outdoors=float(world == "street"))
        alone = render_stereo(2, [i], (48, 96), alike)
        torch.testing.assert_close(together.disparity[i : i + 1], alone.disparity)
        torch.testing.assert_close(together.right[i : i + 1], alone.right)
    assert together.disparity.min() > 0
    assert together.disparity.max() <= 40


def test_shares_of_rooms_and_streets_above_all_scenes_are_refused():
    with pytest.raises(UserError, match=r"furnished \(0.7\) and outdoors \(0.5\)"):
        SceneConfig(furnished=0.7, outdoors=0.5)


def test_scene_depends_on_seed_and_index_alone():
    together = render_stereo(7, [0, 1, 2, 3], (48, 96))
    alone = render_stereo(7, [2], (48, 96))
    for name in ("left", "right", "disparity", "occluded"):
        assert torch.equal(getattr(together, name)[2:3], getattr(alone, name)), name
    other = render_stereo(8, [2], (48, 96))
    assert not torch.equal(other.left, alone.left)


def test_one_batched_pass_equals_scene_by_scene(monkeypatch):
    alone = render_stereo(7, range(5), (48, 96))
    monkeypatch.setattr("leadline.data.procedural.render.CPU_CHUNK", 5)  # as a GPU renders them
    together = render_stereo(7, range(5), (48, 96))
    torch.testing.assert_close(together.left, alone.left, atol=2e-3, rtol=0)
    torch.testing.assert_close(together.right, alone.right, atol=2e-3, rtol=0)
    assert (together.disparity - alone.disparity).abs().gt(1e-3).float().mean() < 1e-3


def test_disparities_stay_in_range_and_reach_far():
    config = SceneConfig(max_disparity=64)
    disparity = render_stereo(1, range(24), (96, 320), config).disparity
    assert disparity.min() > 0
    assert disparity.max() <= 64 * 1.1
    assert disparity.flatten(1).amax(1).max() > 40
    assert disparity.flatten(1).amax(1).min() < 20  # tunnels and table tops both occur


@pytest.mark.parametrize("world", [{}, {"furnished": 1.0}, {"outdoors": 1.0}])
def test_scenes_can_be_asked_to_begin_nearer(world):
    far, near = (
        render_stereo(1, range(6), (96, 320), SceneConfig(max_disparity=100, min_nearest=least, **world)).disparity
        for least in (10.0, 50.0)
    )
    shown = near.flatten(1).quantile(0.98, 1)  # half the limit, unless what is drawn nearest lies outside the view
    assert shown.median() > 40
    assert shown.median() > far.flatten(1).quantile(0.98, 1).median()


@pytest.mark.parametrize(
    "fault", ["photometric", "blur", "noise", "vignetting", "misalignment", "greyscale", "low_light", "reflections"]
)
def test_each_camera_fault_changes_the_images_and_not_the_truth(fault):
    clean = render_stereo(2, range(4), (48, 96), CLEAN)
    faulty = render_stereo(2, range(4), (48, 96), SceneConfig(**{**FAULTLESS, fault: 1.0}))
    assert torch.equal(clean.disparity, faulty.disparity)
    assert (clean.right - faulty.right).abs().max() > 0.01
    if fault == "greyscale":
        assert (faulty.left[:, 0] - faulty.left[:, 2]).abs().max() < 1e-4


def test_flow_carries_the_first_frame_into_the_last():
    batch = render_motion(4, range(4), (96, 160), SceneConfig(**FAULTLESS, textureless=0.0))
    first, last = batch.frames
    seen = ~batch.occluded
    error = (warp(last, batch.flow[:, 0], batch.flow[:, 1]) - first).abs().mean(1, keepdim=True)
    still = (last - first).abs().mean(1, keepdim=True)
    assert error[seen].median() < 0.006
    assert error[seen].mean() < 0.25 * still[seen].mean()


def test_middle_frame_of_a_triplet_is_half_way():
    config = SceneConfig(**FAULTLESS, textureless=0.0, moving_camera=0.0)  # what a camera sees is not linear in time
    triplet = render_motion(4, range(4), (96, 160), config, times=(0.5, 1.0))
    half = render_motion(4, range(4), (96, 160), config, times=(0.5,))
    torch.testing.assert_close(half.flow, triplet.flow / 2)
    torch.testing.assert_close(triplet.frames[1], half.frames[1])


def test_moving_camera_shows_what_the_depths_of_planes_imply():
    """Fronto-parallel and slanted planes under a known rotation and translation, against points moved one by one."""
    size, rng = (60, 80), np.random.default_rng(1)
    layers = np.zeros((2, len(FIELDS)), np.float32)
    plane = {
        "cx": [30.0, 50.0],
        "cy": [20.0, 45.0],
        "d0": [4.0, 9.0],
        "a": [0.0, 0.05],
        "b": [0.0, -0.03],
        "tile": [-1, -1],
    }
    for name, values in plane.items():
        layers[:, FIELDS.index(name)] = values
    moved = draw_motion(rng, layers, size, SceneConfig(moving_camera=1.0, slow=0.0))
    # The same draws, in the same order.
    rng = np.random.default_rng(1)
    rng.random(2)
    focal = rng.uniform(0.6, 1.4) * 80
    yaw, pitch = rng.normal(0, 0.03 * 80) / focal, rng.normal(0, 0.02 * 80) / focal
    roll = rng.normal(0, 0.03)
    shapes = list(zip(*(plane[key] for key in ("cx", "cy", "d0", "a", "b")), strict=True))
    corners = [d + a * (x - cx) + b * (y - cy) for cx, cy, d, a, b in shapes for x in (0, 80) for y in (0, 60)]
    nearest = np.abs(corners).max()
    tx, ty = rng.normal(0, 0.10 * 80) / nearest, rng.normal(0, 0.03 * 80) / nearest
    tz = -rng.uniform(0, 0.5) * rng.choice([1.0, 1.0, 1.0, -0.6, 0.0]) * focal / nearest
    turn = np.array([[1, -roll, yaw], [roll, 1, -pitch], [-yaw, pitch, 1]])  # of small angles, as H is linear in them
    bank = Layers([moved], "cpu")
    for layer in (0, 1):
        x, y = 17.0, 33.0
        cx, cy = plane["cx"][layer], plane["cy"][layer]
        disparity = plane["d0"][layer] + plane["a"][layer] * (x - cx) + plane["b"][layer] * (y - cy)
        point = np.array([(x - 40) / focal, (y - 30) / focal, 1]) * focal / disparity
        there = turn @ point + [tx, ty, tz]
        expected = focal * there[:2] / there[2] + [40, 30] - [x, y]
        front = torch.full((1, 1, 1), layer)
        found = flow_at(bank, front, 1.0, torch.full((1, 1, 1), x - cx), torch.full((1, 1, 1), y - cy))
        np.testing.assert_allclose([float(f) for f in found], expected, atol=1e-3)
        # and back again
        there_x, there_y = torch.full((1, 1, 1), x - cx) + found[0], torch.full((1, 1, 1), y - cy) + found[1]
        back = moved_from(partial(bank.of, front), 1.0, there_x, there_y)
        np.testing.assert_allclose([float(v) for v in back], [x - cx, y - cy], atol=1e-2)


def test_slow_scenes_move_less_and_look_the_same():
    fast = render_motion(9, range(4), (64, 96), SceneConfig(**FAULTLESS, slow=0.0))
    slow = render_motion(9, range(4), (64, 96), SceneConfig(**FAULTLESS, slow=1.0))
    assert torch.equal(fast.frames[0], slow.frames[0])
    assert slow.flow.abs().mean() < 0.7 * fast.flow.abs().mean()


def test_as_data_set():
    data = open_data("procedural:3,seed=5,size=64x128")
    assert len(data) == 3
    sample = data[2]
    assert sample.images[0].shape == (64, 128, 3)
    assert sample.images[0].dtype == np.uint8
    assert sample.valid is not None
    assert sample.valid.all()
    assert len({s.name for s in data}) == 3


@pytest.mark.parametrize("spec", ["0", "x", "9" * 30, "3,size=8x8", "3,seed=a", "3,seed=" + "9" * 30, "3,sise=64x64"])
def test_bad_specs_are_refused(spec):
    with pytest.raises(UserError):
        open_data(f"procedural:{spec}")


def test_bad_scene_options_are_refused():
    with pytest.raises(UserError, match="probability"):
        SceneConfig(noise=1.5)
    with pytest.raises(UserError, match="max_disparity"):
        SceneConfig(max_disparity=0.0)
    with pytest.raises(UserError, match="min_nearest"):
        SceneConfig(min_nearest=0.0)
