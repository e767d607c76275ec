"""Disparity to depth and back, for a rectified pair."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from leadline.geometry.camera import StereoCamera


def disparity_to_depth(
    disparity: Float[np.ndarray, "h w"],
    camera: StereoCamera,
    valid: Bool[np.ndarray, "h w"] | None = None,
) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Depth along the optical axis, `focal * baseline / (disparity + doffs)`.

    Args:
        disparity: px, left view.
        camera: of images of this very size; a resized image needs a resized camera.
        valid: False where the disparity is unknown; None: everywhere known.

    Returns:
        depth in metres, 0 where it is not known, and the mask of where it is known. It is unknown where the
        disparity is unknown, not finite, or leaves nothing in front of the camera (disparity + doffs <= 0), and where
        it would be too far for float32.
    """
    with np.errstate(invalid="ignore"):
        shift = disparity.astype(np.float64) + camera.doffs
        known = np.isfinite(shift) & (shift > 0)
        known &= camera.focal * camera.baseline / np.where(known, shift, 1) <= np.finfo(np.float32).max
    if valid is not None:
        known &= valid
    depth = np.zeros(disparity.shape, np.float32)
    depth[known] = camera.focal * camera.baseline / shift[known]
    return depth, known


def depth_to_disparity(
    depth: Float[np.ndarray, "h w"],
    camera: StereoCamera,
    valid: Bool[np.ndarray, "h w"] | None = None,
) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Disparity of points at a known depth, `focal * baseline / depth - doffs`.

    Args:
        depth: m, along the optical axis of the left camera.
        camera: of images of this very size.
        valid: False where the depth is unknown; None: everywhere known.

    Returns:
        disparity in px, 0 where it is not known, and the mask of where it is known. It is unknown where the depth is
        unknown, not finite or not positive.
    """
    with np.errstate(invalid="ignore"):
        known = np.isfinite(depth) & (depth > 0)
    if valid is not None:
        known &= valid
    disparity = np.zeros(depth.shape, np.float32)
    disparity[known] = camera.focal * camera.baseline / depth[known].astype(np.float64) - camera.doffs
    return disparity, known
