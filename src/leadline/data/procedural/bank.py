"""The bank of shapes and textures that procedural scenes are made of.

Drawn once per process from fixed seeds with NumPy and OpenCV, then kept as two atlases that the renderer samples:
signed distances of shapes (one channel) and textures (two channels, coloured per layer when used).
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SHAPE_TILE = 96  # px per side of one shape
TEXTURE_TILE = 256  # px per side of one texture
COLUMNS = 8  # tiles per atlas row
BORDER = 2  # px at a tile's rim that samples stay away from, so that neighbours never bleed in
SHAPE_EXTENT = 0.8  # shapes fill this part of their tile; beyond is the outside
NOISE_SIDE = 1024

SOLID, THIN, HOLED, TEXT = "solid", "thin", "holed", "text"


@dataclass(frozen=True)
class Bank:
    """Atlases: `shapes` holds signed distances in half tiles, positive inside; `textures` holds values in [0, 1]."""

    shapes: Float[Tensor, "1 1 hs ws"]
    textures: Float[Tensor, "1 2 ht wt"]
    noise: Float[Tensor, "3 n n"]  # unit Gaussian
    shape_kinds: tuple[str, ...]
    texture_kinds: tuple[str, ...]

    def of_kind(self, kind: str) -> np.ndarray:
        """Indices of the shapes of one kind."""
        return np.array([i for i, k in enumerate(self.shape_kinds) if k == kind])


@lru_cache(maxsize=4)
def load_bank(device: str = "cpu") -> Bank:
    """The bank on a device; the same on every machine."""
    if device != "cpu":
        bank = load_bank("cpu")
        return Bank(
            bank.shapes.to(device),
            bank.textures.to(device),
            bank.noise.to(device),
            bank.shape_kinds,
            bank.texture_kinds,
        )
    rng = np.random.Generator(np.random.PCG64(20240))
    shapes = [(kind, _signed_distance(draw(rng))) for kind, draw in _SHAPES for _ in range(_PER_SHAPE[kind])]
    textures = [(name, _weathered(rng, draw(rng))) for name, draw, count in _TEXTURES for _ in range(count)]
    noise = rng.standard_normal((3, NOISE_SIDE, NOISE_SIDE), dtype=np.float32)
    return Bank(
        torch.from_numpy(_atlas([s for _, s in shapes])[None, None]),
        torch.from_numpy(np.stack([_atlas([t[..., c] for _, t in textures]) for c in range(2)])[None]),
        torch.from_numpy(noise),
        tuple(kind for kind, _ in shapes),
        tuple(name for name, _ in textures),
    )


def _atlas(tiles: list[np.ndarray]) -> np.ndarray:
    side = tiles[0].shape[0]
    rows = -(-len(tiles) // COLUMNS)
    atlas = np.zeros((rows * side, COLUMNS * side), np.float32)
    for i, tile in enumerate(tiles):
        y, x = (i // COLUMNS) * side, (i % COLUMNS) * side
        atlas[y : y + side, x : x + side] = tile
    return atlas


# --- shapes: binary masks of 4 x SHAPE_TILE per side, turned into signed distances -----------------------------

_SIDE = 4 * SHAPE_TILE
_CENTRE = _SIDE / 2
_RADIUS = _CENTRE * SHAPE_EXTENT


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    signed = np.where(mask > 0, inside - 0.5, 0.5 - outside) / _CENTRE
    return cv2.resize(signed.astype(np.float32), (SHAPE_TILE, SHAPE_TILE), interpolation=cv2.INTER_AREA)


def _canvas() -> np.ndarray:
    return np.zeros((_SIDE, _SIDE), np.uint8)


def _polygon(rng: np.random.Generator, corners: int, spikiness: float) -> np.ndarray:
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = _RADIUS * rng.uniform(1 - spikiness, 1, corners)
    points = np.stack([_CENTRE + radii * np.cos(angles), _CENTRE + radii * np.sin(angles)], -1)
    return cv2.fillPoly(_canvas(), [points.astype(np.int32)], 1)


def _rectangle(rng: np.random.Generator) -> np.ndarray:
    mask, half = _canvas(), int(_RADIUS)
    corner = int(rng.uniform(0, 0.8) * half)
    low, high = int(_CENTRE) - half, int(_CENTRE) + half
    cv2.rectangle(mask, (low + corner, low), (high - corner, high), 1, -1)
    cv2.rectangle(mask, (low, low + corner), (high, high - corner), 1, -1)
    for x in (low + corner, high - corner):
        for y in (low + corner, high - corner):
            cv2.circle(mask, (x, y), corner, 1, -1)
    return mask


def _blob(rng: np.random.Generator, threshold: float = 0.0) -> np.ndarray:
    field = _smooth_noise(rng, _SIDE, rng.uniform(20, 60))
    y, x = np.mgrid[:_SIDE, :_SIDE]
    radius = np.hypot(x - _CENTRE, y - _CENTRE) / _RADIUS
    return ((field * 0.6 + 1.0 - 1.6 * radius > threshold) & (radius < 1)).astype(np.uint8)


def _solid(rng: np.random.Generator) -> np.ndarray:
    pick = rng.integers(5)
    if pick == 0:
        return cv2.circle(_canvas(), (int(_CENTRE), int(_CENTRE)), int(_RADIUS), 1, -1)
    if pick == 1:
        return _rectangle(rng)
    if pick == 2:
        return _polygon(rng, int(rng.integers(3, 7)), 0.4)
    if pick == 3:
        return _polygon(rng, int(rng.integers(7, 16)), 0.8)
    return _blob(rng)


def _thin(rng: np.random.Generator) -> np.ndarray:
    """Branches: strokes that fork, a few pixels wide."""
    mask = _canvas()

    def grow(x: float, y: float, angle: float, length: float, width: float, depth: int) -> None:
        x1, y1 = x + length * np.cos(angle), y + length * np.sin(angle)
        if np.hypot(x1 - _CENTRE, y1 - _CENTRE) > _RADIUS:
            return
        cv2.line(mask, (int(x), int(y)), (int(x1), int(y1)), 1, max(2, int(width)))
        if depth:
            for _ in range(int(rng.integers(1, 4))):
                grow(x1, y1, angle + rng.normal(0, 0.6), length * rng.uniform(0.6, 0.95), width * 0.75, depth - 1)

    for _ in range(int(rng.integers(1, 4))):
        x, y = _CENTRE + rng.uniform(-0.3, 0.3, 2) * _RADIUS
        grow(x, y, rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5) * _RADIUS, rng.uniform(4, 14), 5)
    return mask if mask.any() else _thin(rng)


def _holed(rng: np.random.Generator) -> np.ndarray:
    pick = rng.integers(4)
    if pick == 0:  # ring or frame
        outer = _solid(rng)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(rng.uniform(0.1, 0.3) * _RADIUS) + 1,) * 2)
        return outer - cv2.erode(outer, kernel, borderValue=0)
    if pick == 1:  # fence or grille
        mask, gap = _canvas(), int(rng.uniform(0.15, 0.5) * _RADIUS)
        width, low, high = max(3, int(gap * rng.uniform(0.15, 0.5))), int(_CENTRE - _RADIUS), int(_CENTRE + _RADIUS)
        for at in range(low, high, gap):
            cv2.rectangle(mask, (at, low), (min(at + width, high), high), 1, -1)
            if rng.random() < 0.7:
                cv2.rectangle(mask, (low, at), (high, min(at + width, high)), 1, -1)
        return mask
    if pick == 2:  # solid with holes
        mask = _solid(rng)
        for _ in range(int(rng.integers(3, 12))):
            x, y = (_CENTRE + rng.uniform(-0.7, 0.7, 2) * _RADIUS).astype(int)
            cv2.circle(mask, (int(x), int(y)), int(rng.uniform(0.05, 0.2) * _RADIUS), 0, -1)
        return mask if mask.any() else _holed(rng)
    leaves = _canvas()  # foliage: scattered leaves
    for _ in range(int(rng.integers(20, 90))):
        radius, angle = _RADIUS * np.sqrt(rng.uniform(0, 0.8)), rng.uniform(0, 2 * np.pi)
        at = (int(_CENTRE + radius * np.cos(angle)), int(_CENTRE + radius * np.sin(angle)))
        axes = (int(rng.uniform(0.04, 0.12) * _RADIUS), int(rng.uniform(0.02, 0.07) * _RADIUS) + 1)
        cv2.ellipse(leaves, at, axes, rng.uniform(0, 180), 0, 360, 1, -1)
    return leaves


def _text(rng: np.random.Generator) -> np.ndarray:
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTXYZ0123456789"), int(rng.integers(1, 4))))
    font = [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX][rng.integers(3)]
    thickness = int(rng.integers(6, 22))
    (width, height), _ = cv2.getTextSize(letters, font, 5, thickness)
    scale = 5 * min(1.9 * _RADIUS / (width + thickness), 1.6 * _RADIUS / (height + thickness))
    (width, height), _ = cv2.getTextSize(letters, font, scale, thickness)
    at = (int(_CENTRE - width / 2), int(_CENTRE + height / 2))
    return cv2.putText(_canvas(), letters, at, font, scale, 1, thickness)


_SHAPES = ((SOLID, _solid), (THIN, _thin), (HOLED, _holed), (TEXT, _text))
_PER_SHAPE = {SOLID: 24, THIN: 10, HOLED: 20, TEXT: 10}


# --- textures: two channels in [0, 1], TEXTURE_TILE per side -----------------------------------------------------


def _smooth_noise(rng: np.random.Generator, side: int, sigma: float) -> np.ndarray:
    """Zero-mean, unit-variance noise of one scale (sigma px)."""
    coarse = max(4, int(side / max(1.0, sigma / 2)))
    field = rng.standard_normal((coarse, coarse)).astype(np.float32)
    field = cv2.GaussianBlur(cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC), (0, 0), 1.0)
    return (field - field.mean()) / (field.std() + 1e-6)


def _unit(field: np.ndarray) -> np.ndarray:
    """Stretches to [0, 1] between the 1st and the 99th percentile."""
    low, high = np.percentile(field, (1, 99))
    return np.clip((field - low) / (high - low + 1e-6), 0, 1).astype(np.float32)


def _fractal(rng: np.random.Generator) -> np.ndarray:
    slope = rng.uniform(0.3, 1.1)
    octaves = [2.0**i for i in range(7)]
    return _unit(np.sum([_smooth_noise(rng, TEXTURE_TILE, s) * s**slope for s in octaves], axis=0))


def _pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first, second], -1)


def _noise_texture(rng: np.random.Generator) -> np.ndarray:
    return _pair(_fractal(rng), _fractal(rng))


def _grain(rng: np.random.Generator) -> np.ndarray:
    fine = _smooth_noise(rng, TEXTURE_TILE, rng.uniform(1, 3))
    return _pair(_unit(fine), _fractal(rng))


def _warp(rng: np.random.Generator, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates, gently bent, so that regular patterns are not all perfectly straight."""
    y, x = np.mgrid[:TEXTURE_TILE, :TEXTURE_TILE].astype(np.float32)
    bend = rng.uniform(0, strength)
    return x + bend * _smooth_noise(rng, TEXTURE_TILE, 60.0), y + bend * _smooth_noise(rng, TEXTURE_TILE, 60.0)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    x, y = _warp(rng, 8.0)
    angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(6), np.log(60)))
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    return _pair(np.clip(0.5 + wave * rng.choice([0.5, 4]), 0, 1).astype(np.float32), _fractal(rng))


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """Checks, bricks or dots in a regular grid."""
    x, y = _warp(rng, 3.0)
    period, pick = np.exp(rng.uniform(np.log(10), np.log(60))), rng.integers(3)
    if pick == 0:
        field = (np.floor(x / period) + np.floor(y / period)) % 2
    elif pick == 1:
        row = np.floor(2 * y / period)
        field = ((x / period + 0.5 * (row % 2)) % 1 > 0.12) & ((2 * y / period) % 1 > 0.2)
    else:
        field = np.hypot((x % period) - period / 2, (y % period) - period / 2) < period * rng.uniform(0.15, 0.4)
    shaded = 0.85 * field.astype(np.float32) + 0.15 * _fractal(rng)
    return _pair(cv2.GaussianBlur(shaded, (0, 0), 0.7), _fractal(rng))


