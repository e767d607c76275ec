"""Paints the layers of a scene into a view, from back to front with a depth test. Batched, on any device.

Legend: b scenes, h w pixels of the view, X Y position on a layer relative to its centre, in reference pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leadline.data.procedural.bank import BORDER, COLUMNS, SHAPE_EXTENT, SHAPE_TILE, TEXTURE_TILE, Bank
from leadline.data.procedural.scene import Layer, Layers

Plane = Float[Tensor, "b h w"]
# Where on a layer the view's pixels look: (layer, x, y) -> X, Y.
Locate = Callable[[Layer, Plane, Plane], tuple[Plane, Plane]]


@dataclass(frozen=True)
class Mirror:
    """What glossy surfaces reflect: an image behind them, so that it moves with a share of their disparity."""

    strength: Float[Tensor, "b 1 1"]  # 0: none
    share: Float[Tensor, "b 1 1"]


@dataclass
class View:
    """What one camera sees, before its lens and sensor."""

    colour: Float[Tensor, "b 3 h w"]  # may leave [0, 1]; the camera clips
    disparity: Plane  # of the surface in front, px
    front: Int[Tensor, "b h w"]  # its layer


def paint(
    layers: Layers,
    bank: Bank,
    locate: Locate,
    x: Plane,
    y: Plane,
    shift: float = 0.0,
    time: float = 0.0,
    mirror: Mirror | None = None,
) -> View:
    """Paints every layer where it is nearer than what was painted before; outlines are antialiased.

    Args:
        x, y: the view's pixels.
        shift, time: of the view (see `Layer.window`), so that only what a layer can touch is computed.
    """
    b, height, width = x.shape
    colour = x.new_zeros((b, 3, height, width))
    disparity = torch.full_like(x, -torch.inf)
    front = torch.zeros(x.shape, dtype=torch.int32, device=x.device)
    for i in range(layers.count):
        layer = layers[i]
        rows, columns = layer.window(height, width, shift, time)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        window = (slice(None), rows, columns)
        pixel_x = x[window]
        here_x, here_y = locate(layer, pixel_x, y[window])
        here_d = disparity_on(layer, here_x, here_y)
        cover = (here_d > disparity[window]).float()
        if not layer.covers_all:
            cover = cover * _coverage(layer, bank, here_x, here_y)
        paint_ = _surface_colour(layer, bank, here_x, here_y)
        if mirror is not None and layer.is_glossy:
            paint_ = paint_ + _reflection(layer, bank, mirror, here_x, here_y, pixel_x)
        colour[:, :, rows, columns] = torch.lerp(colour[:, :, rows, columns], paint_, cover[:, None])
        inside = cover > 0.5
        disparity[window] = torch.where(inside, here_d, disparity[window])
        front[window] = torch.where(inside, i, front[window])
    return View(colour, disparity, front)


def disparity_on(layer: Layer, x: Plane, y: Plane) -> Plane:
    """Disparity of the layer's surface at (X, Y), px."""
    return layer.d0 + x * (layer.a + layer.k * x) + y * (layer.b + layer.n * y)


def _coverage(layer: Layer, bank: Bank, x: Plane, y: Plane) -> Plane:
    """Share of each pixel that the layer's shape covers, 0..1, from the signed distance to its outline."""
    half, low, high = SHAPE_TILE / 2, BORDER, SHAPE_TILE - BORDER
    p = (layer.m00 * x + layer.m01 * y) * (SHAPE_EXTENT * half) + half
    q = (layer.m10 * x + layer.m11 * y) * (SHAPE_EXTENT * half) + half
    tile_p, tile_q = p.clamp(low, high), q.clamp(low, high)
    # Off the tile the distance goes on growing, so that a rod a pixel wide casts no veil over its surroundings.
    beyond = torch.maximum((p - tile_p).abs(), (q - tile_q).abs()) / half
    distance = _sample(bank.shapes, layer.tile.clamp(min=0), SHAPE_TILE, tile_p, tile_q)[:, 0] - beyond
    cover = (distance * (layer.edge / SHAPE_EXTENT) + 0.5).clamp(0, 1)
    return torch.where(layer.tile < 0, 1.0, cover)


def _surface_colour(layer: Layer, bank: Bank, x: Plane, y: Plane) -> Float[Tensor, "b 3 h w"]:
    s, t = layer.t00 * x + layer.t01 * y + layer.ts, layer.t10 * x + layer.t11 * y + layer.tt
    value = texture_at(bank, layer.texture, s, t)
    shade = 1 + (layer.shade_x * x + layer.shade_y * y).clamp(-0.4, 0.4)
    colour = layer.colour("base") + layer.colour("first") * value[:, 0:1] + layer.colour("second") * value[:, 1:2]
    return colour * shade[:, None]


def _reflection(
    layer: Layer, bank: Bank, mirror: Mirror, x: Plane, y: Plane, pixel_x: Plane
) -> Float[Tensor, "b 1 h w"]:
    # The surface point lies at column X + cx of the reference view, the virtual image a share of the way there.
    virtual_x = pixel_x + (x + layer.cx - pixel_x) * mirror.share
    tile = torch.full_like(layer.texture, float(bank.texture_kinds.index("dead leaves")))
    image = texture_at(bank, tile, 0.5 * virtual_x, 0.5 * (y + layer.cy))[:, 0:1]
    return (layer.gloss * mirror.strength)[:, None] * (image - 0.3).clamp(min=0)


def texture_at(bank: Bank, tile: Float[Tensor, "b _ _"], s: Plane, t: Plane) -> Float[Tensor, "b 2 h w"]:
    """Two texture values in [0, 1] at texel coordinates, mirrored at the tile's rim so that no seam shows."""
    return _sample(bank.textures, tile, TEXTURE_TILE, _mirror(s), _mirror(t))


def _mirror(s: Plane) -> Plane:
    span = TEXTURE_TILE - 2.0 * BORDER
    return BORDER + (torch.remainder(s, 2 * span) - span).abs()


def _sample(
    atlas: Float[Tensor, "1 c ha wa"], tile: Float[Tensor, "b _ _"], side: int, x: Plane, y: Plane
) -> Float[Tensor, "b c h w"]:
    """Bilinear look-up at (x, y) px within one tile per scene or pixel."""
    height, width = atlas.shape[-2:]
    row = torch.div(tile, COLUMNS, rounding_mode="floor")
    left, top = (tile - row * COLUMNS) * side, row * side
    grid = x.new_empty((*x.shape, 2))
    torch.add(x * (2 / width), left * (2 / width) + (1 / width - 1), out=grid[..., 0])
    torch.add(y * (2 / height), top * (2 / height) + (1 / height - 1), out=grid[..., 1])
    return F.grid_sample(atlas.expand(len(x), -1, -1, -1), grid, align_corners=False, padding_mode="border")


def visible_in(other: Plane, position: Plane, expected: Plane, tolerance: float) -> Bool[Tensor, "b h w"]:
    """Whether points at column `position` of another view of the same rows are seen there.

    Args:
        other: the other view's disparity map.
        position: columns in it, px, fractional.
        expected: the points' own disparities; hidden where the other view shows something nearer by > tolerance.
    """
    width = other.shape[-1]
    left = position.floor().clamp(0, width - 1).long()
    right = (left + 1).clamp(max=width - 1)
    nearest = torch.minimum(torch.gather(other, 2, left), torch.gather(other, 2, right))
    return (position >= 0) & (position <= width - 1) & (nearest <= expected + tolerance)
