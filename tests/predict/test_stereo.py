"""The right view, the left-right check and occlusion of any predictor, on scenes with known disparity."""

import numpy as np
import pytest
from shifts import random_texture, shifted_pair

from leadline.classical import ClassicalStereo
from leadline.errors import UserError
from leadline.models import Task
from leadline.predict import Predictor, predict_checked, predict_right


def test_the_right_view_of_a_plane_has_the_same_disparity():
    left, right = shifted_pair(12)
    found = predict_right(ClassicalStereo("sgbm", 32), left, right)
    assert np.abs(found - 12)[:, :-40].max() < 0.3  # the right view's unseen border is at its right


def box_scene():
    """A box at 20 px before a background at 6 px: columns 86..99 are hidden in the right view."""
    background = random_texture(60, 260, seed=1)
    box = random_texture(30, 60, seed=2)
    left, right = background[:, :240].copy(), background[:, 6:246].copy()
    left[15:45, 100:160] = box
    right[15:45, 80:140] = box
    return left, right


def test_hidden_pixels_fail_the_check_and_are_filled_with_background():
    left, right = box_scene()
    predictor = ClassicalStereo("sgbm-padded", 32)
    kept = predict_checked(predictor, left, right)
    assert kept.consistent[20:40, 110:150].all()
    assert kept.consistent[20:40, 40:75].all()
    hidden = (slice(20, 40), slice(88, 98))
    assert not kept.consistent[hidden].any()
    assert kept.confidence[hidden].max() < 0.4
    assert kept.confidence[20:40, 110:150].min() > 0.6
    assert kept.valid.all()

    masked = predict_checked(predictor, left, right, "mask")
    np.testing.assert_array_equal(masked.valid, kept.consistent)
    filled = predict_checked(predictor, left, right, "fill")
    assert np.abs(filled.disparity[hidden] - 6).max() < 0.5
    np.testing.assert_array_equal(filled.disparity[kept.consistent], kept.disparity[kept.consistent])


def test_an_unknown_treatment_and_another_task_are_errors():
    left, right = shifted_pair(4)
    with pytest.raises(UserError, match="did you mean 'mask'"):
        predict_checked(ClassicalStereo("bm", 16), left, right, "masks")

    class Mono(Predictor):
        task, name = Task.MONO, "mono-x"

        def _predict(self, *images):
            return np.zeros((1, 1), np.float32)

    with pytest.raises(UserError, match="mono-x is for mono"):
        predict_right(Mono(), left, right)
