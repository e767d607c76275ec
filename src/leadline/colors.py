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
    """Flow in colours: the hue is the direction, the saturation the length; still is white, unknown is black.

    Args:
        flow: px, (u, v). What is not finite counts as unknown.
        valid: False where unknown; None: everywhere known.
        max_motion: px that stand for full saturation; give it to compare pictures with one another. None: the 99th
            percentile of the known lengths.
    """
    known = np.isfinite(flow).all(2) if valid is None else np.isfinite(flow).all(2) & valid
    u, v = (np.where(known, flow[..., i], 0) for i in (0, 1))
    length = np.hypot(u, v)
    if max_motion is None:
        max_motion = float(np.percentile(length[known], 99)) if known.any() else 1.0
    hue = np.mod(np.degrees(np.arctan2(v, u)), 360)
    saturation = np.clip(length / max(max_motion, 1e-9), 0, 1)
    hsv = np.stack([hue, saturation, np.ones_like(hue)], 2).astype(np.float32)
    colors = (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)
    colors[~known] = 0
    return colors


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
