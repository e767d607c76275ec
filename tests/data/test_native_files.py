"""Real files in their own layouts, against the same scenes converted independently to one layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shared import shared_data

from leadline.data import open_data

CASES = [
    ("kitti2012", "kitti2012", "000000_10", "stereo_kitti2012_000000"),
    ("kitti2012", "kitti2012", "000096_10", "stereo_kitti2012_000096"),
    ("kitti2012", "kitti2012", "000171_10", "stereo_kitti2012_000171"),
    ("kitti2012", "kitti2012", "000190_10", "stereo_kitti2012_000190"),
    ("sceneflow", "sceneflow", "frames_finalpass_TRAIN_A_0000_0006", "stereo_sceneflow_a"),
    ("sceneflow", "sceneflow", "frames_finalpass_TRAIN_A_0001_0006", "stereo_sceneflow_b"),
    ("middlebury", "middlebury_2001", "venus", "stereo_midd2001_venus"),
    ("middlebury", "middlebury_2003", "cones", "stereo_midd2003_cones"),
    ("middlebury", "middlebury_2005", "Art", "stereo_midd2005_art"),
    ("middlebury", "middlebury_2005", "Dolls", "stereo_midd2005_dolls"),
    ("middlebury", "middlebury_style", "playground", "stereo_eth3d_playground"),
    ("eth3d", "middlebury_style", "playground", "stereo_eth3d_playground"),
]


@pytest.mark.parametrize(("kind", "folder", "name", "sample"), CASES)
def test_native_reader_agrees_with_the_sample(kind: str, folder: str, name: str, sample: str):
    dataset = open_data(f"{kind}:{shared_data('native', folder)}")
    assert dataset.problems == []
    native = next(entry for entry in dataset if entry.name == name)
    expected = np.load(shared_data("samples", sample, "disparity.npz"))["disparity"]
    uniform = open_data(f"folder:{shared_data('samples', sample)}")[0]
    for found in (native, uniform):
        assert found.disparity is not None
        np.testing.assert_array_equal(found.valid, np.isfinite(expected))
        np.testing.assert_array_equal(found.disparity, np.nan_to_num(expected, nan=0))
    for left, right in zip(native.images, uniform.images, strict=True):
        np.testing.assert_array_equal(left, right)
    if native.camera is not None:
        assert uniform.camera == native.camera


def test_all_samples():
    root = shared_data("samples")
    dataset = open_data(f"folder:{root}")
    assert len(dataset) == 14
    assert dataset.problems == []
    for sample in dataset:
        meta = json.loads((root / sample.name / "meta.json").read_text())
        assert sample.size == (meta["height"], meta["width"])
        assert sample.valid is not None
        assert sample.valid.mean() == pytest.approx(meta["density"])
        metric = {"baseline_m", "baseline_mm"} & set(meta.get("calib", {}))
        assert (sample.camera is not None) == bool(metric)


def test_sceneflow_occlusion_is_where_the_right_view_has_something_nearer():
    """A tenth of a rendered scene; nowhere does the left view's own texture reappear there in the right view."""
    dataset = open_data(f"sceneflow:{shared_data('native', 'sceneflow')}")
    sample = dataset[1]
    assert sample.occluded is not None
    assert 0.03 < sample.occluded.mean() < 0.2
    assert dataset[0].occluded is None
    assert sample.disparity is not None
    left, right = (view.astype(np.float32) for view in sample.images)
    columns = np.rint(np.arange(sample.size[1]) - sample.disparity).astype(int)
    rows = np.arange(sample.size[0])[:, None]
    difference = np.abs(left - right[rows, columns.clip(0)]).mean(axis=2)
    inside = columns >= 0
    seen, hidden = difference[~sample.occluded & inside].mean(), difference[sample.occluded & inside].mean()
    assert hidden > 3 * seen


def test_kitti2015_views_and_calibration():
    sample = open_data(f"kitti2015:{shared_data('native', 'kitti2015')}")[0]
    assert sample.size == (375, 1242)
    assert sample.camera is not None
    assert sample.camera.focal == 721.5377
