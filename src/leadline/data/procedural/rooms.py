"""What is in a procedural room: walls, furniture and its surfaces, lamps and a camera, drawn from one generator.

Everything is metric and has the sizes of real rooms (ceilings at 2.3 to 3.2 m, seats at 0.45 m, doors of 2 m), as size
is what tells a single image's scale. Axes of a room: x to the right, y down, z forward, the floor at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from leadline.data.procedural.bank import Bank
from leadline.data.procedural.scene import SceneConfig
from leadline.errors import UserError

BOX, ELLIPSOID = 0.0, 1.0
FACES = 6  # of a box: -x, +x, -y, +y, -z, +z
# One surface is a row of these numbers; colour = base + first × value0 + second × value1, times the light.
SURFACE = (
    *("texture", "scale", "turn", "ts", "tt"),  # texels per m, radians, texels
    *("base_r", "base_g", "base_b", "first_r", "first_g", "first_b", "second_r", "second_g", "second_b"),
)
MAX_FRAMES = 8


@dataclass(frozen=True)
class RoomConfig:
    """How rooms are drawn. Probabilities are per room; each can be set to 0, for ablation."""

    min_furniture: int = 2
    max_furniture: int = 9
    min_side: float = 2.2  # m, of the floor
    max_side: float = 7.0  # m; with 7 no depth reaches 10 m
    min_view: float = 50.0  # degrees, the horizontal field of view
    max_view: float = 80.0
    pictures: float = 0.8  # doors, windows and pictures on the walls
    clutter: float = 0.8  # small things on floor and furniture
    textureless: float = 0.3  # per surface: contrast of a few grey levels
    empty: float = 0.1  # bare rooms
    frames: int = 0  # further views of the room, from a camera that moves: for self-supervised losses and video
    motion: float = 0.12  # m, the typical step of the camera between frames
    stereo: float = 0.0  # m; above 0, the only further frame is a rectified right view at this baseline
    blur: float = 0.3
    noise: float = 0.8
    vignetting: float = 0.3
    photometric: float = 0.3  # exposure and colour differ between the frames of a room
    greyscale: float = 0.1
    low_light: float = 0.08

    def __post_init__(self) -> None:
        if not 0 <= self.min_furniture <= self.max_furniture <= 40:
            raise UserError("scenes: 0 <= min_furniture <= max_furniture <= 40 is wanted")
        if not 1.5 <= self.min_side <= self.max_side <= 60:
            raise UserError("scenes: 1.5 <= min_side <= max_side <= 60 m is wanted")
        if not 20 <= self.min_view <= self.max_view <= 120:
            raise UserError("scenes: 20 <= min_view <= max_view <= 120 degrees is wanted")
        if not 0 <= self.frames <= MAX_FRAMES:
            raise UserError(f"scenes: frames {self.frames} is outside 0..{MAX_FRAMES}")
        if not 0 <= self.motion <= 2 or not 0 <= self.stereo <= 2:
            raise UserError("scenes: motion and stereo are metres, 0 to 2")
        for name in (
            *("pictures", "clutter", "textureless", "empty"),
            *("blur", "noise", "vignetting", "photometric", "greyscale", "low_light"),
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"scenes: {name} is a probability, got {getattr(self, name)}")

    @property
    def views(self) -> int:
        """Images of a room: the one whose depth is the truth, and the further frames."""
        return 2 if self.stereo else 1 + self.frames

    def faults(self) -> SceneConfig:
        """The cameras' faults; mounting and mirrors are a stereo pair's."""
        return SceneConfig(
            blur=self.blur,
            noise=self.noise,
            vignetting=self.vignetting,
            photometric=self.photometric,
            greyscale=self.greyscale,
            low_light=self.low_light,
            misalignment=0.0,
            reflections=0.0,
        )


@dataclass
class Room:
    """Solids, their surfaces, light and cameras of one room. The first solid is the room itself, from inside."""

    solids: Float[np.ndarray, "n 8"]  # centre x y z, half sizes x y z (m), yaw (radians), BOX or ELLIPSOID
    surfaces: Float[np.ndarray, "n 6 fields"]
    lamp: Float[np.ndarray, 3]  # m
    light: Float[np.ndarray, 3]  # shares of ambient and lamp, and the distance (m) at which the lamp has halved
    tangent: float  # of half the horizontal field of view
    poses: list[Float[np.ndarray, "3 4"]]  # of each view: camera to room, [R | t]


@dataclass
class Furnishing:
    """Solids and surfaces while a room is being filled."""

    rng: np.random.Generator
    config: RoomConfig
    bank: Bank
    texels: tuple[float, float] = (60.0, 350.0)  # per m, of a material whose own are not given
    solids: list[list[float]] = field(default_factory=list)
    surfaces: list[Float[np.ndarray, "6 fields"]] = field(default_factory=list)

    def put(
        self,
        surface: Float[np.ndarray, " fields"],
        centre: tuple[float, float, float],
        half: tuple[float, float, float],
        yaw: float = 0.0,
        kind: float = BOX,
    ) -> None:
        self.solids.append([*centre, *half, yaw, kind])
        self.surfaces.append(np.broadcast_to(surface, (FACES, len(SURFACE))))

    def material(
        self,
        textures: tuple[str, ...] = (),
        light: tuple[float, float] = (0.1, 0.8),
        texels: tuple[float, float] | None = None,
        textureless: float | None = None,
    ) -> np.ndarray:
        """A surface of one of the bank's textures, coloured at random.

        Args:
            texels: per m, from and to; None: those of everything that is put.
            textureless: how probably it has a contrast of a few grey levels; None: as the config says.
        """
        rng = self.rng
        textureless = self.config.textureless if textureless is None else textureless
        kinds = self.bank.texture_kinds
        allowed = [i for i, kind in enumerate(kinds) if not textures or kind in textures]
        contrast = rng.uniform(0.01, 0.06) if rng.random() < textureless else rng.uniform(0.1, 0.8)
        first = contrast * np.clip(rng.normal(0.8, 0.25, 3), 0, 1.3) * rng.choice([-1, 1])
        second = contrast * rng.normal(0, 0.25, 3)
        base = rng.uniform(*light) + rng.normal(0, 0.08, 3) - 0.5 * first - 0.5 * second
        return np.array(
            [
                float(rng.choice(allowed)),
                np.exp(rng.uniform(*np.log(texels or self.texels))),
                rng.choice([0.0, np.pi / 2]) if rng.random() < 0.8 else rng.uniform(0, np.pi),
                *rng.uniform(0, 512, 2),
                *base,
                *first,
                *second,
            ]
        )


def draw_room(rng: np.random.Generator, config: RoomConfig, bank: Bank, aspect: float) -> Room:
    """Draws one room with its cameras.

    Args:
        aspect: height of the images over their width.
    """
    side_x, side_z = np.exp(rng.uniform(np.log(config.min_side), np.log(config.max_side), 2))
    height = rng.uniform(2.3, 3.2)
    put = Furnishing(rng, config, bank)
    _walls(put, side_x, height, side_z)
    standing: list[tuple[float, float, float, float]] = []  # x, z, radius, top of what stands on the floor
    if rng.random() >= config.empty:
        for _ in range(int(rng.integers(config.min_furniture, config.max_furniture + 1))):
            standing.append(_furniture(put, side_x, side_z, height))
        if rng.random() < config.clutter:
            _clutter(put, side_x, side_z, standing)
    if rng.random() < config.pictures:
        _on_walls(put, side_x, side_z, height)
    lamp = np.array([rng.uniform(-0.4, 0.4) * side_x, -height + rng.uniform(0.1, 0.6), rng.uniform(-0.4, 0.4) * side_z])
    if rng.random() < 0.4:
        put.put(put.material(("plain",), (0.7, 1.0)), tuple(lamp), tuple(rng.uniform(0.08, 0.25, 3)), kind=ELLIPSOID)
    ambient = rng.uniform(0.35, 0.8)
    solids = np.array(put.solids, np.float64)
    tangent = float(np.tan(np.radians(rng.uniform(config.min_view, config.max_view)) / 2))
    return Room(
        solids=solids,
        surfaces=np.stack(put.surfaces),
        lamp=lamp,
        light=np.array([ambient, 1.25 - ambient, rng.uniform(2, 6)]),
        tangent=tangent,
        poses=_cameras(rng, config, solids, side_x, side_z, height),
    )


def _walls(put: Furnishing, side_x: float, height: float, side_z: float) -> None:
    """The room's inside: walls of one paint or of several, a floor and a ceiling of their own."""
    paint = put.material(light=(0.3, 0.95))
    faces = np.tile(paint, (FACES, 1))
    for face in (0, 1, 4, 5):
        if put.rng.random() < 0.3:
            faces[face] = put.material(light=(0.2, 0.95))
    faces[2] = put.material(("plain", "grain"), (0.6, 1.0))  # -y is up
    faces[3] = put.material(light=(0.1, 0.6))
    put.solids.append([0.0, -height / 2, 0.0, side_x / 2, height / 2, side_z / 2, 0.0, BOX])
    put.surfaces.append(faces)


