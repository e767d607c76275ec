"""Do the left and the right disparity agree, or flow and flow back, and what stands where they do not."""

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


def forward_backward_difference(
    forward: Float[np.ndarray, "h w 2"], backward: Float[np.ndarray, "h w 2"]
) -> Float32[np.ndarray, "h w"]:
    """How far each pixel of frame 0 lands from itself when it goes to frame 1 and back.

    `|forward(x) + backward(x + forward(x))|` in px, the flow back being interpolated bilinearly; inf where the pixel
    leaves frame 1, or a flow is not finite.
    """
    return _there_and_back(forward, backward)[0]


def forward_backward_limit(
    forward: Float[np.ndarray, "h w 2"], backward: Float[np.ndarray, "h w 2"]
) -> Float32[np.ndarray, "h w"]:
    """The largest difference, px, at which flow and flow back agree: it grows with the motion.

    `sqrt(0.01 (|forward|^2 + |backward|^2) + 0.5)`: N. Sundaram et al., "Dense Point Trajectories by GPU-accelerated
    Large Displacement Optical Flow", ECCV 2010.
    """
    back = _there_and_back(forward, backward)[1]
    with np.errstate(invalid="ignore"):
        squares = np.square(forward.astype(np.float64)).sum(2) + np.square(back).sum(2)
    return np.sqrt(0.01 * np.nan_to_num(squares, nan=0.0, posinf=0.0) + 0.5).astype(np.float32)


def _there_and_back(
    forward: Float[np.ndarray, "h w 2"], backward: Float[np.ndarray, "h w 2"]
) -> tuple[Float32[np.ndarray, "h w"], Float[np.ndarray, "h w 2"]]:
    """The difference, and the flow back from where each pixel goes to (NaN outside)."""
    height, width = forward.shape[:2]
    finite = np.asarray(np.isfinite(forward).all(2))
    moved = np.where(finite[..., None], forward, 0).astype(np.float64)
    x, y = np.arange(width) + moved[..., 0], np.arange(height)[:, None] + moved[..., 1]
    inside = finite & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    x0, y0 = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    with np.errstate(invalid="ignore"):
        above = (1 - fx) * backward[y0, x0] + np.where(fx > 0, fx * backward[y0, x1], 0)
        below = (1 - fx) * backward[y1, x0] + np.where(fx > 0, fx * backward[y1, x1], 0)
        back = (1 - fy) * above + np.where(fy > 0, fy * below, 0)
        difference = np.hypot(*np.moveaxis(moved + back, 2, 0))
    known = inside & np.isfinite(difference)
    return np.where(known, difference, np.inf).astype(np.float32), np.where(inside[..., None], back, np.nan)


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
