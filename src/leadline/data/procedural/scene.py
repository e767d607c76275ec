"""What is in a procedural scene: backgrounds, objects and their surfaces, drawn from one random generator."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from leadline.data.procedural.bank import HOLED, SOLID, TEXT, THIN, Bank
from leadline.errors import UserError


@dataclass(frozen=True)
class SceneConfig:
    """How scenes are drawn. Probabilities are per scene unless said otherwise; each can be set to 0, for ablation."""

    max_disparity: float = 192.0  # px; no surface comes nearer
    min_nearest: float = 10.0  # px; a scene's nearest surface lies about there or nearer, never beyond half the limit
    min_objects: int = 4
    max_objects: int = 16
    room: float = 0.3  # floor, ceiling, side and back walls
    furnished: float = 0.0  # stereo alone: a ray-cast room with furniture and things afloat, in the place of layers
    outdoors: float = 0.0  # stereo alone: a ray-cast street with hedges, fences, trees and cars, in the place of layers
    street: float = 0.3  # ground plane, far wall, sometimes side walls
    slanted: float = 0.6  # per object: surface not fronto-parallel
    curved: float = 0.4  # per object: surface bulges
    thin: float = 0.15  # per object: rods and branches
    holed: float = 0.2  # per object: fences, rings, foliage
    text: float = 0.05  # per object: letters
    textureless: float = 0.06  # per layer: contrast of a few grey levels
    coarse: float = 0.0  # per layer: texture enlarged 3 to 16 times, so that most of what is near looks smooth
    reflections: float = 0.1
    photometric: float = 0.8  # exposure, gamma and colour differ between the views
    blur: float = 0.3
    noise: float = 0.8
    vignetting: float = 0.3
    misalignment: float = 0.3  # right view slightly up, down or rotated
    greyscale: float = 0.25
    low_light: float = 0.08
    moving_camera: float = 0.5  # flow and triplets: a camera moves through the scene, else everything by itself
    slow: float = 0.4  # flow and triplets: all motion is a half to a twentieth
    other_time: float = 0.0  # of triplets: the middle frame is not at 0.5 but anywhere between

    def __post_init__(self) -> None:
        if not 1 <= self.max_disparity <= 4096:
            raise UserError(f"scenes: max_disparity {self.max_disparity} is outside 1..4096 px")
        if not self.min_nearest > 0:
            raise UserError(f"scenes: min_nearest {self.min_nearest} must be more than 0 px")
        if not 0 <= self.min_objects <= self.max_objects:
            raise UserError(f"scenes: min_objects {self.min_objects} exceeds max_objects {self.max_objects}")
        if self.furnished + self.outdoors > 1:
            raise UserError(
                f"scenes: furnished ({self.furnished}) and outdoors ({self.outdoors}) are shares of the same scenes "
                "and may be 1 together"
            )
        for name, value in vars(self).items():
            is_probability = name not in ("max_disparity", "min_nearest", "min_objects", "max_objects")
            if is_probability and not 0 <= value <= 1:
                raise UserError(f"scenes: {name} is a probability, got {value}")


# One layer is a row of these numbers. Coordinates are pixels of the reference (left) view.
FIELDS = (
    # surface: disparity = d0 + a X + b Y + k X^2 + n Y^2, with X = x - cx, Y = y - cy
    *("cx", "cy", "d0", "a", "b", "k", "n"),
    # shape: (p, q) = M (X, Y) in [-1, 1]; tile < 0 covers everything; edge = px per unit of (p, q)
    *("tile", "m00", "m01", "m10", "m11", "edge"),
    # texture: (s, t) = T (X, Y) + offset in texels
    *("texture", "t00", "t01", "t10", "t11", "ts", "tt"),
    # colour = base + value0 * first + value1 * second, times a linear shading
    *("base_r", "base_g", "base_b", "first_r", "first_g", "first_b", "second_r", "second_g", "second_b"),
    *("shade_x", "shade_y", "gloss"),
    # motion of the layer between two frames about (cx, cy), see motion.py; used for flow and triplets only
    *("u0", "v0", "ux", "uy", "vx", "vy", "wx", "wy", "w0"),
)
BEHIND_ALL = -1e4  # d0 of a layer that does not exist
MAX_SLOPE = 0.6  # px of disparity per px; keeps every surface visible in both views


class Layer:
    """One layer of a batch of scenes: every field of FIELDS as a (b, 1, 1) tensor."""

    def __init__(self, values: Float[np.ndarray, "b fields"], device: torch.device | str):
        self.bounds = values  # on the CPU, for decisions that must not wait for a GPU
        self.values = torch.from_numpy(values).to(device)[:, :, None, None]

    def __getattr__(self, name: str) -> Float[Tensor, "b 1 1"]:
        if name not in _COLUMN:
            raise AttributeError(name)
        return self.values[:, _COLUMN[name]]

    def colour(self, name: str) -> Float[Tensor, "b 3 1 1"]:
        """`base`, `first` or `second`, RGB."""
        start = _COLUMN[f"{name}_r"]
        return self.values[:, start : start + 3]

    def bound(self, name: str) -> np.ndarray:
        """A field as a plain (b,) array."""
        return self.bounds[:, _COLUMN[name]]

    @property
    def covers_all(self) -> bool:
        return bool((self.bound("tile") < 0).all())

    @property
    def is_glossy(self) -> bool:
        return bool((self.bound("gloss") > 0).any())

    def window(self, height: int, width: int, shift: float = 0.0, time: float = 0.0) -> tuple[slice, slice]:
        """Rows and columns of a view outside of which no scene of the batch shows this layer.

        Args:
            shift: the view's offset from the reference view, in units of the disparity (the right view: -1).
            time: the view's time, for layers that move.
        """
        exists = self.bound("d0") > BEHIND_ALL
        if not exists.any():
            return slice(0, 0), slice(0, 0)
        if (self.bound("tile")[exists] < 0).any():
            return slice(0, height), slice(0, width)
        f = {name: self.bound(name)[exists].astype(np.float64) for name in _COLUMN}
        # Half extents of the box round the shape: |X|, |Y| over |p|, |q| <= 1, with (X, Y) = M^-1 (p, q).
        determinant = np.abs(f["m00"] * f["m11"] - f["m01"] * f["m10"])
        half_x = (np.abs(f["m11"]) + np.abs(f["m01"])) / determinant + 2
        half_y = (np.abs(f["m10"]) + np.abs(f["m00"])) / determinant + 2
        change = np.abs(f["a"]) * half_x + np.abs(f["b"]) * half_y + np.abs(f["k"]) * half_x**2
        most = f["d0"] + change + np.abs(f["n"]) * half_y**2
        xs, ys = _moved_corners(f, half_x, half_y, time)
        left = (f["cx"] + xs.min(0) + min(shift, 0.0) * most).min()
        right = (f["cx"] + xs.max(0) + max(shift, 0.0) * most).max()
        top, bottom = (f["cy"] + ys.min(0)).min(), (f["cy"] + ys.max(0)).max()
        return _span(top, bottom, height), _span(left, right, width)


def _moved_corners(
    f: dict[str, np.ndarray], half_x: np.ndarray, half_y: np.ndarray, time: float
) -> tuple[Float[np.ndarray, "4 n"], Float[np.ndarray, "4 n"]]:
    """The corners of the boxes round the layers at `time`; far off where a box reaches behind the camera."""
    x, y = np.stack([-half_x, half_x, -half_x, half_x]), np.stack([-half_y, -half_y, half_y, half_y])
    z = 1 + time * (f["w0"] + f["wx"] * x + f["wy"] * y)
    to_x = x + time * (f["u0"] + f["ux"] * x + f["uy"] * y)
    to_y = y + time * (f["v0"] + f["vx"] * x + f["vy"] * y)
    behind = (z < 0.05).any(0)
    far = np.array([-1e6, 1e6, -1e6, 1e6])[:, None]
    z = np.where(behind, 1, z)
    return np.where(behind, far, to_x / z), np.where(behind, far, to_y / z)


def _span(low: float, high: float, limit: int) -> slice:
    return slice(int(np.clip(np.floor(low), 0, limit)), int(np.clip(np.ceil(high) + 1, 0, limit)))


class Layers:
    """The layers of a batch of scenes, in the order in which they are painted; padded to the same number."""

    def __init__(self, scenes: list[np.ndarray], device: torch.device | str):
        self.count = max(len(scene) for scene in scenes)
        self.values = np.zeros((len(scenes), self.count, len(FIELDS)), np.float32)
        self.values[:, :, _COLUMN["d0"]] = BEHIND_ALL
        for row, scene in zip(self.values, scenes, strict=True):
            row[: len(scene)] = scene
        self.layers = [Layer(np.ascontiguousarray(self.values[:, i]), device) for i in range(self.count)]
        self.table = torch.from_numpy(self.values).to(device)

    def __getitem__(self, i: int) -> Layer:
        return self.layers[i]

    def of(self, front: Int[Tensor, "b h w"], name: str) -> Float[Tensor, "b h w"]:
        """One field of each pixel's layer."""
        flat = torch.gather(self.table[..., _COLUMN[name]], 1, front.flatten(1).long())
        return flat.reshape(front.shape)