def _furniture(put: Furnishing, side_x: float, side_z: float, height: float) -> tuple[float, float, float, float]:
    """One piece, mostly along a wall, else anywhere at any angle. Returns where it stands: x, z, radius, top."""
    rng = put.rng
    pick = rng.choice(["cabinet", "table", "chair", "sofa", "bed", "shelf", "column"], p=_SHARES)
    wide, deep, top = (rng.uniform(*span) for span in _SIZES[pick])
    wide, deep, top = min(wide, 0.8 * side_x), min(deep, 0.8 * side_z), min(top, 0.95 * height)
    if rng.random() < 0.65 and pick != "chair":  # with its back to a wall
        wall = int(rng.integers(4))
        yaw = wall * np.pi / 2
        along, depth = (side_x, side_z) if wall % 2 == 0 else (side_z, side_x)
        wide = min(wide, 0.9 * along)
        here = rng.uniform(-1, 1) * (along - wide) / 2, depth / 2 - deep / 2 - rng.uniform(0.0, 0.05)
        x, z = turned(*here, yaw)
    else:
        yaw = rng.uniform(0, 2 * np.pi)
        reach = np.hypot(wide, deep) / 2
        x = rng.uniform(-1, 1) * max(side_x / 2 - reach, 0)
        z = rng.uniform(-1, 1) * max(side_z / 2 - reach, 0)
    body = put.material()

    def part(dx: float, dz: float, low: float, high: float, wx: float, wz: float, surface: np.ndarray = body) -> None:
        """A box of the piece: its place, from `low` to `high` above the floor, half its width and depth."""
        px, pz = turned(dx, dz, yaw)
        put.put(surface, (x + px, -(low + high) / 2, z + pz), (wx, (high - low) / 2, wz), yaw)

    w, d = wide / 2, deep / 2
    if pick in ("cabinet", "column"):
        part(0, 0, 0, top, w, d)
        for i in range(int(rng.integers(0, 4))):  # fronts of doors or drawers
            low = top * i / 4 + 0.03
            part(0, -d - 0.01, low, low + top / 4 - 0.05, w * 0.92, 0.012, put.material())
    elif pick == "table":
        part(0, 0, top - rng.uniform(0.02, 0.06), top, w, d)
        _legs(part, w, d, top - 0.03, rng.uniform(0.015, 0.05))
    elif pick == "chair":
        seat = rng.uniform(0.4, 0.5)
        part(0, 0, seat - 0.05, seat, w, d)
        part(0, d - 0.03, seat, top, w, 0.03)
        _legs(part, w, d, seat - 0.04, rng.uniform(0.012, 0.03))
    elif pick == "sofa":
        seat = rng.uniform(0.35, 0.48)
        part(0, 0, 0.05, seat, w, d)
        part(0, d - 0.12, seat, top, w, 0.12)
        for side in (-1, 1):
            part(side * (w - 0.09), 0, seat, seat + 0.18, 0.09, d)
    elif pick == "bed":
        part(0, 0, 0.1, top, w, d, put.material(light=(0.3, 1.0)))
        part(0, d - 0.04, 0, top + rng.uniform(0.2, 0.6), w, 0.04)
    else:
        for side in (-1, 1):
            part(side * (w - 0.015), 0, 0, top, 0.015, d)
        count = int(rng.integers(2, 6))
        for i in range(count + 1):
            part(0, 0, max(top * i / count - 0.03, 0), max(top * i / count, 0.03), w, d)
            if i < count and rng.random() < 0.8:  # books
                part(rng.uniform(-0.3, 0.3) * w, 0.0, top * i / count, top * (i + 0.7) / count, 0.6 * w, 0.8 * d,
                     put.material())  # fmt: skip
    return x, z, float(np.hypot(w, d)), top


