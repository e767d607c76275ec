"""Colour maps for disparity and error, and 8-bit views of images of any kind."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

Image = np.ndarray  # (h, w) or (h, w, 3) RGB, uint8 or uint16


def to_uint8(image: Image) -> np.ndarray:
    """The image in 8 bits: uint16 is scaled from its full range, 65535 becoming 255; uint8 is returned as it is."""
    if image.dtype == np.uint16:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return image


def to_rgb8(image: Image) -> UInt8[np.ndarray, "h w 3"]:
    """The image as 8-bit RGB; grey becomes three equal channels."""
    image = to_uint8(image)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def to_grey8(image: Image) -> UInt8[np.ndarray, "h w"]:
    """The image as 8-bit luminance (OpenCV's Rec. 601 weights)."""
    image = to_uint8(image)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def color_disparity(
    disparity: Float[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
    max_disparity: float | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Disparity in colours: far is dark blue, near is dark red, unknown is black.

    The colour map is Turbo (A. Mikhailov, "Turbo, An Improved Rainbow Colormap for Visualization", 2019).

    Args:
        disparity: px. What is not finite counts as unknown.
        valid: False where unknown; None: everywhere known.
        max_disparity: px, what the end of the map stands for; give it to compare pictures with one another.
            None: the 99th percentile of the known values, so that a few wild ones do not darken the picture.
    """
    return _color(disparity, valid, max_disparity, cv2.COLORMAP_TURBO)


def color_depth(
    depth: Float[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
    near: float | None = None,
    far: float | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Depth in the colours of disparity (its inverse): near is dark red, far is dark blue, unknown is black.

    Args:
        depth: m. What is not finite and positive counts as unknown.
        valid: False where unknown; None: everywhere known.
        near, far: m, the ends of the map; None: the 2nd and the 98th percentile of what is known.
    """
    with np.errstate(invalid="ignore"):
        known = np.isfinite(depth) & (depth > 0)
    known = known if valid is None else known & valid
    if known.any():
        near = float(np.percentile(depth[known], 2)) if near is None else near
        far = float(np.percentile(depth[known], 98)) if far is None else far
    near, far = max(near or 1.0, 1e-6), max(far or 1.0, 1e-6)
    span = max(1 / near - 1 / far, 1e-9)
    return _color((1 / np.where(known, depth, 1) - 1 / far) / span, known, 1.0, cv2.COLORMAP_TURBO)


def color_error(
    error: Float[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None = None,
    max_error: float = 5.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Absolute disparity error in colours: from dark violet (0) to yellow (`max_error` px and more), unknown is grey.

    The colour map is matplotlib's Plasma, which is ordered by lightness.

    Args:
        error: px; its sign is dropped. What is not finite counts as unknown.
        valid: False where there is no ground truth; None: everywhere known.
        max_error: px, what the end of the map stands for.
    """
    return _color(np.abs(error), valid, max_error, cv2.COLORMAP_PLASMA, unknown=128)


def color_flow(
    flow: Float[np.ndarray, "h w 2"],
    valid: Bool[np.ndarray, "h w"] | None = None,
    max_motion: float | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Flow in Middlebury's colours: the hue is the direction, the saturation the length; still is white.

    S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011: a wheel of 55 colours, red to
    the right; motion beyond the end of the scale is darkened. Unknown is black.

    Args:
        flow: px, (u, v). What is not finite counts as unknown.
        valid: False where unknown; None: everywhere known.
        max_motion: px that stand for full saturation; give it to compare pictures with one another. None: the 99th
            percentile of the known lengths.
    """
    known = np.isfinite(flow).all(2) if valid is None else np.isfinite(flow).all(2) & valid
    u, v = (np.where(known, flow[..., i], 0).astype(np.float64) for i in (0, 1))
    length = np.hypot(u, v)
    if max_motion is None:
        max_motion = float(np.percentile(length[known], 99)) if known.any() else 1.0
    share = (length / max(max_motion, 1e-9))[..., None]
    wheel = flow_wheel()
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(wheel) - 1)
    low = np.floor(place).astype(np.intp)
    weight = (place - low)[..., None]
    hue = (1 - weight) * wheel[low] + weight * wheel[(low + 1) % len(wheel)]
    colors = np.floor(255 * np.where(share <= 1, 1 - share * (1 - hue), 0.75 * hue)).astype(np.uint8)
    colors[~known] = 0
    return colors


def flow_wheel() -> Float[np.ndarray, "55 3"]:
    """Middlebury's colour wheel, RGB in [0, 1]: six stretches between pure and mixed colours.

    The hues take as many steps as people tell apart: red to yellow 15, to green 6, to cyan 4, to blue 11, to magenta
    13, and to red 6.
    """
    corners = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], float)
    stretches = []
    for start, end, count in zip(corners[:-1], corners[1:], (15, 6, 4, 11, 13, 6), strict=True):
        rising = np.floor(255 * np.arange(count) / count)[:, None] / 255
        stretches.append(start + rising * (end - start))
    return np.concatenate(stretches)


def _color(
    values: Float[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"] | None,
    end: float | None,
    colormap: int,
    unknown: int = 0,
) -> UInt8[np.ndarray, "h w 3"]:
    known = np.isfinite(values) if valid is None else np.isfinite(values) & valid
    if end is None:
        end = float(np.percentile(values[known], 99)) if known.any() else 1.0
    scale = 255 / end if end > 0 else 0.0
    levels = np.clip(np.where(known, values, 0) * scale, 0, 255).round().astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, colormap), cv2.COLOR_BGR2RGB)
    colors[~known] = unknown
    return colors