_COLUMN = {name: i for i, name in enumerate(FIELDS)}


def draw_layers(rng: np.random.Generator, size: tuple[int, int], config: SceneConfig, bank: Bank) -> np.ndarray:
    """Draws one scene. Returns (layers, fields) float32, backgrounds first, then objects from far to near."""
    width = size[1]
    nearest = draw_nearest(rng, config, width)
    backgrounds = _draw_backgrounds(rng, size, config, bank, nearest)
    count = int(rng.integers(config.min_objects, config.max_objects + 1))
    objects = [_draw_object(rng, size, config, bank, nearest, backgrounds) for _ in range(count)]
    objects.sort(key=lambda layer: layer["d0"])
    layers = backgrounds + objects
    return np.array([[layer[name] for name in FIELDS] for layer in layers], np.float32)


def largest_disparity(config: SceneConfig, width: int) -> float:
    """px, in images of that width."""
    return min(config.max_disparity, 0.45 * width)


def draw_nearest(rng: np.random.Generator, config: SceneConfig, width: int) -> float:
    """A scene's nearest disparity, px, in images of that width.

    Near and far vary by orders of magnitude between a tunnel and a table top, hence the logarithm.
    """
    limit = largest_disparity(config, width)
    return np.exp(rng.uniform(np.log(min(config.min_nearest, 0.5 * limit)), np.log(limit)))


