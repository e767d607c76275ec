"""How the layers of a scene move between frames: each by itself, and all of them as a moving camera sees them.

A layer's motion is a projective map of the plane, linear in time before its division: a point (X, Y) relative to the
layer's centre goes to the first two of H (X, Y, 1) over the third, with H = I + t M. That holds affine motions, and
exactly what a camera that translates by t T sees of a plane (the homography that a plane induces; Hartley and
Zisserman, "Multiple View Geometry", section 13.1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from leadline.data.procedural.scene import FIELDS, Layers, SceneConfig

Plane = Float[Tensor, "b h w"]
# M, row by row
ENTRIES = (("ux", "uy", "u0"), ("vx", "vy", "v0"), ("wx", "wy", "w0"))
_COLUMNS = [FIELDS.index(name) for row in ENTRIES for name in row]
LEAST_Z = 1e-3  # of what is divided by: beyond the plane's horizon points go far off and stay on their side


def draw_motion(
    rng: np.random.Generator, layers: Float[np.ndarray, "n fields"], size: tuple[int, int], config: SceneConfig
) -> Float[np.ndarray, "n fields"]:
    """The layers of a scene with their motions: slowed down, or replaced by those of a moving camera.

    Args:
        rng: of its own, so that stereo scenes do not depend on what is drawn here.
        layers: as `draw_layers` gives them, moving each by itself.
    """
    layers = layers.copy()
    motion = layers[:, _COLUMNS].reshape(-1, 3, 3).astype(np.float64)
    moving_camera, slow = rng.random() < config.moving_camera, rng.random() < config.slow
    camera = _camera_motion(rng, layers.astype(np.float64), size)
    # In a still world most things stay where they are; some move as well.
    own = rng.random(len(layers)) < 0.2
    pace = np.exp(rng.uniform(np.log(0.05), np.log(0.6))) if slow else 1.0
    if moving_camera:
        covers_all = layers[:, FIELDS.index("tile")] < 0
        motion = camera + 0.7 * motion * (own & ~covers_all)[:, None, None]
    layers[:, _COLUMNS] = (pace * motion).reshape(-1, 9)
    return layers


def _camera_motion(
    rng: np.random.Generator, layers: Float[np.ndarray, "n fields"], size: tuple[int, int]
) -> Float[np.ndarray, "n 3 3"]:
    """M of every layer for one motion of the camera; a layer's disparity stands for the inverse of its depth."""
    height, width = size
    focal = rng.uniform(0.6, 1.4) * width
    field = {name: layers[:, FIELDS.index(name)] for name in ("cx", "cy", "d0", "a", "b")}
    at_corners = [
        np.abs(field["d0"] + field["a"] * (x - field["cx"]) + field["b"] * (y - field["cy"]))
        for x in (0, width) for y in (0, height)
    ]  # fmt: skip
    nearest = max(float(np.max(at_corners)), 1e-3)
    yaw, pitch = rng.normal(0, 0.03 * width) / focal, rng.normal(0, 0.02 * width) / focal
    roll = rng.normal(0, 0.03)
    # Translation over depth, so that what is nearest moves by so many px, or grows by so much.
    tx, ty = rng.normal(0, 0.10 * width) / nearest, rng.normal(0, 0.03 * width) / nearest
    tz = -rng.uniform(0, 0.5) * rng.choice([1.0, 1.0, 1.0, -0.6, 0.0]) * focal / nearest
    ox, oy = field["cx"] - width / 2, field["cy"] - height / 2  # centres relative to the principal point
    ones = np.ones_like(ox)
    # d = plane . (x, y, 1) with x, y relative to the principal point
    plane = np.stack([field["a"], field["b"], field["d0"] - field["a"] * ox - field["b"] * oy], 1)
    turn = np.array([[0, -roll, focal * yaw], [roll, 0, -focal * pitch], [-yaw / focal, pitch / focal, 0]])
    move = turn + np.array([tx, ty, tz / focal])[:, None] * plane[:, None, :]
    there = _translation(ox * ones, oy * ones)
    back = _translation(-ox * ones, -oy * ones)
    return back @ move @ there


def _translation(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3 3"]:
    result = np.tile(np.eye(3), (len(x), 1, 1))
    result[:, 0, 2], result[:, 1, 2] = x, y
    return result


def moved_from(field: Callable[[str], Tensor], time: float, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Where on a layer, (X, Y), lies what is seen at (x, y), relative to its centre, at `time`: H inverted.

    Args:
        field: the layer's entries of M by their names, of one layer or of each pixel's own.
    """
    (a, b, c), (d, e, f), (g, h, i) = (
        [time * field(name) + float(row == column) for column, name in enumerate(names)]
        for row, names in enumerate(ENTRIES)
    )
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    z = ((d * h - e * g) * x + (b * g - a * h) * y + (a * e - b * d)) / determinant
    z = z.clamp(min=LEAST_Z)
    here_x = ((e * i - f * h) * x + (c * h - b * i) * y + (b * f - c * e)) / determinant / z
    here_y = ((f * g - d * i) * x + (a * i - c * g) * y + (c * d - a * f)) / determinant / z
    return here_x, here_y


def flow_at(layers: Layers, front: Tensor, time: float, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """(u, v), px, until `time`, of the points (X, Y) on each pixel's own layer `front`."""
    m = [[time * layers.of(front, name) for name in row] for row in ENTRIES]
    to_x, to_y, z = (row[0] * x + row[1] * y + row[2] for row in m)
    # (x + to_x) / (1 + z) - x without the cancelling of two large numbers
    z1 = (1 + z).clamp(min=LEAST_Z)
    return (to_x - x * z) / z1, (to_y - y * z) / z1
