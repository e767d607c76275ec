"""The whole way on real pairs against NumPy and OpenCV alone: reading, matching, and the mean over samples."""

import cv2
import numpy as np
import pytest
from fakes import Offset
from shared import shared_data

import leadline
from leadline.evaluation import METRICS

NAMES = ("stereo_midd2001_venus", "stereo_midd2003_cones", "stereo_midd2014_motorcycle")


class RawMatcher(Offset):
    """OpenCV's block matcher as it is, unanswered pixels left open."""

    def _predict(self, left, right):
        return match(*(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right)))


def match(left, right):
    disparity = cv2.StereoBM_create(64, 15).compute(left, right).astype(np.float32) / 16
    disparity[disparity <= 0] = np.nan
    return disparity


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three of the samples in a folder of their own."""
    samples = shared_data("samples")
    folder = tmp_path_factory.mktemp("samples")
    for name in NAMES:
        (folder / name).symlink_to(samples / name)
    return folder


@pytest.fixture(scope="module")
def errors(folder):
    """Signed errors of the valid pixels and the truth there, of each sample, without leadline."""
    found = []
    for name in NAMES:
        left, right = (cv2.cvtColor(cv2.imread(str(folder / name / f"{side}.png")), cv2.COLOR_BGR2RGB) for side in
                       ("left", "right"))  # fmt: skip
        truth = np.load(folder / name / "disparity.npz")["disparity"].astype(np.float64)
        grey = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right))
        seen = np.isfinite(truth) & (truth > 0)
        found.append((match(*grey)[seen] - truth[seen], truth[seen]))
    return found


def summary(error, truth):
    size = np.abs(error)
    return {
        "epe": np.nanmean(size),
        "rmse": np.sqrt(np.nanmean(size**2)),
        "d1": 100 - 100 * np.mean((size <= 3) | (size / truth <= 0.05)),
        "bad_1": 100 - 100 * np.mean(size <= 1),
        "density": 100 * np.mean(np.isfinite(size)),
        "a95": np.nanquantile(size, 0.95, method="inverted_cdf"),
    }


def test_every_sample_and_both_means(folder, errors):
    results = leadline.evaluate(RawMatcher("raw"), f"folder:{folder}")
    assert not results.problems
    per_sample = [summary(*pair) for pair in errors]
    whole = summary(*(np.concatenate(parts) for parts in zip(*errors, strict=True)))
    for key in whole:
        tolerance = 6e-4 if key == "a95" else 1e-6
        expected = [sample[key] for sample in per_sample]
        assert [row[key] for row in results.samples] == pytest.approx(expected, rel=tolerance), key
        assert results.over_samples("raw")[key] == pytest.approx(np.mean(expected), rel=tolerance), key
        assert results.over_pixels("raw")[key] == pytest.approx(whole[key], rel=tolerance), key


def test_depth_only_where_calibrated(folder):
    rows = leadline.evaluate(RawMatcher("raw"), f"folder:{folder}").samples
    assert [row["depth_mm"] is not None for row in rows] == [False, False, True]
    assert set(METRICS) <= set(rows[0])