def _dead_leaves(rng: np.random.Generator) -> np.ndarray:
    """Occluding discs and polygons of power-law sizes: the statistics of natural images.

    Follows the model of Lee, Mumford and Huang, "Occlusion Models for Natural Images", IJCV 2001.
    """
    scale = 2
    tile = np.zeros((TEXTURE_TILE * scale, TEXTURE_TILE * scale, 2), np.float32)
    sharp = rng.random() < 0.7
    for size in np.sort(rng.pareto(1.3, 900) * 5 * scale + 3 * scale)[::-1]:
        size = min(size, 90 * scale)
        x, y = rng.uniform(0, TEXTURE_TILE * scale, 2)
        colour = [float(v) for v in rng.uniform(0, 1, 2)]
        if rng.random() < 0.5:
            cv2.circle(tile, (int(x), int(y)), int(size), colour, -1)
        else:
            corners = int(rng.integers(3, 7))
            angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
            points = np.stack([x + size * np.cos(angles), y + size * np.sin(angles)], -1)
            cv2.fillPoly(tile, [points.astype(np.int32)], colour)
    tile = cv2.resize(tile, (TEXTURE_TILE, TEXTURE_TILE), interpolation=cv2.INTER_AREA)
    grain = rng.uniform(0, 0.2)
    tile = (1 - grain) * tile + grain * _noise_texture(rng)
    return tile if sharp else cv2.GaussianBlur(tile, (0, 0), rng.uniform(0.8, 2))


