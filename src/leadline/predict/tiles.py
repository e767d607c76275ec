"""How a large image is cut into overlapping tiles, so that memory stays bounded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A tile along one axis: what it sees, and which part of that is kept. All in px of the image."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def spans(length: int, tile: int, overlap: int, multiple: int) -> list[Span]:
    """Cuts an axis into tiles that see `overlap` px of each other and meet in the middle of it.

    Tiles start at multiples of `multiple`, so that a network's strides fall on the same pixels in every tile as
    in the whole image. The last one is moved back to the full size rather than being short.

    Args:
        length: px of the axis.
        tile: px that a tile sees; a multiple of `multiple`, more than `overlap` + `multiple`.
        overlap: px that neighbours share at least.
        multiple: px between possible starts.
    """
    if length <= tile:
        return [Span(0, length, 0, length)]
    step = (tile - overlap) // multiple * multiple
    last = -(-(length - tile) // multiple) * multiple
    starts = [*range(0, last, step), last]
    stops = [min(start + tile, length) for start in starts]
    cuts = [(stop + start) // 2 for stop, start in zip(stops[:-1], starts[1:], strict=True)]
    return [Span(*where) for where in zip(starts, stops, [0, *cuts], [*cuts, length], strict=True)]


def tile_grid(size: tuple[int, int], max_area: int, overlap: tuple[int, int], multiple: int) -> list[tuple[Span, Span]]:
    """The (rows, columns) tiles of an image such that none has more than about `max_area` px.

    Strips over the full width where those can be at least three overlaps high: a row of a stereo pair is matched along
    its whole length. Only images too wide for that are cut along the row as well.

    Args:
        size: (h, w) of the image.
        max_area: px; an image within it is one tile.
        overlap: px that neighbours share, (between rows, between columns).
        multiple: px, tiles start at multiples of it.
    """
    height, width = size
    if height * width <= max_area:
        return [(Span(0, height, 0, height), Span(0, width, 0, width))]

    def tile_side(area: int, other: int, shared: int) -> int:
        smallest = 3 * (shared + multiple)
        return max(area // other, smallest) // multiple * multiple

    lowest = min(height, 3 * (overlap[0] + multiple))
    tile_width = width if width * lowest <= max_area else tile_side(max_area, lowest, overlap[1])
    tile_height = tile_side(max_area, min(tile_width, width), overlap[0])
    rows = spans(height, tile_height, overlap[0], multiple)
    columns = [Span(0, width, 0, width)] if tile_width >= width else spans(width, tile_width, overlap[1], multiple)
    return [(row, column) for row in rows for column in columns]