def _draw_backgrounds(
    rng: np.random.Generator, size: tuple[int, int], config: SceneConfig, bank: Bank, nearest: float
) -> list[dict[str, float]]:
    height, width = size
    kind = rng.random()
    far = rng.uniform(0.02, 0.5) * nearest
    x0, y0 = rng.uniform(0.3, 0.7) * width, rng.uniform(0.25, 0.6) * height
    wall = _surface(rng, config, bank, size, cx=x0, cy=y0, d0=max(far, 0.3))
    if kind < config.room + config.street:
        # Planes through the vanishing point (x0, y0), where their disparity is 0: what lies nearest is seen.
        in_room = kind < config.room
        if not in_room:
            wall["d0"] = rng.uniform(0.3, 0.15 * nearest + 0.4)
        floor = min(rng.uniform(0.5, 1.0) * nearest / max(height - y0, 1), MAX_SLOPE)
        layers = [wall, _surface(rng, config, bank, size, cx=x0, cy=y0, d0=0.0, b=floor)]
        if in_room and rng.random() < 0.6:
            layers.append(_surface(rng, config, bank, size, cx=x0, cy=y0, d0=0.0, b=-floor * rng.uniform(0.5, 1.5)))
        for side in (-1.0, 1.0):
            if rng.random() < (0.7 if in_room else 0.4):
                slope = min(rng.uniform(0.3, 1.0) * nearest / max(x0, width - x0), MAX_SLOPE)
                layers.append(_surface(rng, config, bank, size, cx=x0, cy=y0, d0=0.0, a=side * slope))
        return layers
    if rng.random() < config.slanted:
        reach = 0.8 * wall["d0"]  # stays in front of infinity across the whole image
        wall["a"] = rng.uniform(-1, 1) * min(reach / width, 0.3)
        wall["b"] = rng.uniform(-1, 1) * min(reach / height, 0.3)
    if rng.random() < config.curved:
        wall["k"] = rng.uniform(0, 1) * min(0.2 * nearest / width, 0.25) / width
        wall["n"] = rng.uniform(0, 1) * 0.2 * nearest / height**2
    return [wall]


