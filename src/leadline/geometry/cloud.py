"""From a disparity or a depth and its image to a coloured point cloud."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from leadline.colors import to_rgb8
from leadline.geometry.camera import PinholeCamera, StereoCamera
from leadline.geometry.depth import disparity_to_depth


def point_cloud(
    disparity: Float[np.ndarray, "h w"],
    image: np.ndarray,
    camera: StereoCamera,
    valid: Bool[np.ndarray, "h w"] | None = None,
    max_depth: float | None = None,
) -> tuple[Float32[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"]]:
    """One point for every pixel whose depth is known, in the rows' order.

    The axes are those of OpenCV's camera frame, with the left camera at the origin: x to the right, y down, z forward.
    Pixel centres have whole coordinates; the image centre, taken where the camera has no cx or cy, is
    ((w - 1) / 2, (h - 1) / 2).

    Args:
        disparity: px, left view.
        image: the left image, (h, w) or (h, w, 3) RGB, uint8 or uint16, of the same size.
        camera: of images of this very size.
        valid: False where the disparity is unknown; None: everywhere known.
        max_depth: m, points farther than this are left out; None: no limit.

    Returns:
        points in metres and their colours, RGB.
    """
    depth, known = disparity_to_depth(disparity, camera, valid)
    height, width = disparity.shape
    pinhole = PinholeCamera(
        camera.focal,
        camera.focal,
        camera.cx if camera.cx is not None else (width - 1) / 2,
        camera.cy if camera.cy is not None else (height - 1) / 2,
    )
    return depth_cloud(depth, image, pinhole, known, max_depth)


def depth_cloud(
    depth: Float[np.ndarray, "h w"],
    image: np.ndarray,
    camera: PinholeCamera,
    valid: Bool[np.ndarray, "h w"] | None = None,
    max_depth: float | None = None,
) -> tuple[Float32[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"]]:
    """One point for every pixel whose depth (m, along the optical axis) is known; else as `point_cloud`."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(depth) & (depth > 0)
    if valid is not None:
        known &= valid
    if max_depth is not None:
        known &= depth <= max_depth
    v, u = np.nonzero(known)
    z = depth[known]
    points = np.stack([(u - camera.cx) * z / camera.fx, (v - camera.cy) * z / camera.fy, z], axis=1)
    return points.astype(np.float32), to_rgb8(image)[known]
