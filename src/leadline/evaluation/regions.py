"""Regions of an image that are judged apart."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float

JUMP = 1.0  # px between neighbours
BAND = 3  # px on either side of a jump


def near_edges(disparity: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels within BAND (rows and columns) of a depth edge.

    An edge is a pair of horizontal or vertical neighbours, both valid, whose true disparities differ by more than
    JUMP. Neighbours of a hole in the truth therefore mark no edge.
    """
    disparity = np.where(valid, disparity, 0)
    jump = np.zeros(disparity.shape, np.uint8)
    across = valid[:, 1:] & valid[:, :-1] & (np.abs(np.diff(disparity, axis=1)) > JUMP)
    down = valid[1:] & valid[:-1] & (np.abs(np.diff(disparity, axis=0)) > JUMP)
    jump[:, 1:] |= across
    jump[:, :-1] |= across
    jump[1:] |= down
    jump[:-1] |= down
    return cv2.dilate(jump, np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)).astype(bool)
