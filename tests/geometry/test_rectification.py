"""Is a pair rectified: synthetic views with known shifts and rotations, and real rectified pairs."""

import cv2
import numpy as np
import pytest
from shared import shared_data

from leadline.data.formats.images import read_image
from leadline.geometry.rectification import check_rectification


def texture(height=240, width=360):
    """Blobs of several sizes: corners for the features to hold on to."""
    rng = np.random.default_rng(3)
    coarse = [cv2.resize(rng.uniform(size=(height // k, width // k)), (width, height)) for k in (3, 8, 20)]
    return (sum(coarse) / 3 * 255).astype(np.uint8)


def moved(image, shift_x=-8.0, shift_y=0.0, degrees=0.0, scale=1.0):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, scale)  # OpenCV's angles are anticlockwise
    matrix[:, 2] += shift_x, shift_y
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def test_a_rectified_pair_gives_no_warning():
    left = texture()
    found = check_rectification(left, moved(left))
    assert found.enough
    assert found.vertical_offset < 0.3
    assert found.warnings() == []


def test_a_vertical_shift_is_measured():
    left = texture()
    found = check_rectification(left, moved(left, shift_y=4))
    assert found.vertical_offset == pytest.approx(4, abs=0.3)
    assert found.rotation == pytest.approx(0, abs=0.1)
    assert "unrectified" in found.warnings()[0]


def test_rotation_and_scale_are_measured_with_their_sign():
    left = texture()
    found = check_rectification(left, moved(left, degrees=2, scale=1.03))
    assert found.rotation == pytest.approx(2, abs=0.2)
    assert found.scale == pytest.approx(1.03, abs=0.005)
    assert len(found.warnings()) == 1


def test_swapped_views_are_noticed_and_are_not_called_unrectified():
    left = texture()
    warnings = check_rectification(moved(left), left).warnings()
    assert len(warnings) == 1
    assert "swapped" in warnings[0]


def test_identical_views_are_not_called_swapped():
    left = texture()
    assert check_rectification(left, left).warnings() == []


def test_offsets_of_large_images_are_in_their_own_pixels():
    left = cv2.resize(texture(), None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)  # 1200 x 1800, halved inside
    found = check_rectification(left, moved(left, shift_x=-30, shift_y=6))
    assert found.vertical_offset == pytest.approx(6, abs=0.6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (200, 300)])
def test_without_texture_nothing_is_said(shape):
    flat = np.full(shape, 90, np.uint8)
    found = check_rectification(flat, flat)
    assert not found.enough
    assert found.warnings() == []


@pytest.mark.parametrize("name", ["stereo_kitti2012_000096", "stereo_midd2003_cones", "stereo_sceneflow_b"])
def test_real_pairs(name):
    folder = shared_data("samples", name)
    left, right = read_image(folder / "left.png"), read_image(folder / "right.png")
    assert check_rectification(left, right).warnings() == []
    assert "swapped" in check_rectification(right, left).warnings()[0]
    assert "unrectified" in check_rectification(left, moved(right, shift_x=0, shift_y=3)).warnings()[0]