# m: width, depth, height above the floor
_SIZES = {
    "cabinet": ((0.4, 1.8), (0.3, 0.65), (0.6, 2.2)),
    "table": ((0.6, 2.0), (0.5, 1.0), (0.4, 0.78)),
    "chair": ((0.38, 0.55), (0.38, 0.55), (0.75, 1.1)),
    "sofa": ((1.2, 2.4), (0.75, 1.0), (0.7, 0.95)),
    "bed": ((0.8, 1.9), (1.9, 2.1), (0.35, 0.6)),
    "shelf": ((0.5, 1.6), (0.22, 0.4), (0.8, 2.2)),
    "column": ((0.15, 0.5), (0.15, 0.5), (0.5, 2.6)),
}
_SHARES = (0.22, 0.22, 0.2, 0.1, 0.1, 0.1, 0.06)


def _legs(part, w: float, d: float, top: float, thick: float) -> None:
    for sx in (-1, 1):
        for sz in (-1, 1):
            part(sx * (w - thick), sz * (d - thick), 0, top, thick, thick)


def _clutter(put: Furnishing, side_x: float, side_z: float, standing: list[tuple[float, float, float, float]]) -> None:
    rng = put.rng
    for _ in range(int(rng.integers(1, 9))):
        if standing and rng.random() < 0.7:
            x, z, radius, floor = standing[int(rng.integers(len(standing)))]
            x, z = x + rng.normal(0, 0.25) * radius, z + rng.normal(0, 0.25) * radius
        else:
            x, z, floor = rng.uniform(-0.45, 0.45) * side_x, rng.uniform(-0.45, 0.45) * side_z, 0.0
        half = tuple(np.exp(rng.uniform(np.log(0.03), np.log(0.2), 3)))
        kind = ELLIPSOID if rng.random() < 0.4 else BOX
        put.put(put.material(), (x, -floor - half[1], z), half, rng.uniform(0, np.pi), kind)


