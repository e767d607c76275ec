"""Renders procedural rooms: a ray per pixel, met with every solid in closed form. Exact depth, on any device.

A room is a function of (seed, index) alone, as a stereo scene is. Depth is along the optical axis, in metres, of the
ray through the pixel's centre; colour is the mean of 2x2 rays, so that outlines are antialiased.

Legend: h w pixels, n solids; o the camera's place, d a ray's direction with 1 along the optical axis, so that the
distance at which `o + t d` meets a surface is its depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from leadline.data.procedural.bank import Bank, load_bank
from leadline.data.procedural.camera import draw_faults, expose, stack_rig
from leadline.data.procedural.composite import texture_at
from leadline.data.procedural.rooms import BOX, ELLIPSOID, FACES, SURFACE, Room, RoomConfig, draw_room

RAYS = 2  # per pixel and axis, for the colour
NEAREST = 0.05  # m; nothing is met nearer than this
_AT = {name: i for i, name in enumerate(SURFACE)}


@dataclass
class RoomViews:
    """What is known of a batch of rooms, of n views each; the first view is the one whose depth is the truth."""

    images: Float[Tensor, "b n 3 h w"]  # RGB in [0, 1]
    depth: Float[Tensor, "b 1 h w"]  # m, of the first view
    intrinsics: Float[Tensor, "b 4"]  # fx, fy, cx, cy, px, of every view
    poses: Float[Tensor, "b n 4 4"]  # from the first camera's frame to each view's


def render_rooms(
    seed: int,
    indices: Sequence[int],
    size: tuple[int, int],
    config: RoomConfig | None = None,
    device: torch.device | str = "cpu",
) -> RoomViews:
    """Renders rooms `indices` of the endless series `seed`.

    Args:
        size: (h, w), px.
    """
    config = config or RoomConfig()
    bank = load_bank(str(device))
    parts = [_render(seed, index, size, config, bank, device) for index in indices]
    return RoomViews(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def _render(
    seed: int, index: int, size: tuple[int, int], config: RoomConfig, bank: Bank, device: torch.device | str
) -> RoomViews:
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
    height, width = size
    room = draw_room(rng, config, bank, height / width)
    rig = stack_rig([draw_faults(rng, config.faults(), config.views)], device)
    focal = (width / 2) / room.tangent
    centre = (width - 1) / 2, (height - 1) / 2
    solids = Solids(room, bank, device)
    images, depth = [], None
    for view, pose in enumerate(room.poses):
        if view == 0:
            depth = solids.meet(pose, ray_grid(size, 1, focal, centre, device), focal, 1)[0]
        _, colour = solids.look(pose, ray_grid(size, RAYS, focal, centre, device), focal, RAYS)
        images.append(expose(torch.nn.functional.avg_pool2d(colour[None], RAYS), rig.views[view], bank))
    assert depth is not None
    poses = np.stack([_from_first(room.poses[0], pose) for pose in room.poses])
    return RoomViews(
        torch.stack(images, 1),
        depth[None, None],
        torch.tensor([[focal, focal, *centre]], dtype=torch.float32, device=device),
        torch.tensor(poses[None], dtype=torch.float32, device=device),
    )


def _from_first(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The rigid motion that takes points of the first camera's frame to the other's."""
    bottom = np.array([[0.0, 0.0, 0.0, 1.0]])
    return np.linalg.inv(np.concatenate([other, bottom])) @ np.concatenate([first, bottom])


def ray_grid(
    size: tuple[int, int], rays: int, focal: float, centre: tuple[float, float], device: torch.device | str
) -> Float[Tensor, "3 hr wr"]:
    """Directions in the camera's frame, 1 along the optical axis; `rays` per pixel and axis, evenly spread."""

    def axis(count: int, middle: float) -> Tensor:
        at = (torch.arange(count * rays, dtype=torch.float64, device=device) + 0.5) / rays - 0.5
        return ((at - middle) / focal).float()

    y, x = torch.meshgrid(axis(size[0], centre[1]), axis(size[1], centre[0]), indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)])


