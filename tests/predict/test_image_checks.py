"""What predictors refuse, in one line."""

import numpy as np
import pytest

from leadline.errors import UserError
from leadline.models import Task
from leadline.predict.predictor import check_images

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
        ((GOOD.tolist(), GOOD.tolist()), "left image is of type list"),
        (("left.png", "right.png"), "left image is of type str"),
        ((GOOD, None), "right image is of type NoneType"),
    ],
)
def test_bad_images_are_one_line_errors(images, told):
    with pytest.raises(UserError, match=told) as caught:
        check_images(images, Task.STEREO)
    assert "\n" not in str(caught.value)
