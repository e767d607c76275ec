"""Occlusion from the ground truth of both views."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32


def occluded_by_cross_check(
    left: Float32[np.ndarray, "h w"],
    left_valid: Bool[np.ndarray, "h w"],
    right: Float32[np.ndarray, "h w"],
    right_valid: Bool[np.ndarray, "h w"],
    tolerance: float = 1.0,
) -> Bool[np.ndarray, "h w"]:
    """The pixels that the left view alone sees: those whose match is outside the right view or in front of it.

    A pixel at x with disparity d is seen by both where the right view's disparity at x - d is d too, within
    `tolerance` px, at either of the two pixels around x - d. Where both are unknown it counts as seen: nothing
    speaks against it. (Cross-checking: D. Scharstein and R. Szeliski, IJCV 2002.)

    Args:
        left, right: true disparities of the views, px, positive in both.
        left_valid, right_valid: where they are known.
        tolerance: px.

    Returns:
        True where occluded; False where the left disparity is not valid.
    """
    height, width = left.shape
    matched = np.arange(width, dtype=np.float32) - left
    rows = np.arange(height)[:, None]
    agrees = np.zeros((height, width), dtype=bool)
    known = np.zeros((height, width), dtype=bool)
    for column in (np.floor(matched).astype(np.int64), np.ceil(matched).astype(np.int64)):
        inside = (column >= 0) & (column < width)
        clipped = column.clip(0, width - 1)
        there = inside & right_valid[rows, clipped]
        known |= there
        agrees |= there & (np.abs(right[rows, clipped] - left) <= tolerance)
    outside = matched < 0
    return left_valid & (outside | (known & ~agrees))