class Solids:
    """The solids of one room, ready to be met by rays."""

    def __init__(self, room: Room, bank: Bank, device: torch.device | str):
        self.room, self.bank, self.device = room, bank, device
        self.solids = torch.tensor(room.solids, dtype=torch.float32, device=device)
        table = room.surfaces.reshape(-1, len(SURFACE))
        self.surfaces = torch.tensor(table, dtype=torch.float32, device=device)

    def meet(
        self, pose: Float[np.ndarray, "3 4"], rays: Float[Tensor, "3 h w"], focal: float, per_pixel: int
    ) -> tuple[Float[Tensor, "h w"], Int[Tensor, "h w"]]:
        """The depth (m) at which each ray first meets a surface, and which: solid × 6 + face."""
        turned = torch.einsum("ij,jhw->ihw", torch.tensor(pose[:, :3], dtype=torch.float32, device=self.device), rays)
        height, width = rays.shape[1:]
        depth, code = _leave_room(self.room.solids[0], pose[:, 3], turned)
        for i, solid in enumerate(self.room.solids[1:], 1):
            window = _window(solid, pose, focal, per_pixel, height, width)
            if window is None:
                continue
            t, face = _meet_solid(solid, pose[:, 3], turned[(slice(None), *window)])
            nearer = t < depth[window]
            depth[window] = torch.where(nearer, t, depth[window])
            code[window] = torch.where(nearer, face + i * FACES, code[window])
        return depth, code

    def look(
        self, pose: Float[np.ndarray, "3 4"], rays: Float[Tensor, "3 h w"], focal: float, per_pixel: int
    ) -> tuple[Float[Tensor, "h w"], Float[Tensor, "3 h w"]]:
        """Depth and colour of each ray."""
        depth, code = self.meet(pose, rays, focal, per_pixel)
        turn = torch.tensor(pose[:, :3], dtype=torch.float32, device=self.device)
        place = torch.tensor(pose[:, 3], dtype=torch.float32, device=self.device)[:, None, None]
        points = place + torch.einsum("ij,jhw->ihw", turn, rays) * depth
        solid, face = self.solids[torch.div(code, FACES, rounding_mode="floor")].movedim(-1, 0), code % FACES
        offset = points - solid[:3]
        cos, sin = solid[6].cos(), solid[6].sin()
        local = torch.stack([cos * offset[0] - sin * offset[2], offset[1], sin * offset[0] + cos * offset[2]])
        axis = torch.div(face, 2, rounding_mode="floor")
        normal = _normal(local, solid, axis, code)
        world = torch.stack([cos * normal[0] + sin * normal[2], normal[1], -sin * normal[0] + cos * normal[2]])
        towards = place - points
        facing = (world * towards).sum(0).abs() / towards.square().sum(0).sqrt().clamp(min=1e-6)
        surface = self.surfaces[code].movedim(-1, 0)
        u = torch.where(axis == 0, local[2], local[0])
        v = torch.where(axis == 1, local[2], local[1])
        colour = self._colour(surface, u, v, depth / (focal * per_pixel * facing.clamp(min=0.05)))
        return depth, colour * self._light(points, world, towards)

    def _colour(self, surface: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> Float[Tensor, "3 h w"]:
        """Texture and paint at (u, v) m of a surface. Where a ray spans several texels the pattern fades to its mean.

        Args:
            footprint: m that a ray spans on the surface.
        """
        cos, sin = surface[_AT["turn"]].cos(), surface[_AT["turn"]].sin()
        scale = surface[_AT["scale"]]
        s = (cos * u + sin * v) * scale + surface[_AT["ts"]]
        t = (cos * v - sin * u) * scale + surface[_AT["tt"]]
        value = texture_at(self.bank, surface[_AT["texture"]][None], s[None], t[None])[0]
        value = 0.5 + (value - 0.5) * (1 / (footprint * scale).clamp(min=1))
        base, first, second = (surface[_AT[f"{name}_r"] : _AT[f"{name}_r"] + 3] for name in ("base", "first", "second"))
        return base + first * value[0] + second * value[1]

    def _light(self, points: Tensor, normal: Tensor, towards: Tensor) -> Float[Tensor, "h w"]:
        """Ambient light and one lamp, weaker with distance; surfaces are matt, and nothing throws a shadow."""
        ambient, strength, halved = self.room.light
        lamp = torch.tensor(self.room.lamp, dtype=torch.float32, device=self.device)[:, None, None]
        ray = lamp - points
        squared = ray.square().sum(0)
        # A wall is lit on the side that is seen.
        side = torch.sign((normal * towards).sum(0))
        cosine = (side * (normal * ray).sum(0) / squared.sqrt().clamp(min=1e-3)).clamp(min=0)
        return ambient + strength * cosine / (1 + squared / halved**2)


def _leave_room(room: np.ndarray, place: np.ndarray, rays: Float[Tensor, "3 h w"]) -> tuple[Tensor, Tensor]:
    """Where rays from within meet the room's sides."""
    depth = torch.full_like(rays[0], torch.inf)
    code = torch.zeros(rays[0].shape, dtype=torch.long, device=rays.device)
    for axis in range(3):
        for face, sign in ((2 * axis, -1.0), (2 * axis + 1, 1.0)):
            wall = room[axis] + sign * room[3 + axis] - place[axis]
            t = wall / rays[axis]
            t = torch.where(rays[axis] * sign > 1e-9, t, torch.inf)
            nearer = t < depth
            depth = torch.where(nearer, t, depth)
            code = torch.where(nearer, face, code)
    return depth, code


def _meet_solid(solid: np.ndarray, place: np.ndarray, rays: Float[Tensor, "3 h w"]) -> tuple[Tensor, Tensor]:
    """Depth at which rays enter a solid (inf where they miss it), and through which face."""
    cos, sin = float(np.cos(solid[6])), float(np.sin(solid[6]))
    offset = place - solid[:3]
    start = (cos * offset[0] - sin * offset[2], offset[1], sin * offset[0] + cos * offset[2])
    direction = (cos * rays[0] - sin * rays[2], rays[1], sin * rays[0] + cos * rays[2])
    if solid[7] == ELLIPSOID:
        return _meet_ellipsoid(solid, start, direction)
    enter = torch.full_like(rays[0], -torch.inf)
    leave = torch.full_like(rays[0], torch.inf)
    face = torch.zeros(rays[0].shape, dtype=torch.long, device=rays.device)
    for axis in range(3):
        along = direction[axis]
        along = torch.where(along.abs() < 1e-9, 1e-9, along)
        one, two = (-solid[3 + axis] - start[axis]) / along, (solid[3 + axis] - start[axis]) / along
        first = torch.minimum(one, two)
        later = first > enter
        enter = torch.where(later, first, enter)
        face = torch.where(later, torch.where(along > 0, 2 * axis, 2 * axis + 1), face)
        leave = torch.minimum(leave, torch.maximum(one, two))
    return torch.where((enter < leave) & (enter > NEAREST), enter, torch.inf), face


def _meet_ellipsoid(solid: np.ndarray, start: Sequence[float], direction: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    scaled_start = [start[i] / solid[3 + i] for i in range(3)]
    scaled = [direction[i] / solid[3 + i] for i in range(3)]
    a = scaled[0].square() + scaled[1].square() + scaled[2].square()
    b = scaled[0] * scaled_start[0] + scaled[1] * scaled_start[1] + scaled[2] * scaled_start[2]
    c = sum(value**2 for value in scaled_start) - 1
    inside = b.square() - a * c
    t = (-b - inside.clamp(min=0).sqrt()) / a
    face = torch.full(t.shape, 4, dtype=torch.long, device=t.device)  # textured as its front
    return torch.where((inside > 0) & (t > NEAREST), t, torch.inf), face


def _normal(local: Tensor, solid: Tensor, axis: Tensor, code: Tensor) -> Float[Tensor, "3 h w"]:
    """Of the surface in the solid's own frame, of either sign."""
    flat = torch.stack([(axis == i).float() for i in range(3)])
    round_ = local / solid[3:6].square()
    round_ = round_ / round_.square().sum(0).sqrt().clamp(min=1e-9)
    return torch.where((solid[7] == BOX)[None], flat, round_)


def _window(
    solid: np.ndarray, pose: np.ndarray, focal: float, per_pixel: int, height: int, width: int
) -> tuple[slice, slice] | None:
    """Rows and columns of the rays that can meet a solid; None where it lies behind the camera or outside the view."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1)
    corner = signs * solid[3:6, None]
    cos, sin = np.cos(solid[6]), np.sin(solid[6])
    turned = np.stack([cos * corner[0] + sin * corner[2], corner[1], -sin * corner[0] + cos * corner[2]])
    seen = pose[:, :3].T @ (turned + solid[:3, None] - pose[:, 3:])
    if (seen[2] <= NEAREST).all():
        return None
    if (seen[2] <= NEAREST).any():
        return slice(0, height), slice(0, width)
    x = focal * per_pixel * seen[0] / seen[2] + width / 2
    y = focal * per_pixel * seen[1] / seen[2] + height / 2
    rows = slice(max(int(y.min()) - 1, 0), min(int(y.max()) + 2, height))
    columns = slice(max(int(x.min()) - 1, 0), min(int(x.max()) + 2, width))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None
