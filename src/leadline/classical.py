"""OpenCV's stereo algorithms as Predictors, to stand beside the networks.

SGBM: H. Hirschmüller, "Stereo Processing by Semiglobal Matching and Mutual Information", PAMI 2008, in OpenCV's
variant with three path directions; BM: K. Konolige, "Small Vision Systems", 1998.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from leadline.colors import to_grey8, to_rgb8
from leadline.errors import UserError, unknown_name
from leadline.geometry.consistency import fill_background
from leadline.models.network import Task
from leadline.predict import Predictor

BLOCK = 5  # px, SGBM
P1, P2 = 8 * 3 * 25, 32 * 3 * 25  # SGBM's penalties for a disparity step of one, and of more: 8 and 32 x 3 x BLOCK^2
BM_BLOCK = 15  # px
UNIQUENESS = 10  # percent by which the best cost must win
SPECKLE_SIZE, SPECKLE_RANGE = 100, 2  # regions below that many px, joined within that many px, are dropped
PREFILTER_CAP = 63  # limit of the x derivatives that SGBM matches, as in OpenCV's sample program stereo_match
MAX_RANGE = 2048  # px; OpenCV gives sixteenths of a pixel in 16 bits with a sign
MIN_SIDE = 32  # px; OpenCV fails on images of a few pixels, so smaller ones are extended


class ClassicalStereo(Predictor):
    """SGBM or BM; what they leave open is filled with the background beside it (`fill_background`).

    `sgbm` is the algorithm as one calls it: the first `num_disparities` columns have nowhere to be matched and are
    filled as well. `sgbm-padded` extends both images to the left by that range, repeating the edge, so that
    they are searched too. A disparity of 0, at the end of the range, counts as not found.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("sgbm", "sgbm-padded", "bm")
    task = Task.STEREO

    def __init__(self, name: str = "sgbm", num_disparities: int = 192):
        """
        Args:
            name: one of NAMES.
            num_disparities: px, disparities in (0, num_disparities) are searched; a multiple of 16, at most MAX_RANGE.

        Raises:
            UserError: an unknown name, or a range that OpenCV does not take.
        """
        if name not in self.NAMES:
            raise unknown_name("classical stereo algorithm", name, list(self.NAMES))
        if not 0 < num_disparities <= MAX_RANGE or num_disparities % 16:
            raise UserError(
                f"{name} cannot search {num_disparities} disparities: give a multiple of 16, at most {MAX_RANGE}"
            )
        self.name = name
        self.num_disparities = self.max_disparity = num_disparities

    def _predict(self, left: np.ndarray, right: np.ndarray) -> Float32[np.ndarray, "h w"]:
        return fill_background(*self.match(left, right))

    def match(self, left: np.ndarray, right: np.ndarray) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
        """What the algorithm itself finds: disparity in px and where there is one."""
        height, width = left.shape[:2]
        before = self.num_disparities if self.name == "sgbm-padded" else 0
        below = max(0, MIN_SIDE - height)
        after = max(0, self.num_disparities + MIN_SIDE - before - width)
        convert = to_grey8 if self.name == "bm" else to_rgb8
        extended = [
            cv2.copyMakeBorder(convert(image), 0, below, before, after, cv2.BORDER_REPLICATE) for image in (left, right)
        ]
        try:
            sixteenths = self._algorithm().compute(*extended)[:height, before : before + width]
        except cv2.error as error:  # mostly out of memory
            raise UserError(
                f"{self.name}: OpenCV fails on {width} x {height} px with {self.num_disparities} disparities "
                f"({error.err}): give a smaller range or smaller images"
            ) from error
        disparity = sixteenths.astype(np.float32) / 16
        return disparity, (disparity > 0) & (disparity < self.num_disparities)

    def _algorithm(self) -> cv2.StereoMatcher:
        if self.name == "bm":
            algorithm = cv2.StereoBM.create(self.num_disparities, BM_BLOCK)
            algorithm.setUniquenessRatio(UNIQUENESS)
            algorithm.setSpeckleWindowSize(SPECKLE_SIZE)
            algorithm.setSpeckleRange(SPECKLE_RANGE)
            return algorithm
        return cv2.StereoSGBM.create(
            minDisparity=0,
            numDisparities=self.num_disparities,
            blockSize=BLOCK,
            P1=P1,
            P2=P2,
            preFilterCap=PREFILTER_CAP,
            uniquenessRatio=UNIQUENESS,
            speckleWindowSize=SPECKLE_SIZE,
            speckleRange=SPECKLE_RANGE,
            mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
        )
