"""Do the left and the right disparity agree, and what stands where they do not."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32


def left_right_difference(
    left: Float[np.ndarray, "h w"], right: Float[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """How far each left pixel lands from itself when it goes to the right view and back.

    `|left(x) - right(x - left(x))|` in px, the right disparity being interpolated linearly along the row; inf where
    the pixel's match lies outside the right view, or a disparity is not finite.

    Args:
        left: px, positive, of the left view: x_right = x - left(x).
        right: px, positive, of the right view: x_left = x + right(x).
    """
    height, width = left.shape
    finite = np.isfinite(left)
    target = np.arange(width) - np.where(finite, left, 0)
    inside = finite & (target >= 0) & (target <= width - 1)
    target = np.where(inside, target, 0)
    low = np.floor(target).astype(np.intp)
    high = np.minimum(low + 1, width - 1)
    weight = target - low
    rows = np.arange(height)[:, None]
    with np.errstate(invalid="ignore"):
        seen = np.where(weight > 0, (1 - weight) * right[rows, low] + weight * right[rows, high], right[rows, low])
        difference = np.abs(left - seen)
    return np.where(inside & np.isfinite(difference), difference, np.inf).astype(np.float32)


def consistent(
    left: Float[np.ndarray, "h w"], right: Float[np.ndarray, "h w"], threshold: float = 1.0
) -> Bool[np.ndarray, "h w"]:
    """The left-right check: True where `left_right_difference` is at most `threshold` px.

    What fails is occluded in the right view, outside of it, or wrong in one of the two.
    """
    return left_right_difference(left, right) <= threshold


def confidence(difference: Float[np.ndarray, "h w"], scale: float = 1.0) -> Float32[np.ndarray, "h w"]:
    """Confidence in [0, 1] from a left-right difference: `exp(-difference / scale)`.

    1 where both views agree exactly, 0.37 at a difference of `scale` px, 0 where there is no match to compare with.
    It orders pixels by trust; it is not a probability.
    """
    return np.exp(-difference.astype(np.float32) / np.float32(scale))


def fill_background(disparity: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Every invalid pixel takes the disparity of the background beside it.

    Of the nearest valid pixels to its left and right in the row, the smaller disparity: what only one view sees lies
    behind what hides it. Rows without any valid pixel take the nearest filled row above, else below. This is the
    background interpolation of the KITTI stereo development kit (Geiger et al., CVPR 2012), its columns simplified.

    Returns:
        the disparity in px, all zero where nothing at all is valid; valid pixels are unchanged.
    """
    known = np.where(valid, disparity, np.nan).astype(np.float32)
    from_left = _carry(known)
    from_right = _carry(known[:, ::-1])[:, ::-1]
    filled = np.where(valid, known, np.fmin(from_left, from_right))
    from_above = _carry(filled.T)  # does nothing but in rows that are empty
    from_below = _carry(from_above[:, ::-1])[:, ::-1]
    return np.ascontiguousarray(np.nan_to_num(from_below.T, nan=0.0))


def _carry(values: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Every NaN takes the nearest value to its left; NaN remains where there is none."""
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(values.shape[1])), axis=1)
    return np.take_along_axis(values, last, axis=1)
