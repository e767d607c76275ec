"""Is a pair rectified, and are its views the right way round? Judged from matched feature points alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from leadline.colors import to_grey8

MAX_PIXELS = 1_500_000  # larger images are halved until they fit: features need no more, and time grows with it
MAX_FEATURES = 3000
MIN_SIDE = 64  # px; ORB finds nothing in less, and fails in much less
MIN_MATCHES = 25  # fewer say nothing
RATIO = 0.75  # Lowe's ratio test, IJCV 2004
INLIER = 2.0  # px at the matching size: how near to the fitted vertical offset a trusted match lies


@dataclass(frozen=True)
class RectificationCheck:
    """What the matches of a pair say. In a rectified pair matches lie in the same row, the right one further left."""

    matches: int  # trusted ones; the rest of the fields are 0 where there are fewer than MIN_MATCHES
    vertical_offset: float = 0.0  # px of the given images, typical |y_right - y_left|
    rotation: float = 0.0  # degrees, of the right picture against the left, clockwise
    scale: float = 1.0  # vertical size of the right view against the left
    negative: float = 0.0  # share of matches that lie further right in the right view

    @property
    def enough(self) -> bool:
        """Whether there was enough texture to judge at all."""
        return self.matches >= MIN_MATCHES

    def warnings(self, max_offset: float = 1.0) -> list[str]:
        """One line for each thing that looks wrong; none where the pair looks right or cannot be judged.

        Args:
            max_offset: px, a vertical offset above it counts as unrectified.
        """
        found = []
        if self.vertical_offset > max_offset:
            found.append(
                f"the pair looks unrectified: matched points differ by {self.vertical_offset:.1f} px vertically "
                f"(rotation {self.rotation:+.2f} degrees, scale {self.scale:.3f}): rectify it with its calibration"
            )
        if self.negative > 0.7:
            found.append(
                f"left and right look swapped: {self.negative:.0%} of the matched points lie further right in the "
                "right view: exchange them"
            )
        return found


def check_rectification(left: np.ndarray, right: np.ndarray) -> RectificationCheck:
    """Matches ORB features (Rublee et al., ICCV 2011) and fits how their rows differ.

    The model is linear, `y_right - y_left = a + b (x - w/2) + c (y - h/2)`, fitted in least absolute values, so that
    wrong matches weigh little: a is a shift, b a rotation, c a scale.

    Args:
        left, right: (h, w) or (h, w, 3) RGB of one size, uint8 or uint16.
    """
    height, width = left.shape[:2]
    if min(height, width) < MIN_SIDE:
        return RectificationCheck(matches=0)
    shrink = 1.0
    while height * width * shrink**2 > MAX_PIXELS:
        shrink /= 2
    start, end = _matched_points(_shrunk(left, shrink), _shrunk(right, shrink))
    if len(start) < MIN_MATCHES:
        return RectificationCheck(matches=len(start))

    centre = np.array([width, height]) * shrink / 2
    terms = np.column_stack([np.ones(len(start)), start - centre])
    offset = end[:, 1] - start[:, 1]
    model = _least_absolute(terms, offset)
    fitted = terms @ model
    trusted = np.abs(offset - fitted) < INLIER
    if trusted.sum() < MIN_MATCHES:
        return RectificationCheck(matches=int(trusted.sum()))

    to_the_right = end[trusted, 0] - start[trusted, 0] > 1.0
    return RectificationCheck(
        matches=int(trusted.sum()),
        vertical_offset=float(np.median(np.abs(fitted[trusted])) / shrink),
        rotation=float(np.degrees(np.arctan(model[1]))),
        scale=float(1 + model[2]),
        negative=float(to_the_right.mean()),
    )


def _shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    grey = to_grey8(image)
    return grey if factor == 1 else cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _matched_points(left: np.ndarray, right: np.ndarray) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """Feature points (x, y) that are each other's best match and clearly better than the second best."""
    detector = cv2.ORB.create(nfeatures=MAX_FEATURES)
    points_left, codes_left = detector.detectAndCompute(left, None)
    points_right, codes_right = detector.detectAndCompute(right, None)
    if codes_left is None or codes_right is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    forth = _distinct(matcher.knnMatch(codes_left, codes_right, k=2))
    back = _distinct(matcher.knnMatch(codes_right, codes_left, k=2))
    pairs = [(i, j) for i, j in forth.items() if back.get(j) == i]
    start = np.array([points_left[i].pt for i, _ in pairs], np.float64).reshape(-1, 2)
    end = np.array([points_right[j].pt for _, j in pairs], np.float64).reshape(-1, 2)
    return start, end


def _distinct(candidates) -> dict[int, int]:
    """Index to index of the matches that pass the ratio test."""
    return {
        two[0].queryIdx: two[0].trainIdx
        for two in candidates
        if len(two) == 2 and two[0].distance < RATIO * two[1].distance
    }


def _least_absolute(terms: Float[np.ndarray, "n k"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    """Least absolute values, by reweighted least squares (Schlossmacher, JASA 1973)."""
    model = np.zeros(terms.shape[1])
    for _ in range(30):
        weight = 1 / np.sqrt(np.maximum(np.abs(values - terms @ model), 0.1))
        model = np.linalg.lstsq(terms * weight[:, None], values * weight, rcond=None)[0]
    return model
