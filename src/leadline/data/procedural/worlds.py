"""Stereo pairs of ray-cast worlds, rooms and streets: a layout that could be, and things afloat that could not.

Layers painted over each other (see render.py) have edges and slants of every kind, but each of their surfaces has a
pattern of its own, and nothing stands on anything. Rooms and streets have what they lack: large plain walls and
furniture, shading by a lamp or the sun, corners and grazing floors, hedges and fences before what lies far behind.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from leadline.data.batch import StereoBatch
from leadline.data.procedural.bank import Bank, load_bank
from leadline.data.procedural.camera import draw_faults, expose, stack_rig
from leadline.data.procedural.composite import visible_in
from leadline.data.procedural.outdoors import draw_street
from leadline.data.procedural.raycast import RAYS, Solids, ray_grid
from leadline.data.procedural.rooms import BOX, ELLIPSOID, Furnishing, Room, RoomConfig, draw_room
from leadline.data.procedural.scene import SceneConfig, draw_nearest, largest_disparity

STREAM = 0x526F6F6D  # keeps a world's random numbers apart from those of the layers with the same seed and index
MOST_AFLOAT = 16


def world_of(seed: int, index: int, config: SceneConfig) -> str | None:
    """What scene (seed, index) is: "room", "street", or None where it is made of layers."""
    if not config.furnished and not config.outdoors:
        return None
    return _world(_stream(seed, index).random(), config)


def _world(pick: float, config: SceneConfig) -> str | None:
    if pick < config.furnished:
        return "room"
    return "street" if pick < config.furnished + config.outdoors else None


def render_world(
    seed: int, index: int, size: tuple[int, int], config: SceneConfig, device: torch.device | str
) -> StereoBatch:
    """Room or street (seed, index) as a pair with its exact disparity; see `render_stereo`."""
    rng = _stream(seed, index)
    world = _world(rng.random(), config)
    bank = load_bank(str(device))
    height, width = size
    if world == "street":
        room = draw_street(rng, bank, height / width)
    else:
        room = draw_room(rng, RoomConfig(), bank, height / width)
    pose, focal, centre = room.poses[0], (width / 2) / room.tangent, ((width - 1) / 2, (height - 1) / 2)
    _set_afloat(rng, room, bank, height / width)
    rig = stack_rig([draw_faults(rng, config, 2)], device)
    solids = Solids(room, bank, device)

    plain = ray_grid(size, 1, focal, centre, device)
    depth = solids.meet(pose, plain, focal, 1)[0][None]
    scale = _draw_scale(rng, depth, config)
    right_pose = pose.copy()
    right_pose[:, 3] += pose[:, 0] * scale / focal
    left, right = scale / depth, scale / solids.meet(right_pose, plain, focal, 1)[0][None]
    columns = torch.arange(width, dtype=torch.float32, device=device).expand_as(left)
    visible = visible_in(right, columns - left, left, tolerance=0.75)

    fine = ray_grid(size, RAYS, focal, centre, device)
    askew = fine.clone()  # the rows of a right camera that hangs askew
    askew[1] += float(rig.shift) / focal + float(rig.tilt) * fine[0]
    views = []
    for place, rays, faults in ((pose, fine, rig.views[0]), (right_pose, askew, rig.views[1])):
        colour = solids.look(place, rays, focal, RAYS)[1][None]
        views.append(expose(functional.avg_pool2d(colour, RAYS), faults, bank))
    everywhere = torch.ones_like(visible[:, None])
    return StereoBatch(views[0], views[1], left[:, None], everywhere, ~visible[:, None])


def _stream(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed ^ STREAM, index], dtype=np.uint64)))


def _set_afloat(rng: np.random.Generator, room: Room, bank: Bank, aspect: float) -> None:
    """Boxes, plates, rods and ellipsoids between the first camera and what it sees, at any place in its view."""
    put = Furnishing(rng, RoomConfig(), bank)
    pose = room.poses[0]
    farthest = 0.6 * float(room.solids[0, 3:6].max())
    for _ in range(int(rng.integers(0, MOST_AFLOAT + 1))):
        depth = np.exp(rng.uniform(np.log(0.45), np.log(max(farthest, 0.9))))
        x, y = rng.uniform(-1, 1) * room.tangent, rng.uniform(-1, 1) * room.tangent * aspect
        centre = pose @ np.array([x * depth, y * depth, depth, 1.0])
        # A view is 2 tangent wide at a depth of 1: from a hundredth to a third of that, each side for itself.
        half = np.exp(rng.uniform(np.log(0.01), np.log(0.3), 3)) * depth * room.tangent
        kind = ELLIPSOID if rng.random() < 0.35 else BOX
        put.put(put.material(), tuple(centre), tuple(half), rng.uniform(0, np.pi), kind)
    if put.solids:
        room.solids = np.concatenate([room.solids, np.array(put.solids)])
        room.surfaces = np.concatenate([room.surfaces, np.stack(put.surfaces)])


def _draw_scale(rng: np.random.Generator, depth: Float[Tensor, "1 h w"], config: SceneConfig) -> float:
    """Focal length times baseline, px m: nearly all lies within a disparity that is drawn, nothing beyond the limit."""
    width = depth.shape[-1]
    near = float(depth.flatten().kthvalue(max(depth.numel() // 33, 1)).values)
    return min(draw_nearest(rng, config, width) * near, largest_disparity(config, width) * float(depth.min()))
