"""Metrics of monocular depth against hand-made numbers and NumPy's own least squares."""

import numpy as np
import pytest

from leadline.errors import UserError
from leadline.evaluation.alignment import DepthProtocol, align, crop_mask
from leadline.evaluation.mono_metrics import MonoSums


def _image(seed: int = 0, size: tuple[int, int] = (12, 17)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.5, 9, size).astype(np.float32)
    return (truth * rng.uniform(0.6, 1.5, size)).astype(np.float32), truth


def test_four_pixels_by_hand():
    truth = np.array([[1.0, 2.0], [4.0, 8.0]], np.float32)
    predicted = np.array([[1.0, 2.4], [2.0, 24.0]], np.float32)  # ratios 1, 1.2, 2, 3
    found = MonoSums.of(predicted, truth, np.ones((2, 2), bool)).metrics()
    assert found["abs_rel"] == pytest.approx((0 + 0.2 + 0.5 + 2) / 4)
    assert found["sq_rel"] == pytest.approx((0 + 0.08 + 1 + 32) / 4)
    assert found["rmse"] == pytest.approx(np.sqrt((0.16 + 4 + 256) / 4))
    logs = np.log([1, 1.2, 0.5, 3])
    assert found["rmse_log"] == pytest.approx(np.sqrt((logs**2).mean()))
    assert found["silog"] == pytest.approx(100 * logs.std())
    assert found["log10"] == pytest.approx(np.abs(logs).mean() / np.log(10))
    assert (found["delta_1"], found["delta_2"], found["delta_3"]) == (50.0, 50.0, 50.0)
    assert found["density"] == 100.0


def test_silog_does_not_see_a_factor_and_the_others_do():
    predicted, truth = _image()
    valid = np.ones(truth.shape, bool)
    one, two = (MonoSums.of(p, truth, valid).metrics() for p in (predicted, 3 * predicted))
    assert one["silog"] == pytest.approx(two["silog"])
    assert one["rmse_log"] != pytest.approx(two["rmse_log"])


@pytest.mark.parametrize("kind", ["median", "scale"])
def test_alignment_by_a_factor_undoes_a_factor(kind: str):
    flat = _image()[1].ravel().astype(np.float64)
    np.testing.assert_allclose(align(kind, 7.3 * flat, flat), flat)


def test_alignments_are_the_least_squares_of_numpy():
    predicted, truth = (values.astype(np.float64).ravel() for values in _image(3))
    ones = np.ones_like(predicted)
    scale = np.linalg.lstsq(predicted[:, None], truth, rcond=None)[0]
    np.testing.assert_allclose(align("scale", predicted, truth), predicted * scale[0])
    line = np.linalg.lstsq(np.stack([predicted, ones], 1), truth, rcond=None)[0]
    np.testing.assert_allclose(align("affine", predicted, truth), line[0] * predicted + line[1])
    line = np.linalg.lstsq(np.stack([1 / predicted, ones], 1), 1 / truth, rcond=None)[0]
    inverse = line[0] / predicted + line[1]
    assert (inverse > 0).all()
    np.testing.assert_allclose(align("affine-inverse", predicted, truth), 1 / inverse)
    factor = np.median(truth) / np.median(predicted)
    np.testing.assert_allclose(align("median", predicted, truth), predicted * factor)


def test_affine_alignment_undoes_an_affine_change_and_its_inverse():
    _, truth = _image(1)
    flat = truth.ravel().astype(np.float64)
    np.testing.assert_allclose(align("affine", 0.2 * flat - 4, flat), flat, rtol=1e-6)
    np.testing.assert_allclose(align("affine-inverse", 1 / (3 / flat + 0.4), flat), flat, rtol=1e-6)


def test_a_constant_is_aligned_to_the_mean_and_a_missing_answer_stays_one():
    _, truth = _image(2)
    flat = truth.ravel().astype(np.float64)
    np.testing.assert_allclose(align("affine", np.full_like(flat, 5.0), flat), flat.mean())
    holes = np.full_like(flat, np.nan)
    holes[:3] = 2.0
    aligned = align("median", holes, flat)
    assert np.isnan(aligned[3:]).all()
    np.testing.assert_allclose(aligned[:3], np.median(flat[:3]))


def test_only_what_counts_is_measured_and_the_prediction_is_clipped():
    truth = np.array([[0.0, 5.0, 79.0, 81.0]], np.float32)
    predicted = np.array([[1.0, 5.0, 300.0, 81.0]], np.float32)
    sums = MonoSums.of(predicted, truth, truth > 0, DepthProtocol(cap=80))
    assert sums.pixels == 2
    assert sums.metrics()["abs_rel"] == pytest.approx((80 - 79) / 79 / 2)


def test_what_is_not_answered_is_a_miss():
    truth = np.full((1, 4), 2.0, np.float32)
    predicted = np.array([[2.0, np.nan, -1.0, 2.0]], np.float32)
    found = MonoSums.of(predicted, truth, truth > 0).metrics()
    assert (found["density"], found["delta_1"], found["abs_rel"]) == (50.0, 50.0, 0.0)


def test_sums_of_halves_are_the_sums_of_the_whole():
    predicted, truth = _image(5)
    valid = np.ones(truth.shape, bool)
    whole = MonoSums.of(predicted, truth, valid).metrics()
    parts = [MonoSums.of(p, t, t > 0) for p, t in ((predicted[:5], truth[:5]), (predicted[5:], truth[5:]))]
    for key, value in sum(parts, MonoSums()).metrics().items():
        assert value == pytest.approx(whole[key])
    assert all(value is None for value in MonoSums().metrics().values())


def test_crops():
    """Garg's and Eigen's rows and columns of a KITTI image as published code gives them, NYU's as in its paper."""
    for kind, (height, width), box in (
        ("garg", (375, 1242), (153, 371, 44, 1197)),
        ("eigen", (375, 1242), (124, 342, 44, 1197)),
        ("nyu", (480, 640), (45, 471, 41, 601)),
        ("none", (5, 6), (0, 5, 0, 6)),
    ):
        mask = crop_mask(kind, height, width)
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == box
        assert mask.sum() == (box[1] - box[0]) * (box[3] - box[2])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"align": "medain"}, "did you mean 'median'"),
        ({"crop": "grag"}, "did you mean 'garg'"),
        ({"cap": 0.0}, "0 < min depth < cap"),
        ({"align": "affine-inverse"}, "give a cap"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(wrong: dict, told: str):
    with pytest.raises(UserError, match=told):
        DepthProtocol(**wrong)
