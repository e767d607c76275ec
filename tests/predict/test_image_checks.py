"""What predictors refuse, in one line."""

import numpy as np
import pytest

from leadline.classical import ClassicalStereo
from leadline.errors import UserError

GOOD = np.zeros((40, 50, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ((GOOD,), "takes 2 image"),
        ((GOOD, GOOD[:-1]), "left 50x40, right 50x39"),
        ((GOOD, np.zeros((40, 50, 4), np.uint8)), "right image has shape 40x50x4"),
        ((np.zeros((40, 50, 2), np.uint8), GOOD), "left image has shape 40x50x2"),
        ((GOOD[None], GOOD[None]), "one image at a time"),
        ((GOOD / 255, GOOD / 255), "float64"),
        ((GOOD.astype(np.int32), GOOD), "int32"),
        ((GOOD[:0], GOOD[:0]), "empty"),
    ],
)
def test_bad_images_are_one_line_errors(images, told):
    with pytest.raises(UserError, match=told) as caught:
        ClassicalStereo("sgbm").predict(*images)
    assert "\n" not in str(caught.value)
