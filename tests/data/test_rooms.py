"""Procedural rooms: depth against ray marching, views against each other, and the same room whatever the batch."""

import dataclasses

import numpy as np
import pytest
import torch

from leadline.data.procedural.bank import load_bank
from leadline.data.procedural.raycast import Solids, ray_grid, render_rooms
from leadline.data.procedural.rooms import ELLIPSOID, Room, RoomConfig, draw_room
from leadline.errors import UserError
from leadline.nn.reproject import project, reproject

SIZE = (48, 64)
CLEAN = RoomConfig(blur=0, noise=0, vignetting=0, photometric=0, greyscale=0, low_light=0)


def _room(seed: int, index: int, config: RoomConfig) -> Room:
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    return draw_room(rng, config, load_bank("cpu"), SIZE[0] / SIZE[1])


def _solid_at(room: Room, points: np.ndarray) -> np.ndarray:
    """Whether points (n, 3) lie in the walls or in a solid: membership alone, no ray is met with anything."""
    centre, half = room.solids[0, :3], room.solids[0, 3:6]
    inside = (np.abs(points - centre) >= half).any(1)
    for solid in room.solids[1:]:
        angle = solid[6]
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        local = (points - solid[:3]) @ turn.T / solid[3:6]
        inside |= (local**2).sum(1) <= 1 if solid[7] == ELLIPSOID else (np.abs(local) <= 1).all(1)
    return inside


@pytest.mark.parametrize("index", [0, 3, 8])
def test_depth_is_where_marching_along_the_ray_first_meets_something(index: int):
    views = render_rooms(5, [index], SIZE, CLEAN)
    room = _room(5, index, CLEAN)
    fx, fy, cx, cy = views.intrinsics[0].double().numpy()
    rng = np.random.default_rng(index)
    steps = np.arange(0.05, 12, 0.002)
    agreeing = 0
    for _ in range(60):
        y, x = rng.integers(SIZE[0]), rng.integers(SIZE[1])
        direction = room.poses[0][:, :3] @ np.array([(x - cx) / fx, (y - cy) / fy, 1.0])
        met = _solid_at(room, room.poses[0][:, 3] + steps[:, None] * direction)
        first = steps[np.argmax(met)]
        agreeing += abs(float(views.depth[0, 0, y, x]) - first) <= 0.003
    assert agreeing >= 58  # a ray may pass a solid's very corner between two steps


def test_the_other_view_shows_what_depth_and_motion_say():
    """Points projected into the other view have the depth that is rendered there, but where something hides them."""
    config = dataclasses.replace(CLEAN, frames=1)
    room = _room(7, 2, config)
    views = render_rooms(7, [2], SIZE, config)
    x, y, z = project(views.depth, views.intrinsics, views.poses[:, 1])
    swapped = dataclasses.replace(room, poses=room.poses[::-1])
    focal, centre = float(views.intrinsics[0, 0]), (float(views.intrinsics[0, 2]), float(views.intrinsics[0, 3]))
    there = Solids(swapped, load_bank("cpu"), "cpu").meet(
        room.poses[1], ray_grid(SIZE, 1, focal, centre, "cpu"), focal, 1
    )[0]
    column, row = x[0].round().long(), y[0].round().long()
    inside = (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
    seen = there[row.clamp(0, SIZE[0] - 1), column.clamp(0, SIZE[1] - 1)]
    close = ((seen - z[0]).abs() < 0.05 * z[0])[inside].float().mean()
    assert inside.float().mean() > 0.5
    assert close > 0.85


def test_true_depth_and_motion_explain_the_other_frame_and_wrong_ones_do_not():
    views = render_rooms(11, range(6), (96, 128), dataclasses.replace(CLEAN, stereo=0.1, textureless=0.0))

    def error(depth: torch.Tensor, pose: torch.Tensor) -> float:
        moved, seen = reproject(views.images[:, 1], depth, views.intrinsics, pose)
        difference = (moved - views.images[:, 0]).abs().mean(1, keepdim=True)
        return float(difference[seen].mean())

    true = error(views.depth, views.poses[:, 1])
    mirrored = views.poses[:, 1].clone()
    mirrored[:, 0, 3] *= -1
    assert true < 0.5 * error(1.3 * views.depth, views.poses[:, 1])
    assert true < 0.5 * error(views.depth, mirrored)


def test_a_right_view_is_a_shift_along_the_row_alone():
    views = render_rooms(3, [1], SIZE, dataclasses.replace(CLEAN, stereo=0.12))
    expected = torch.eye(4)
    expected[0, 3] = -0.12
    torch.testing.assert_close(views.poses[0, 1], expected, atol=1e-6, rtol=0)


def test_a_room_is_the_same_in_any_batch_and_the_whole_series_is_sane():
    together = render_rooms(1, range(12), SIZE)
    alone = render_rooms(1, [7], SIZE)
    assert torch.equal(together.images[7], alone.images[0])
    assert torch.equal(together.depth[7], alone.depth[0])
    assert torch.isfinite(together.depth).all()
    assert float(together.depth.min()) > 0.05
    assert float(together.depth.max()) < 10
    assert float(together.images.min()) >= 0
    assert float(together.images.max()) <= 1
    assert float(together.images.std((1, 2, 3, 4)).min()) > 0.005


@pytest.mark.parametrize(
    "wrong",
    [{"min_furniture": 9, "max_furniture": 2}, {"clutter": 1.5}, {"max_view": 170.0}, {"frames": 50}, {"motion": -1.0}],
)
def test_impossible_rooms_are_refused(wrong: dict):
    with pytest.raises(UserError, match="scenes:"):
        RoomConfig(**wrong)
