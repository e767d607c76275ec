"""What is in a procedural street: ground, houses, hedges, fences, trees, cars and people, drawn from one generator.

Metric, with the sizes of real streets, and made of the same solids as rooms (see rooms.py), whose axes these are: x to
the right, y down, z forward, the ground at y = 0. The street runs along z. What streets teach that rooms do not: ground
that recedes for a hundred metres, foliage of many small rounded pieces, pickets one sees through, smooth painted cars.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leadline.data.procedural.bank import Bank
from leadline.data.procedural.rooms import (
    BOX,
    ELLIPSOID,
    FACES,
    SURFACE,
    Furnishing,
    Room,
    RoomConfig,
    is_free,
    make_pose,
    turned,
)

REACH = 70.0  # m, how far the street is lined
SKY = (150.0, 60.0)  # m, half the width and the height of what encloses everything
TEXELS = (10.0, 150.0)  # per m, of large surfaces; finer patterns are lost at ten metres
LEAVES = ("dead leaves", "grain", "noise")
SUN = 300.0  # m
# Of a surface's numbers: where in the texture it begins, and its colour.
PLACE = slice(SURFACE.index("ts"), SURFACE.index("tt") + 1)
BASE = slice(SURFACE.index("base_r"), SURFACE.index("base_b") + 1)


def draw_street(rng: np.random.Generator, bank: Bank, aspect: float) -> Room:
    """Draws one street with its camera.

    Args:
        aspect: height of the images over their width.
    """
    put = Furnishing(rng, RoomConfig(textureless=0.2), bank, texels=TEXELS)
    _sky_and_ground(put)
    road = rng.uniform(2.0, 5.0)  # m, half its width
    _ground_patches(put, road)
    for side in (-1.0, 1.0):
        _line(put, side, road + rng.uniform(0.5, 3.5))
    _on_the_road(put, road)
    angle = rng.uniform(0, 2 * np.pi)
    ambient = rng.uniform(0.35, 0.75)
    solids = np.array(put.solids, np.float64)
    return Room(
        solids=solids,
        surfaces=np.stack(put.surfaces),
        lamp=SUN * np.array([np.cos(angle), -rng.uniform(0.3, 1.5), np.sin(angle)]),
        light=np.array([ambient, 1.3 - ambient, 1e6]),  # the sun does not get weaker with distance
        tangent=float(np.tan(np.radians(rng.uniform(50, 85)) / 2)),
        poses=[_camera(rng, solids, road)],
    )


def _sky_and_ground(put: Furnishing) -> None:
    faces = np.tile(put.material(("plain",), (0.6, 1.0), texels=(0.5, 2.0)), (FACES, 1))
    for face in (0, 1, 4, 5):
        if put.rng.random() < 0.3:  # hills or a wood in the distance
            faces[face] = put.material(LEAVES, (0.2, 0.7), texels=(0.5, 3.0))
    faces[3] = put.material(("grain", "noise", "plain", "dead leaves"), (0.15, 0.6))
    half, height = SKY
    put.solids.append([0.0, -height / 2, 0.0, half, height / 2, half, 0.0, BOX])
    put.surfaces.append(faces)


def _ground_patches(put: Furnishing, road: float) -> None:
    """Pavements, verges, markings and stains: flat things on the ground."""
    rng = put.rng
    for side in (-1.0, 1.0):
        edge = road
        for _ in range(int(rng.integers(0, 3))):
            wide, high = rng.uniform(0.4, 3.0), rng.choice([0.01, rng.uniform(0.05, 0.16)])
            put.put(put.material(), (side * (edge + wide / 2), -high / 2, REACH / 2), (wide / 2, high / 2, REACH))
            edge += wide
    if rng.random() < 0.5:  # a broken or whole line along the middle or at the edges
        paint = put.material(("plain", "grain"), (0.7, 1.0))
        dash, gap = (3.0, rng.uniform(3, 9)) if rng.random() < 0.7 else (100.0, 1.0)
        for x in (0.0,) if rng.random() < 0.6 else (-0.9 * road, 0.9 * road):
            for z in np.arange(rng.uniform(-3, 3), REACH, dash + gap):
                put.put(paint, (x, -0.003, z + dash / 2), (rng.uniform(0.05, 0.1), 0.003, dash / 2))
    dark = put.material(("plain", "blobs", "noise"), (0.05, 0.3))
    for _ in range(int(rng.integers(0, 8))):  # stains and what could be shadows
        place = rng.uniform(-1.5, 1.5) * road, -0.002, rng.uniform(1, 30)
        put.put(dark, place, (rng.uniform(0.2, 2.5), 0.002, rng.uniform(0.2, 4.0)), rng.uniform(0, 3), ELLIPSOID)


def _line(put: Furnishing, side: float, x: float) -> None:
    """One side of the street, piece by piece along z, and what stands behind the first row."""
    rng = put.rng
    z = -rng.uniform(2, 12)
    while z < REACH:
        pick: Callable[[Furnishing, float, float, float], float]
        pick = rng.choice(np.array([_house, _hedge, _fence, _wall, _tree, _post, _parked, _gap]), p=_SHARES)
        z += pick(put, side, x + max(rng.normal(0, 0.3), -0.4), z) + rng.uniform(0, 1.5)
    for _ in range(int(rng.integers(0, 4))):
        (_house, _tree)[int(rng.integers(2))](put, side, x + rng.uniform(4, 20), rng.uniform(0, REACH))


# Of what lines a street: house, hedge, fence, wall, tree, post, car, nothing.
_SHARES = (0.16, 0.2, 0.16, 0.1, 0.14, 0.06, 0.12, 0.06)


def _house(put: Furnishing, side: float, x: float, z: float) -> float:
    """Walls with windows towards the street."""
    rng = put.rng
    length, deep, high = rng.uniform(5, 16), rng.uniform(4, 12), rng.uniform(2.8, 12)
    put.put(
        put.material(("pattern", "noise", "plain", "grain"), (0.25, 0.95)),
        (side * (x + deep / 2), -high / 2, z + length / 2),
        (deep / 2, high / 2, length / 2),
    )
    frame, pane = put.material(light=(0.4, 1.0)), put.material(("plain", "noise"), (0.05, 0.5))
    wide, tall, step = rng.uniform(0.7, 1.8), rng.uniform(0.9, 1.7), rng.uniform(2.0, 3.5)
    for floor in np.arange(0.9, high - tall, 2.8):
        for along in np.arange(z + 1.0, z + length - wide, step):
            out = rng.uniform(0.02, 0.1)
            at = -(floor + tall / 2), along + wide / 2
            put.put(frame, (side * x, *at), (out, tall / 2, wide / 2))
            put.put(pane, (side * (x - 0.005), *at), (out, tall / 2 - 0.07, wide / 2 - 0.07))
    return length


def _hedge(put: Furnishing, side: float, x: float, z: float) -> float:
    """A box of leaves with bumps all over it."""
    rng = put.rng
    length, deep, high = rng.uniform(3, 14), rng.uniform(0.3, 1.0), rng.uniform(0.6, 2.4)
    leaves = _foliage(put)
    core = (deep / 2 * 0.85, high / 2 * 0.95, length / 2)
    put.put(leaves, (side * (x + deep / 2), -high / 2, z + length / 2), core)
    bump = rng.uniform(0.06, 0.3)
    for _ in range(int(min(6 * length * high / (1 + 8 * bump), 60))):
        # On the side that is seen or on the top.
        face = rng.random() < 0.75
        put.put(
            leaves if rng.random() < 0.6 else _tinted(leaves, rng),
            (
                side * (x if face else x + rng.uniform(0, deep)),
                -rng.uniform(0.05, 1.0) * high if face else -high,
                z + rng.uniform(0, length),
            ),
            tuple(bump * rng.uniform(0.4, 1.5, 3)),
            rng.uniform(0, 3),
            ELLIPSOID,
        )
    return length


def _fence(put: Furnishing, side: float, x: float, z: float) -> float:
    """Pickets or wires with gaps that one sees through, between rails and posts."""
    rng = put.rng
    length, high = rng.uniform(3, 9), rng.uniform(0.7, 2.0)
    wide, thick = np.exp(rng.uniform(np.log(0.015), np.log(0.12))), rng.uniform(0.008, 0.03)
    step = max(wide * rng.uniform(1.3, 4.0), length / 60)
    paint = put.material(("plain", "grain", "noise"), (0.1, 0.95))
    for along in np.arange(z, z + length, step):
        put.put(paint, (side * x, -high / 2, along), (thick, high / 2, wide / 2))
    for level in (0.15, 0.85):
        put.put(paint, (side * (x + 2 * thick), -level * high, z + length / 2), (thick, 0.03, length / 2))
    for along in np.arange(z, z + length + 0.1, length / 3):
        put.put(paint, (side * x, -high * 0.53, along), (0.05, high * 0.53, 0.05))
    return length


def _wall(put: Furnishing, side: float, x: float, z: float) -> float:
    length, high = put.rng.uniform(3, 15), put.rng.uniform(0.5, 2.5)
    half = put.rng.uniform(0.08, 0.2), high / 2, length / 2
    put.put(put.material(), (side * (x + half[0]), -high / 2, z + length / 2), half)
    return length


def _tree(put: Furnishing, side: float, x: float, z: float) -> float:
    """A trunk, a few boughs, and a crown of clumps of leaves with gaps between them."""
    rng = put.rng
    high, thick = rng.uniform(2.0, 9.0), rng.uniform(0.05, 0.3)
    spread = rng.uniform(0.25, 0.5) * high
    at = side * (x + 0.3), z + 0.3
    bark = put.material(("grain", "noise", "stripes"), (0.1, 0.4))
    put.put(bark, (at[0], -0.3 * high, at[1]), (thick, 0.4 * high, thick), kind=ELLIPSOID)
    for _ in range(int(rng.integers(0, 6))):
        long, turn = rng.uniform(0.3, 0.9) * spread, rng.uniform(0, np.pi)
        put.put(bark, (at[0], -rng.uniform(0.4, 0.9) * high, at[1]), (long, 0.3 * thick, 0.3 * thick), turn, ELLIPSOID)
    leaves = _foliage(put)
    clump = rng.uniform(0.12, 0.45) * spread
    for _ in range(int(rng.integers(12, 45))):
        offset = rng.normal(0, 0.45, 3) * spread
        centre = at[0] + offset[0], -0.72 * high + min(0.6 * offset[1], 0.5 * high), at[1] + offset[2]
        half = clump * rng.uniform(0.3, 1.3, 3)
        put.put(_tinted(leaves, rng), centre, tuple(half), rng.uniform(0, 3), ELLIPSOID)
    return 1.0


def _post(put: Furnishing, side: float, x: float, z: float) -> float:
    """A lamp or a sign on a post, sometimes a row of bollards."""
    rng = put.rng
    paint = put.material(("plain", "grain"), (0.1, 0.9))
    if rng.random() < 0.3:
        for i in range(5):
            put.put(paint, (side * x, -0.45, z + 1.5 * i), (0.06, 0.45, 0.06), kind=ELLIPSOID)
        return 7.5
    high, thick = rng.uniform(2.0, 8.0), rng.uniform(0.03, 0.12)
    put.put(paint, (side * x, -high / 2, z), (thick, high / 2, thick))
    if rng.random() < 0.7:
        sign = put.material(("writing", "pattern", "plain"), (0.2, 0.9))
        put.put(sign, (side * x, -rng.uniform(0.8, 1.0) * high, z - thick - 0.02), (*rng.uniform(0.2, 0.6, 2), 0.015))
    return 0.5


def _parked(put: Furnishing, side: float, x: float, z: float) -> float:
    length = 4.5
    _car(put, side * (x - 1.2), z + length / 2, put.rng.normal(0, 0.05))
    return length + 0.5


def _gap(put: Furnishing, side: float, x: float, z: float) -> float:
    return put.rng.uniform(1, 8)


def _car(put: Furnishing, x: float, z: float, yaw: float) -> None:
    """A painted body, a cabin with dark panes, wheels and lamps."""
    rng = put.rng
    paint = put.material(("plain", "grain"), (0.05, 0.95))
    glass, black = put.material(("plain", "noise"), (0.02, 0.35)), put.material(("plain",), (0.02, 0.12))
    half, waist, top = rng.uniform(1.7, 2.4), rng.uniform(0.75, 1.05), rng.uniform(1.35, 2.1)
    wide = rng.uniform(0.78, 0.98)

    def part(surface: np.ndarray, dz: float, low: float, high: float, size: tuple[float, float], kind=BOX, dx=0.0):
        """From `low` to `high` above the ground; half its width and length."""
        px, pz = turned(dx, dz, yaw)
        put.put(surface, (x + px, -(low + high) / 2, z + pz), (size[0], (high - low) / 2, size[1]), yaw, kind)

    part(paint, 0, 0.3, waist, (wide, half - 0.15))
    part(paint, 0, 0.28, waist + 0.08, (wide * 1.06, half * 1.08), ELLIPSOID)  # rounds the body off
    cabin, shift = rng.uniform(0.5, 0.85) * half, rng.uniform(-0.25, 0.25) * half
    part(glass, shift, waist - 0.1, top, (0.88 * wide, cabin))
    part(paint, shift, top - 0.06, top + 0.02, (0.9 * wide, 0.85 * cabin))
    for corner in (-1, 1):
        part(paint, shift + corner * cabin * 0.98, waist, top - 0.04, (0.06, 0.03), dx=0.84 * wide)
        part(paint, shift + corner * cabin * 0.98, waist, top - 0.04, (0.06, 0.03), dx=-0.84 * wide)
        for across in (-1, 1):
            part(black, corner * 0.62 * half, 0.0, 0.64, (0.1, 0.32), ELLIPSOID, across * wide)
            lamp = put.material(("plain",), (0.3, 1.0))
            part(lamp, corner * (half - 0.1), 0.62, 0.78, (0.15, 0.06), dx=across * 0.7 * wide)


def _person(put: Furnishing, x: float, z: float) -> None:
    rng = put.rng
    scale = rng.uniform(0.7, 1.1)
    coat, trousers = put.material(texels=(60, 300)), put.material(texels=(60, 300), light=(0.05, 0.5))
    skin = put.material(("plain", "noise"), (0.3, 0.8))
    put.put(coat, (x, -1.15 * scale, z), (0.23 * scale, 0.36 * scale, 0.15 * scale), rng.uniform(0, 3), ELLIPSOID)
    put.put(skin, (x, -1.62 * scale, z), (0.1 * scale, 0.13 * scale, 0.11 * scale), kind=ELLIPSOID)
    stride = rng.uniform(0.05, 0.2)
    for foot in (-1, 1):
        put.put(trousers, (x + foot * stride, -0.45 * scale, z + rng.normal(0, 0.1)), (0.08, 0.47 * scale, 0.09),
                kind=ELLIPSOID)  # fmt: skip


def _on_the_road(put: Furnishing, road: float) -> None:
    rng = put.rng
    for _ in range(int(rng.integers(0, 4))):
        _car(put, rng.uniform(-0.8, 0.8) * road, np.exp(rng.uniform(np.log(5), np.log(60))), rng.normal(0, 0.15))
    for _ in range(int(rng.integers(0, 5))):
        _person(put, rng.uniform(-1.4, 1.4) * road, np.exp(rng.uniform(np.log(2.5), np.log(40))))


def _foliage(put: Furnishing) -> np.ndarray:
    """Leaves of strong contrast, mostly green."""
    surface = put.material(LEAVES, (0.15, 0.5), texels=(25, 120), textureless=0.0)
    if put.rng.random() < 0.75:
        surface[BASE] += put.rng.uniform(0.02, 0.15) * np.array([-0.5, 1.0, -0.8])
    return surface


def _tinted(surface: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same material, lighter or darker and with its pattern elsewhere."""
    other = surface.copy()
    other[PLACE] = rng.uniform(0, 512, 2)
    other[BASE] += rng.normal(0, 0.06)
    return other


def _camera(rng: np.random.Generator, solids: np.ndarray, road: float) -> np.ndarray:
    """On the road or the pavement: mostly looking along the street, else at what lines it."""
    place = np.zeros(3)
    for _ in range(40):
        place = np.array([rng.uniform(-1.1, 1.1) * road, -rng.uniform(0.9, 2.2), rng.uniform(0, 3)])
        if is_free(place, solids, 0.5):
            break
    towards = rng.normal(0, 0.15) if rng.random() < 0.65 else rng.uniform(-1.8, 1.8)
    return make_pose(place, np.array([towards, -rng.normal(0.04, 0.1), rng.normal(0, 0.03)]))
