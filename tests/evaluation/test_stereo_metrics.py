"""The sums behind the metrics: closed forms, an independent implementation, and that they add up."""

import pickle

import numpy as np
import pytest
import torch
import torchmetrics
from scipy import ndimage, stats
from stereo_reference import reference_metrics

from leadline.evaluation import METRICS, StereoSums
from leadline.evaluation.quantiles import ErrorHistogram
from leadline.evaluation.regions import near_edges
from leadline.evaluation.subpixel import SubpixelSums
from leadline.geometry.camera import StereoCamera

CAMERA = StereoCamera(focal=700.0, baseline=0.5, doffs=3.0)


def scene(seed, height=24, width=40):
    """A truth with steps and holes, and a prediction with small and gross errors and missing answers."""
    rng = np.random.default_rng(seed)
    truth = 5 + 0.3 * np.arange(width)[None] + rng.uniform(0, 0.5, (height, width))
    truth[6:15, 10:25] += 40
    predicted = truth + rng.normal(0, 0.8, truth.shape) + (rng.random(truth.shape) < 0.1) * rng.uniform(-30, 30)
    predicted[rng.random(truth.shape) < 0.05] = np.nan
    predicted[3, 4] = np.inf
    valid = rng.random(truth.shape) < 0.9
    truth[~valid] = 0
    return {
        "predicted": predicted.astype(np.float32),
        "disparity": truth.astype(np.float32),
        "valid": valid,
        "occluded": rng.random(truth.shape) < 0.2,
        "foreground": rng.random(truth.shape) < 0.3,
    }


def flat_sums(error, truth=20.0, shape=(10, 10)):
    disparity = np.full(shape, truth, np.float32)
    return StereoSums.of(disparity + np.float32(error), disparity, np.ones(shape, bool))


def assert_same(metrics, expected, tolerance=1e-12):
    assert metrics.keys() == expected.keys()
    for key, value in expected.items():
        assert metrics[key] == (None if value is None else pytest.approx(value, rel=tolerance, abs=1e-12)), key


@pytest.mark.parametrize("seed", range(4))
def test_matches_plain_python(seed):
    parts = scene(seed)
    metrics = StereoSums.of(**parts, camera=CAMERA).metrics()
    expected = reference_metrics(
        parts["predicted"], parts["disparity"], parts["valid"], parts["occluded"], parts["foreground"], 350.0, 3.0
    )
    for key, value in expected.items():
        tolerance = 6e-4 if key in ("a50", "a90", "a95", "a99") else 1e-6 if "depth" in key else 1e-9
        assert metrics[key] == (None if value is None else pytest.approx(value, rel=tolerance)), key
    assert set(METRICS) - set(expected) == {"pixel_locking"}  # judged below


def test_matches_torchmetrics():
    parts = scene(1)
    seen = parts["valid"] & np.isfinite(parts["predicted"])
    predicted, truth = (torch.from_numpy(parts[key][seen]).double() for key in ("predicted", "disparity"))
    metrics = StereoSums.of(**parts).metrics()
    assert metrics["epe"] == pytest.approx(torchmetrics.functional.mean_absolute_error(predicted, truth).item())
    rmse = torchmetrics.functional.mean_squared_error(predicted, truth, squared=False).item()
    assert metrics["rmse"] == pytest.approx(rmse)


def test_perfect_prediction_is_zero_everywhere():
    metrics = flat_sums(0.0).metrics()
    assert metrics["density"] == 100
    assert all(metrics[key] == 0 for key in ("epe", "rmse", "d1", "bad_0.5", "bad_4", "a50", "a99", "subpixel_bias"))


@pytest.mark.parametrize(
    ("error", "truth", "d1"),
    [(3.5, 20.0, 100), (-3.5, 20.0, 100), (3.0, 20.0, 0), (3.5, 100.0, 0), (5.5, 100.0, 100), (4.0, 80.0, 0)],
)
def test_d1_needs_both_3_px_and_5_percent(error, truth, d1):
    assert flat_sums(error, truth).metrics()["d1"] == d1


def test_constant_error():
    metrics = flat_sums(-2.0).metrics()
    assert (metrics["epe"], metrics["rmse"]) == (2, 2)
    assert [metrics[f"bad_{x}"] for x in ("0.5", "1", "2", "3", "4")] == [100, 100, 0, 0, 0]
    assert metrics["a50"] == metrics["a99"] == pytest.approx(2, rel=5.1e-4)


def test_half_wrong():
    error = np.zeros((10, 10))
    error[:, :5] = 8
    metrics = flat_sums(error).metrics()
    assert metrics["epe"] == 4
    assert metrics["rmse"] == pytest.approx(32**0.5)
    assert metrics["d1"] == metrics["bad_4"] == 50
    assert metrics["a50"] == 0
    assert metrics["a90"] == pytest.approx(8, rel=5.1e-4)


def test_missing_answers_are_bad_and_lower_the_density():
    error = np.zeros((10, 10))
    error[0] = np.nan
    error[1, 0] = -np.inf
    metrics = flat_sums(error).metrics()
    assert metrics["density"] == 89
    assert metrics["d1"] == metrics["bad_4"] == pytest.approx(11)
    assert metrics["epe"] == 0


def test_no_answer_at_all():
    metrics = flat_sums(np.nan).metrics()
    assert (metrics["epe"], metrics["rmse"], metrics["a50"], metrics["subpixel_bias"]) == (None, None, None, None)
    assert (metrics["d1"], metrics["density"]) == (100, 0)


def test_nothing_is_none_and_not_nan():
    assert set(StereoSums().metrics().values()) == {None}


def test_invalid_truth_is_not_looked_at():
    parts = scene(2)
    changed = dict(parts)
    rng = np.random.default_rng(0)
    changed["disparity"] = np.where(parts["valid"], parts["disparity"], rng.choice([np.nan, np.inf, 1e9])).astype("f4")
    changed["predicted"] = np.where(parts["valid"], parts["predicted"], 1e6).astype("f4")
    assert StereoSums.of(**changed).metrics() == StereoSums.of(**parts).metrics()


def test_any_split_of_the_pixels_adds_up_to_the_whole():
    parts = scene(3)
    rng = np.random.default_rng(3)
    owner = rng.integers(0, 5, parts["valid"].shape)
    whole = StereoSums.of(**parts, camera=CAMERA)
    # edges depend on neighbours, so a split by validity mask keeps all other sums comparable
    split = sum((StereoSums.of(**{**parts, "valid": parts["valid"] & (owner == k)}, camera=CAMERA) for k in range(5)),
                StereoSums())  # fmt: skip
    skip = {"epe_edges", "d1_edges", "epe_flat", "d1_flat"}
    keep = lambda sums: {key: value for key, value in sums.metrics().items() if key not in skip}  # noqa: E731
    assert_same(keep(split), keep(whole))


def test_batches_and_their_order_do_not_matter():
    images = [StereoSums.of(**scene(seed), camera=CAMERA) for seed in range(8)]
    whole = sum(images, StereoSums()).metrics()
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = [images[i] for i in rng.permutation(8)]
        cut = int(rng.integers(0, 9))
        ranks = [sum(order[:cut], StereoSums()), sum(order[cut:], StereoSums())]
        gathered = pickle.loads(pickle.dumps(ranks))  # as torch.distributed.all_gather_object sends them
        assert_same(sum(gathered, StereoSums()).metrics(), whole)


def test_adding_changes_neither_side():
    a, b = (StereoSums.of(**scene(seed)) for seed in range(2))
    before = a.metrics(), b.metrics()
    _ = a + b
    assert (a.metrics(), b.metrics()) == before


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99, 1.0])
def test_quantiles_are_within_their_stated_resolution(share):
    error = np.random.default_rng(7).lognormal(-1, 3, 20_000)
    exact = np.quantile(error, share, method="inverted_cdf")
    assert ErrorHistogram.of(error).quantile(share) == pytest.approx(exact, rel=5.1e-4)


def test_quantiles_outside_the_bins():
    assert ErrorHistogram.of(np.array([1e-9, 0.0])).quantile(1.0) == 0
    assert ErrorHistogram.of(np.array([1e9])).quantile(1.0) == pytest.approx(1e5, rel=2e-3)


def test_pixel_locking_is_the_amplitude_of_the_wave():
    truth = np.random.default_rng(5).uniform(10, 60, 200_000)
    error = 0.08 * np.sin(2 * np.pi * truth) - 0.03
    error[::50] = 7.0  # mismatches, to be left out
    sums = SubpixelSums.of(error, truth)
    assert sums.locking == pytest.approx(0.08, rel=0.02)
    assert sums.bias == pytest.approx(-0.03, abs=1e-3)


def test_error_by_fraction_matches_scipy():
    rng = np.random.default_rng(6)
    truth, error = rng.uniform(1, 60, 5000), rng.normal(0, 0.3, 5000)
    fine = np.abs(error) < 1
    shifted = (truth[fine] + 1 / 32) % 1  # bins are centred on k / 16
    expected = stats.binned_statistic(shifted, error[fine], bins=16, range=(0, 1)).statistic
    np.testing.assert_allclose(SubpixelSums.of(error, truth).by_fraction(), expected, rtol=1e-12)


def test_pixel_locking_needs_three_fractions():
    truth = np.array([10.0, 10.5, 11.0, 11.5])
    assert SubpixelSums.of(np.zeros(4), truth).locking is None
    assert SubpixelSums.of(np.zeros(4), truth + np.array([0, 0, 0.25, 0])).locking == pytest.approx(0)


def test_edges_match_scipy():
    parts = scene(9)
    holed = np.where(parts["valid"], parts["disparity"], np.nan)
    jump = np.zeros(holed.shape, bool)
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        neighbour = ndimage.shift(holed, shift, order=0, cval=np.nan)
        jump |= np.abs(holed - neighbour) > 1
    expected = ndimage.binary_dilation(jump, np.ones((7, 7)))
    np.testing.assert_array_equal(near_edges(parts["disparity"], parts["valid"]), expected)


def test_edge_band_of_a_step():
    truth = np.full((9, 30), 10, np.float32)
    truth[:, 15:] = 20
    near = near_edges(truth, np.ones(truth.shape, bool))
    assert np.flatnonzero(near.all(axis=0)).tolist() == list(range(11, 19))
    assert not near[:, :11].any()
    assert not near[:, 19:].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1)])
def test_thin_images(shape):
    assert flat_sums(1.0, shape=shape).metrics()["epe"] == 1


def test_depth_of_a_known_shift():
    # 350 / (30 + 5) = 10 m, predicted 350 / (20 + 5) = 14 m
    camera = StereoCamera(focal=700.0, baseline=0.5, doffs=5.0)
    disparity = np.full((4, 4), 30, np.float32)
    metrics = StereoSums.of(disparity - 10, disparity, np.ones((4, 4), bool), camera=camera).metrics()
    assert metrics["depth_mm"] == metrics["depth_mm_5-10"] == pytest.approx(4000)
    assert metrics["depth_rel"] == pytest.approx(40)
    assert metrics["depth_mm_10-20"] is None


def test_depth_is_cut_at_80_m():
    camera = StereoCamera(focal=700.0, baseline=0.5)
    disparity = np.array([[7.0, 7.0, 1.0, 0.0]], np.float32)  # 50 m, 50 m, and beyond what counts
    predicted = np.array([[0.0, -5.0, 7.0, 7.0]], np.float32)
    metrics = StereoSums.of(predicted, disparity, np.ones((1, 4), bool), camera=camera).metrics()
    assert metrics["depth_mm"] == metrics["depth_mm_40-80"] == pytest.approx(30_000)
    assert metrics["depth_rel"] == pytest.approx(60)