def _draw_object(
    rng: np.random.Generator,
    size: tuple[int, int],
    config: SceneConfig,
    bank: Bank,
    nearest: float,
    backgrounds: list[dict[str, float]],
) -> dict[str, float]:
    height, width = size
    x, y = rng.uniform(-0.05, 1.05) * width, rng.uniform(0, 1) * height
    behind = max(_disparity_at(layer, x, y) for layer in backgrounds)
    d0 = behind + (max(nearest, behind) - behind) * rng.uniform(0.03, 1) ** 1.3
    d0 = min(d0, config.max_disparity * 0.97)
    pick = rng.random()
    kind = SOLID
    for other, probability in ((THIN, config.thin), (HOLED, config.holed), (TEXT, config.text)):
        if pick < probability:
            kind = other
            break
        pick -= probability
    # Nearer things look bigger, on the whole; many stay small.
    radius = np.exp(rng.uniform(np.log(5), np.log(0.4 * min(size)))) * (0.6 + 0.8 * d0 / nearest)
    aspect = np.exp(rng.normal(0, 0.4))
    if kind == THIN and rng.random() < 0.6:  # a rod: a solid shape drawn very long and a few pixels wide
        kind, radius, aspect = SOLID, rng.uniform(1, 4), np.exp(rng.uniform(np.log(8), np.log(80)))
        radius *= np.sqrt(aspect)
    layer = _surface(rng, config, bank, size, cx=x, cy=y, d0=d0)
    extent = radius * max(aspect, 1 / aspect) ** 0.5
    room = max(min(d0 - 0.2, config.max_disparity - d0), 0.0)  # change of disparity that keeps it in range
    if rng.random() < config.slanted:
        layer["a"] = float(np.clip(rng.normal(0, 0.12), -1, 1) * min(MAX_SLOPE, 0.5 * room / extent))
        layer["b"] = float(np.clip(rng.normal(0, 0.25), -1, 1) * min(MAX_SLOPE, 0.5 * room / extent))
    if rng.random() < config.curved:
        bulge = rng.uniform(-0.5, 0.5) * min(0.25 * extent, 0.4 * room, 12.0)
        layer["k"] = bulge / extent**2
        layer["n"] = bulge / extent**2
    layer["tile"] = float(rng.choice(bank.of_kind(kind)))
    upright = rng.random() < 0.4
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.05) if upright else rng.uniform(0, 2 * np.pi)
    rx, ry = radius * np.sqrt(aspect), radius / np.sqrt(aspect)
    cos, sin = np.cos(angle), np.sin(angle)
    layer.update(m00=cos / rx, m01=sin / rx, m10=-sin / ry, m11=cos / ry, edge=min(rx, ry))
    return layer


def _surface(
    rng: np.random.Generator, config: SceneConfig, bank: Bank, size: tuple[int, int], **geometry: float
) -> dict[str, float]:
    """A layer that covers everything, textured and coloured."""
    layer: dict[str, float] = dict.fromkeys(FIELDS, 0.0)
    layer.update(tile=-1.0, edge=1.0, **geometry)
    scale = np.exp(rng.uniform(np.log(0.35), np.log(1.1)))  # texels per px: at most 1.1, so that nothing aliases
    if config.coarse and rng.random() < config.coarse:
        scale = np.exp(-rng.uniform(np.log(3), np.log(16)))
    stretch, angle = np.exp(rng.normal(0, 0.2)), rng.uniform(0, 2 * np.pi)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    layer.update(
        texture=float(rng.integers(len(bank.texture_kinds))),
        t00=cos * stretch,
        t01=sin * stretch,
        t10=-sin / stretch,
        t11=cos / stretch,
        ts=rng.uniform(0, 512),
        tt=rng.uniform(0, 512),
    )
    contrast = rng.uniform(0.01, 0.06) if rng.random() < config.textureless else rng.uniform(0.15, 1.0)
    grey = rng.uniform(0.1, 0.8)
    tint = rng.normal(0, 0.12, 3)
    first = contrast * np.clip(rng.normal(0.8, 0.25, 3), 0, 1.3) * rng.choice([-1, 1])
    second = contrast * rng.normal(0, 0.25, 3)
    base = grey + tint - 0.5 * first - 0.5 * second  # the mean colour stays `grey` whatever the contrast
    for channel, letter in enumerate("rgb"):
        layer[f"base_{letter}"] = base[channel]
        layer[f"first_{letter}"] = first[channel]
        layer[f"second_{letter}"] = second[channel]
    height, width = size
    layer["shade_x"], layer["shade_y"] = rng.normal(0, 0.25 / width), rng.normal(0, 0.25 / height)
    layer["gloss"] = rng.uniform(0.1, 0.5) if rng.random() < 0.4 else 0.0
    reach = 0.06 * width
    layer["u0"], layer["v0"] = rng.normal(0, reach), rng.normal(0, 0.5 * reach)
    for name in ("ux", "uy", "vx", "vy"):
        layer[name] = rng.normal(0, 0.04)
    return layer


def _disparity_at(layer: dict[str, float], x: float, y: float) -> float:
    dx, dy = x - layer["cx"], y - layer["cy"]
    return layer["d0"] + layer["a"] * dx + layer["b"] * dy + layer["k"] * dx * dx + layer["n"] * dy * dy