def _on_walls(put: Furnishing, side_x: float, side_z: float, height: float) -> None:
    """Doors, windows and pictures: thin boxes on the walls."""
    rng = put.rng
    for _ in range(int(rng.integers(1, 7))):
        pick = rng.random()
        if pick < 0.3:
            wide, low, high = rng.uniform(0.8, 1.0), 0.0, min(rng.uniform(1.95, 2.1), 0.95 * height)
        elif pick < 0.6:
            wide, low, high = rng.uniform(0.8, 2.0), rng.uniform(0.7, 1.1), min(rng.uniform(1.9, 2.3), 0.97 * height)
        else:
            wide, low = rng.uniform(0.2, 1.2), rng.uniform(0.9, 1.5)
            high = min(low + rng.uniform(0.2, 0.9), 0.95 * height)
        wall = int(rng.integers(4))
        along, depth = (side_x, side_z) if wall % 2 == 0 else (side_z, side_x)
        wide = min(wide, 0.9 * along)
        thick = rng.uniform(0.005, 0.04)
        x, z = turned(rng.uniform(-1, 1) * (along - wide) / 2, depth / 2 - thick, wall * np.pi / 2)
        put.put(put.material(), (x, -(low + high) / 2, z), (wide / 2, (high - low) / 2, thick), wall * np.pi / 2)


def turned(x: float, z: float, yaw: float) -> tuple[float, float]:
    """A point of a solid's own frame in the room's, about the vertical axis."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return cos * x + sin * z, -sin * x + cos * z


def _cameras(
    rng: np.random.Generator, config: RoomConfig, solids: np.ndarray, side_x: float, side_z: float, height: float
) -> list[Float[np.ndarray, "3 4"]]:
    """A first camera somewhere free, looking a little down, and further ones a step away from it."""
    place = np.array([0.0, -1.0, 0.0])
    for _ in range(40):
        trial = np.array(
            [
                rng.uniform(-1, 1) * (side_x / 2 - 0.25),
                -rng.uniform(0.6, min(1.9, height - 0.3)),
                rng.uniform(-1, 1) * (side_z / 2 - 0.25),
            ]
        )
        place = trial
        if is_free(trial, solids):
            break
    # Mostly towards the room's middle, as people hold cameras, not into a wall at arm's length.
    towards = np.arctan2(-place[0], -place[2]) + rng.normal(0, 0.8)
    angles = np.array([towards, -rng.normal(0.18, 0.2), rng.normal(0, 0.05)])
    poses = [make_pose(place, angles)]
    if config.stereo:
        poses.append(make_pose(place + poses[0][:, 0] * config.stereo, angles))
        return poses
    # Frames alternate: before, after, before the last, after the next, along one smooth motion.
    step = np.concatenate([rng.normal(0, 1, 3) * [0.7, 0.3, 1.0], rng.normal(0, 1, 3) * [0.03, 0.015, 0.01]])
    step[:3] *= config.motion
    for i in range(config.frames):
        time = (i // 2 + 1) * (-1 if i % 2 == 0 else 1)
        shift = time * step[:3] @ poses[0][:, :3].T
        moved = place + shift
        for _ in range(4):
            if is_free(moved, solids, 0.1):
                break
            shift = shift / 2
            moved = place + shift
        poses.append(make_pose(moved, angles + time * step[3:]))
    return poses


def is_free(point: np.ndarray, solids: np.ndarray, margin: float = 0.3) -> bool:
    """Whether a point lies in the room, `margin` m away from everything in it (as boxes)."""
    room, others = solids[0], solids[1:]
    if not (np.abs(point - room[:3]) < room[3:6] - margin / 2).all():
        return False
    offset = point - others[:, :3]
    cos, sin = np.cos(others[:, 6]), np.sin(others[:, 6])
    local = np.stack(
        [cos * offset[:, 0] - sin * offset[:, 2], offset[:, 1], sin * offset[:, 0] + cos * offset[:, 2]], 1
    )
    return not (np.abs(local) < others[:, 3:6] + margin).all(1).any()


def make_pose(place: np.ndarray, angles: np.ndarray) -> Float[np.ndarray, "3 4"]:
    """Camera to room from (yaw about y, pitch about x, positive up, roll about z)."""
    yaw, pitch, roll = angles
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.concatenate([about_y @ about_x @ about_z, place[:, None]], 1)