def _writing(rng: np.random.Generator) -> np.ndarray:
    tile, y = np.full((TEXTURE_TILE, TEXTURE_TILE), 0.9, np.float32), 0
    while y < TEXTURE_TILE:
        scale = float(rng.uniform(0.3, 1.2))
        y += int(26 * scale) + 4
        letters = "".join(rng.choice(list("abcdefghiklmnoprstuwxyzABCDEFGHKLMNRST0123456789 ."), 60))
        cv2.putText(tile, letters, (int(rng.integers(-40, 4)), y), int(rng.integers(0, 5)), scale, 0.1, int(1 + scale))
    return _pair(cv2.GaussianBlur(tile, (0, 0), 0.6), _fractal(rng))


def _blobs(rng: np.random.Generator) -> np.ndarray:
    field = _smooth_noise(rng, TEXTURE_TILE, rng.uniform(5, 30))
    return _pair(_unit(np.tanh(field * rng.uniform(1, 8))), _fractal(rng))


def _weathered(rng: np.random.Generator, tile: np.ndarray) -> np.ndarray:
    """Fine detail over everything, as real materials have: without it large areas could not be matched by anyone."""
    strength = np.exp(rng.uniform(np.log(0.05), np.log(0.4)))
    fine = _smooth_noise(rng, TEXTURE_TILE, 1.0) + _smooth_noise(rng, TEXTURE_TILE, rng.uniform(2, 6))
    return np.clip(tile + strength * 0.25 * fine[..., None], 0, 1).astype(np.float32)


def _plain(rng: np.random.Generator) -> np.ndarray:
    """Nearly textureless: broad shading only."""
    return _pair(_unit(_smooth_noise(rng, TEXTURE_TILE, 100.0)), _unit(_smooth_noise(rng, TEXTURE_TILE, 100.0)))


_TEXTURES = (
    ("noise", _noise_texture, 14),
    ("grain", _grain, 6),
    ("stripes", _stripes, 7),
    ("pattern", _pattern, 7),
    ("dead leaves", _dead_leaves, 18),
    ("writing", _writing, 5),
    ("blobs", _blobs, 5),
    ("plain", _plain, 2),
)
