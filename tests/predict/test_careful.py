"""Stereo at other scales, and with care: known shifts, and an oracle whose range is limited."""

import numpy as np
import pytest
from shifts import shifted_pair
from test_stereo import box_scene

import leadline
from leadline.classical import ClassicalStereo
from leadline.errors import UserError
from leadline.models import Task
from leadline.predict import Careful, Predictor, Rescaled


class Oracle(Predictor):
    """Knows that images of `width` px have disparity `truth`, and says 7 px wherever that is out of its range."""

    task, name = Task.STEREO, "oracle"

    def __init__(self, truth: float, width: int, max_disparity: int | None = 192):
        self.truth, self.width, self.max_disparity = truth, width, max_disparity
        self.seen: list[tuple[int, int]] = []

    def _predict(self, left, right):
        self.seen.append(left.shape[:2])
        value = self.truth * left.shape[1] / self.width
        wrong = self.max_disparity is not None and value > self.max_disparity
        return np.full(left.shape[:2], min(value, 192) if wrong else value, np.float32)


@pytest.mark.parametrize("factor", [0.5, 1.5, 2.0])
def test_disparity_comes_back_in_px_of_the_given_images(factor):
    left, right = shifted_pair(12)
    found = Rescaled(ClassicalStereo("sgbm-padded", 48), factor).predict(left, right)
    assert found.shape == left.shape[:2]
    assert found.dtype == np.float32
    assert abs(np.median(found) - 12) < 0.3


def test_the_range_of_a_rescaled_predictor():
    assert Rescaled(Oracle(5, 100), 0.5).max_disparity == 384
    assert Rescaled(Oracle(5, 100), 1.5).max_disparity == 128
    assert Rescaled(Oracle(5, 100, None), 1.5).max_disparity is None


@pytest.mark.parametrize(("truth", "expected"), [(20, 1.5), (150, 169 / 150), (300, 169 / 300), (900, 169 / 900)])
def test_the_scale_leaves_the_largest_disparity_within_range(truth, expected):
    left = right = np.zeros((40, 1000), np.uint8)
    assert Careful(Oracle(truth, 1000)).factor_for(left, right) == pytest.approx(expected, rel=0.01)


def test_an_unlimited_range_is_not_looked_at():
    oracle = Oracle(20, 300, None)
    Careful(oracle).predict(*[np.zeros((40, 300), np.uint8)] * 2)
    assert oracle.seen == [(60, 450), (60, 450), (40, 300), (40, 300)]


def test_disparities_beyond_the_range_are_found():
    left, right = shifted_pair(50)
    predictor = ClassicalStereo("sgbm-padded", 32)
    inside = (slice(None), slice(60, None))
    assert abs(np.median(predictor.predict(left, right)[inside]) - 50) > 10
    assert abs(np.median(Careful(predictor).predict(left, right)[inside]) - 50) < 1


def test_what_the_right_view_does_not_see_takes_the_background():
    left, right = box_scene()
    found = Careful(ClassicalStereo("sgbm-padded", 32)).predict(left, right)
    assert np.abs(found[22:38, 89:97] - 6).max() < 0.7
    assert np.abs(found[22:38, 110:150] - 20).max() < 0.7


def test_what_only_the_smaller_scale_is_sure_of_comes_from_there():
    class Unsure(Oracle):
        """In the larger of the two scales the views contradict each other on the right half."""

        def _predict(self, left, right):
            found = super()._predict(left, right)
            if left.shape[1] > self.width:
                found[:, left.shape[1] // 2 :] = 1 + len(self.seen) % 2 * 100
            return found

    found = Careful(Unsure(20, 400, None)).predict(*[np.zeros((32, 400), np.uint8)] * 2)
    assert np.abs(found[:, 230:370] - 20).max() < 1e-3


def test_a_background_farther_than_what_both_scales_say_does_not_stand():
    class Contradicted(Oracle):
        """A step from 6 to 20 px; the right view, asked second and in a mirror, has 70 px instead of the 20."""

        def _predict(self, left, right):
            found, is_right = super()._predict(left, right), len(self.seen) % 2 == 0
            near = 70 / 20 if is_right else 1
            middle = left.shape[1] // 2
            steps = (near, 0.3) if is_right else (0.3, near)
            return found * np.repeat(np.float32(steps), [middle, left.shape[1] - middle])

    found = Careful(Contradicted(20, 400, None)).predict(*[np.zeros((32, 400), np.uint8)] * 2)
    assert np.abs(found[:, 20:180] - 6).max() < 0.1
    assert np.abs(found[:, 240:] - 20).max() < 0.1


def test_names():
    assert leadline.load("sgbm-padded:careful").name == "sgbm-padded:careful"
    assert leadline.load("sgbm:x1.5", num_disparities=64).max_disparity == 42
    assert leadline.load("bm:x0.5:careful").name == "bm:x0.5:careful"
    for name, message in (
        ("dis:careful", "only stereo models can be careful"),
        ("dis:x2", "another scale"),
        ("bm:x99", "not within"),
        ("plummet-z:careful", "plummet-z"),
    ):
        with pytest.raises(UserError, match=message):
            leadline.load(name)
