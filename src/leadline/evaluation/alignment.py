"""Bringing a monocular depth to the truth's scale before it is measured, the crops, and the range that counts.

A network that learnt depth without a metric truth knows it up to a scale (and some up to a shift). Which alignment was
taken belongs to every number: see docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from leadline.errors import UserError, unknown_name

ALIGNMENTS = ("none", "median", "scale", "affine", "affine-inverse")
CROPS = ("none", "garg", "eigen", "nyu")
NEAREST = 1e-3  # m; as in Monodepth2's evaluation


@dataclass(frozen=True)
class DepthProtocol:
    """How depths are compared.

    Args:
        align: of ALIGNMENTS, fitted to each image over the pixels that count.
        min_depth, cap: m. Pixels whose true depth is within (min_depth, cap] count, and the aligned prediction is
            clipped to that range. None: no cap.
        crop: of CROPS; only pixels within it count.
    """

    align: str = "none"
    min_depth: float = NEAREST
    cap: float | None = None
    crop: str = "none"

    def __post_init__(self) -> None:
        if self.align not in ALIGNMENTS:
            raise unknown_name("alignment", self.align, list(ALIGNMENTS))
        if self.crop not in CROPS:
            raise unknown_name("crop", self.crop, list(CROPS))
        if not self.min_depth > 0 or (self.cap is not None and not self.cap > self.min_depth):
            raise UserError(f"min depth {self.min_depth:g} , cap {self.cap}: 0 < min depth < cap is wanted, in metres")
        if self.align == "affine-inverse" and self.cap is None:
            raise UserError("alignment affine-inverse may put points infinitely far: give a cap too, such as 80 m")

    def __str__(self) -> str:
        cap = "no cap" if self.cap is None else f"cap {self.cap:g} m"
        return f"align {self.align}, {cap}, crop {self.crop}"

    def counts(self, depth: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """The pixels that count."""
        farthest = np.inf if self.cap is None else self.cap
        with np.errstate(invalid="ignore"):
            return valid & (depth > self.min_depth) & (depth <= farthest) & crop_mask(self.crop, *depth.shape)

    def compared(
        self, predicted: Float64[np.ndarray, " n"], truth: Float64[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " n"]:
        """The predictions of the pixels that count, aligned and clipped; NaN where there is no answer."""
        aligned = align(self.align, predicted, truth)
        return np.clip(aligned, self.min_depth, self.cap)  # NaN stays


def align(
    kind: str, predicted: Float64[np.ndarray, " n"], truth: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """`predicted` (m, or any unit) brought to the scale of `truth` (m) over all pixels of one image.

    - none: as it is;
    - median: times median(truth) / median(predicted) (T. Zhou et al., CVPR 2017);
    - scale: times s, the least squares of s p - g;
    - affine: s p + t, the least squares of s p + t - g (as for "affine-invariant depth", W. Yin et al., CVPR 2021);
    - affine-inverse: 1 / (s / p + t), the least squares of s / p + t - 1 / g (R. Ranftl et al., "MiDaS", TPAMI 2020);
      what is not positive then is infinitely far.

    Pixels without an answer (not finite; for ratios also not positive) stay NaN and do not take part in the fit.
    """
    result = predicted.astype(np.float64).copy()
    result[~np.isfinite(result)] = np.nan
    if kind == "none":
        return result
    if kind in ("median", "affine-inverse"):
        result[~(result > 0)] = np.nan
    known = np.isfinite(result)
    p, g = result[known], truth[known]
    if not p.size:
        return result
    if kind == "median":
        result *= np.median(g) / np.median(p)
    elif kind == "scale":
        square = float(p @ p)
        result *= float(p @ g) / square if square > 0 else 1.0
    elif kind == "affine":
        scale, shift = _line(p, g)
        result = scale * result + shift
    else:
        scale, shift = _line(1 / p, 1 / g)
        inverse = scale / result + shift
        with np.errstate(divide="ignore", invalid="ignore"):
            result = np.where(np.isnan(inverse), np.nan, np.where(inverse > 0, 1 / inverse, np.finfo(np.float64).max))
    return result


def _line(x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> tuple[float, float]:
    """Scale and shift of the line through (x, y) in least squares; a constant x gives the mean of y."""
    centre_x, centre_y = x.mean(), y.mean()
    offset = x - centre_x
    square = float(offset @ offset)
    # What is constant up to rounding has no slope.
    if square <= x.size * (1e-12 * abs(centre_x)) ** 2:
        return 0.0, float(centre_y)
    scale = float(offset @ (y - centre_y)) / square
    return scale, float(centre_y - scale * centre_x)


def crop_mask(kind: str, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """True within a crop.

    - garg: of KITTI, R. Garg et al., ECCV 2016;
    - eigen: of KITTI, D. Eigen et al., NeurIPS 2014, as scaled by C. Godard et al., CVPR 2017;
    - nyu: rows 45 to 471 and columns 41 to 601 of 480 x 640 (Eigen's crop for NYU); other sizes in proportion.
    """
    if kind == "none":
        return np.ones((height, width), bool)
    rows, columns = {
        "garg": ((0.40810811, 0.99189189), (0.03594771, 0.96405229)),
        "eigen": ((0.3324324, 0.91351351), (0.0359477, 0.96405229)),
        "nyu": ((45 / 480, 471 / 480), (41 / 640, 601 / 640)),
    }[kind]
    # Fractions of 480 and 640 are not exact in binary: int() of a hair below 45 would be 44.
    top, bottom = (int(height * share + 1e-6) for share in rows)
    left, right = (int(width * share + 1e-6) for share in columns)
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask
