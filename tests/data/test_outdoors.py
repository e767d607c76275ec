"""Procedural streets: does their size make sense, and what a camera in one sees?"""

import numpy as np
import pytest
import torch

from leadline.data.procedural.bank import load_bank
from leadline.data.procedural.outdoors import REACH, SKY, draw_street
from leadline.data.procedural.raycast import Solids, ray_grid
from leadline.data.procedural.rooms import BOX, Room

SIZE = (72, 144)


def street(index: int) -> Room:
    rng = np.random.Generator(np.random.Philox(key=np.array([7, index], dtype=np.uint64)))
    return draw_street(rng, load_bank("cpu"), SIZE[0] / SIZE[1])


def depth_of(room: Room) -> torch.Tensor:
    focal = SIZE[1] / 2 / room.tangent
    rays = ray_grid(SIZE, 1, focal, ((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2), "cpu")
    return Solids(room, load_bank("cpu"), "cpu").meet(room.poses[0], rays, focal, 1)[0]


@pytest.mark.parametrize("index", range(12))
def test_everything_stands_on_the_ground_and_has_the_size_of_real_things(index):
    solids = street(index).solids
    assert (solids[0, 3], -2 * solids[0, 1]) == SKY
    centre, half = solids[1:, :3], solids[1:, 3:6]
    assert (half > 0).all()
    assert (centre[:, 1] - half[:, 1] < 0).all()  # nothing is buried
    lowest = (centre[:, 1] + half[:, 1]).max()
    assert lowest < 4  # crowns and cars may reach below the ground, where they are not seen
    assert (-centre[:, 1] + half[:, 1]).max() < 16
    assert np.abs(centre[:, 2]).max() < REACH + 40


def test_a_camera_stands_in_no_solid_and_sees_near_and_far():
    depths = [depth_of(street(index)) for index in range(12)]
    for room, depth in zip(map(street, range(12)), depths, strict=True):
        place = room.poses[0][:, 3]
        assert 0.9 <= -place[1] <= 2.2
        boxes = room.solids[1:][room.solids[1:, 7] == BOX]
        straight = boxes[boxes[:, 6] == 0]
        assert not (np.abs(place - straight[:, :3]) < straight[:, 3:6]).all(1).any()
        assert torch.isfinite(depth).all()
        assert depth.min() > 0.05
    far = [float(depth.quantile(0.95)) for depth in depths]
    near = [float(depth.quantile(0.05)) for depth in depths]
    assert np.median(far) > 20
    assert np.median(near) < 6


def test_the_ground_ahead_is_where_the_camera_hangs():
    """A flat ground of depth z is seen at focal × height / z rows below the horizon."""
    room = street(3)
    pose = room.poses[0].copy()
    pose[:, :3] = np.eye(3)  # level, along the street
    room.poses, room.solids, room.surfaces = [pose], room.solids[:1], room.surfaces[:1]
    depth = depth_of(room)
    focal = SIZE[1] / 2 / room.tangent
    rows = np.arange(SIZE[0] * 3 // 4, SIZE[0])
    expected = focal * -pose[1, 3] / (rows - (SIZE[0] - 1) / 2)
    np.testing.assert_allclose(depth[rows, SIZE[1] // 2], expected, rtol=1e-4)
