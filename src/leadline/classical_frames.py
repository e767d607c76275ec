"""Frames between two without a network, to stand beside the networks: their mean, and OpenCV's optical flow.

DIS: T. Kroeger, R. Timofte, D. Dai, L. Van Gool, "Fast Optical Flow Using Dense Inverse Search", ECCV 2016. The flow
at the new frame from the flows at both ends as in H. Jiang et al., "Super SloMo", CVPR 2018.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from leadline.colors import to_grey8
from leadline.errors import unknown_name
from leadline.models.network import Task
from leadline.predict import Predictor

MIN_SIDE = 32  # px; DIS fails on smaller images, so they are extended
NEAR = 2.0  # px, sigma of the window over which two warped frames are compared
CHOOSY = 4.0  # grey values of 255 by which one candidate must agree better to be taken e times as much

Flow = Float32[np.ndarray, "h w 2"]
Frame = Float32[np.ndarray, "h w 3"]


class ClassicalInterpolation(Predictor):
    """`mean`: both frames mixed by time, without any motion. `dis-warp`: both warped by optical flow, and mixed.

    Where flows disagree, `dis-warp` takes what makes the two warped frames agree best: at outlines and occlusions
    that is mostly the flow of the surface that is seen. Frames are mixed by time, but where one of them is looked at
    beyond its border, the other one stands alone.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("mean", "dis-warp")
    task = Task.INTERPOLATION
    takes_time = True

    def __init__(self, name: str = "dis-warp"):
        """Raises UserError for a name that is not in NAMES."""
        if name not in self.NAMES:
            raise unknown_name("classical interpolation", name, list(self.NAMES))
        self.name = name

    def _predict(self, frame0: np.ndarray, frame1: np.ndarray, time: float = 0.5) -> np.ndarray:
        white = float(np.iinfo(frame0.dtype).max)
        first, second = (_as_rgb(frame).astype(np.float32) / white for frame in (frame0, frame1))
        if self.name == "mean":
            frame = (1 - time) * first + time * second
        else:
            frame = warp_between(first, second, *both_flows(frame0, frame1), time)
        return np.clip(np.rint(frame * white), 0, white).astype(frame0.dtype)


def both_flows(frame0: np.ndarray, frame1: np.ndarray) -> tuple[Flow, Flow]:
    """DIS flow from frame 0 to frame 1, and back; px."""
    height, width = frame0.shape[:2]
    below, after = max(0, MIN_SIDE - height), max(0, MIN_SIDE - width)
    grey0, grey1 = (
        cv2.copyMakeBorder(to_grey8(frame), 0, below, 0, after, cv2.BORDER_REPLICATE) for frame in (frame0, frame1)
    )
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forward = dis.calc(grey0, grey1, None)  # type: ignore[call-overload]
    backward = dis.calc(grey1, grey0, None)  # type: ignore[call-overload]
    return forward[:height, :width], backward[:height, :width]


def warp_between(first: Frame, second: Frame, forward: Flow, backward: Flow, time: float) -> Frame:
    """The frame at `time`, from the frames (values in [0, 1]) and the flows between them."""
    # Flow at the new frame, three guesses: that of frame 0 and that of frame 1, each looked up where its pixel has
    # come from, and both mixed as if motion varied little.
    from_first, from_second = warp(forward, -time * forward), warp(backward, -(1 - time) * backward)
    guesses = [
        (-time * from_first, (1 - time) * from_first),
        (time * from_second, -(1 - time) * from_second),
        (
            -(1 - time) * time * forward + time * time * backward,
            (1 - time) ** 2 * forward - time * (1 - time) * backward,
        ),
    ]
    total, weights = np.zeros_like(first), np.zeros(first.shape[:2], np.float32)
    for to_first, to_second in guesses:
        warped = warp(first, to_first), warp(second, to_second)
        share0 = (1 - time) * np.where(_leaves(to_first), 1e-3, 1).astype(np.float32)
        share1 = time * np.where(_leaves(to_second), 1e-3, 1).astype(np.float32)
        apart = cv2.GaussianBlur(np.abs(warped[0] - warped[1]).mean(2), (0, 0), NEAR) * 255
        weight = np.exp(-apart / CHOOSY) + np.float32(1e-6)  # something is left where none agrees
        mixed = (share0[..., None] * warped[0] + share1[..., None] * warped[1]) / (share0 + share1)[..., None]
        total += weight[..., None] * mixed
        weights += weight
    return total / weights[..., None]


def warp(image: Float32[np.ndarray, "h w c"], flow: Flow) -> Float32[np.ndarray, "h w c"]:
    """out(x, y) = image(x + u, y + v), bilinear, clamped at the border."""
    x, y = _targets(flow)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _targets(flow: Flow) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    rows, columns = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]


def _leaves(flow: Flow) -> Bool[np.ndarray, "h w"]:
    """Where the flow leads out of the image."""
    x, y = _targets(flow)
    return (x < 0) | (x > flow.shape[1] - 1) | (y < 0) | (y > flow.shape[0] - 1)


def _as_rgb(frame: np.ndarray) -> np.ndarray:
    return np.repeat(frame[..., None], 3, 2) if frame.ndim == 2 else frame
