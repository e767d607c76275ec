"""The right view's disparity from the left's scores, and the background, against plain loops."""

import numpy as np
import torch

from leadline.geometry.consistency import fill_background
from leadline.nn.contradiction import carry_background, right_from_left_scores
from leadline.nn.regression import local_soft_argmin


def test_scores_of_a_right_pixel_stand_on_a_diagonal():
    scores = torch.randn(2, 6, 3, 11)
    sheared = torch.full((2, 6, 3, 11), -1e3)
    for plane in range(6):
        for column in range(11 - plane):
            sheared[:, plane, :, column] = scores[:, plane, :, column + plane]
    torch.testing.assert_close(right_from_left_scores(scores, 2.0), local_soft_argmin(sheared, 2.0))


def test_more_planes_than_columns():
    assert right_from_left_scores(torch.randn(1, 9, 2, 4), 4.0).isfinite().all()


def test_the_background_is_what_numpy_fills_in():
    generator = np.random.default_rng(3)
    disparity = generator.uniform(0, 90, (20, 70)).astype(np.float32)
    sure = generator.random((20, 70)) < 0.15
    sure[:, 0] = True  # fill_background takes other rows where one is empty
    ours = carry_background(torch.from_numpy(disparity)[None, None], torch.from_numpy(sure)[None, None].float())
    np.testing.assert_array_equal(ours[0, 0], fill_background(disparity, sure))


def test_what_has_nothing_sure_in_reach_stays():
    disparity = torch.arange(12.0).view(1, 1, 1, 12)
    sure = torch.zeros(1, 1, 1, 12)
    torch.testing.assert_close(carry_background(disparity, sure), disparity)
    sure[..., 0] = 1
    expected = torch.cat([torch.zeros(1, 1, 1, 4), disparity[..., 4:]], 3)
    torch.testing.assert_close(carry_background(disparity, sure, steps=2), expected)
