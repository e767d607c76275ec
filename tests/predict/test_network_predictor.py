"""NetworkPredictor: scaling, padding and cropping, tiles."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from shifts import Brightness, Local, random_texture
from torch import nn

from leadline.errors import UserError
from leadline.models import Network, Task
from leadline.predict import NetworkPredictor
from leadline.predict.tiles import spans, tile_grid


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (37, 53), (48, 64)])
def test_any_size_comes_back_exactly(size):
    left = random_texture(*size) if min(size) > 1 else np.full((*size, 3), 51, np.uint8)
    result = NetworkPredictor(Brightness()).predict(left, left)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, left[:, :, 0] / 2.55, rtol=1e-5)


def test_grey_and_16_bit_images_have_the_same_scale():
    predictor = NetworkPredictor(Brightness())
    grey = random_texture(20, 30)[:, :, 0]
    np.testing.assert_allclose(predictor.predict(grey, grey), grey / 2.55, rtol=1e-5)
    grey16 = grey.astype(np.uint16) * 257
    np.testing.assert_allclose(predictor.predict(grey16, grey), grey / 2.55, rtol=1e-5)


def test_mirrored_views_without_own_memory_are_taken():
    left = random_texture(20, 30)
    result = NetworkPredictor(Brightness()).predict(left[:, ::-1], left[:, ::-1])
    np.testing.assert_allclose(result[:, ::-1], left[:, :, 0] / 2.55, rtol=1e-5)


@pytest.mark.parametrize("size", [(997, 40), (640, 48), (700, 1000)])
def test_tiles_give_the_whole_images_result(size):
    left, right = random_texture(*size), random_texture(*size, seed=1)
    whole = Local()
    expected = NetworkPredictor(whole).predict(left, right)
    tiled = Local()
    limit = 15_000 if size[1] < 100 else 120_000
    result = NetworkPredictor(tiled, max_area=limit).predict(left, right)
    assert len(whole.sizes) == 1
    assert len(tiled.sizes) > 2
    assert max(height * width for height, width in tiled.sizes) < 2 * limit
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_tiles_of_a_large_image_stay_within_the_limit():
    for size in [(3000, 4000), (4000, 3000), (1, 20_000_000), (20_000, 1000), (2000, 100_000)]:
        grid = tile_grid(size, 3_000_000, (64, 256), 32)
        seen = [(row.stop - row.start) * (column.stop - column.start) for row, column in grid]
        assert max(seen) <= 3_000_000
        kept = [(row.keep_stop - row.keep_start) * (c.keep_stop - c.keep_start) for row, c in grid]
        assert sum(kept) == size[0] * size[1]
    assert all(column.stop - column.start == 4000 for _, column in tile_grid((3000, 4000), 3_000_000, (64, 256), 32))


def test_spans_cover_an_axis_once_with_overlap_and_aligned_starts():
    for length in (100, 257, 640, 1001):
        found = spans(length, 96, 24, 8)
        assert (found[0].keep_start, found[-1].keep_stop) == (0, length)
        assert all(span.start % 8 == 0 and span.stop - span.start <= 96 for span in found)
        for one, two in pairwise(found):
            assert one.keep_stop == two.keep_start
            assert one.stop - one.keep_stop >= 11
            assert two.keep_start - two.start >= 11


def test_the_network_is_used_in_eval_mode():
    class Dropped(Brightness):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.9)

        def forward_all(self, left, right):
            return [self.drop(left[:, :1]) * 100]

    network = Dropped()
    predictor = NetworkPredictor(network)
    network.train()
    image = np.full((16, 16), 255, np.uint8)
    assert predictor.predict(image, image).min() == 100


def test_networks_with_3d_convolutions_are_taken():
    class Deep(Brightness):
        def __init__(self):
            super().__init__()
            self.deep = nn.Conv3d(1, 1, 1)

    image = np.full((16, 16), 255, np.uint8)
    assert NetworkPredictor(Deep()).predict(image, image).max() == 100


class Named(Network):
    """Gives constants in the shape of its task."""

    def __init__(self, task, channels):
        super().__init__(Brightness().config)
        self.task, self.channels = task, channels

    def forward_all(self, *images):
        return [images[0].new_full((1, self.channels, *images[0].shape[2:]), 0.5)]


@pytest.mark.parametrize(
    ("task", "channels", "count", "shape", "dtype", "value"),
    [
        (Task.FLOW, 2, 2, (6, 7, 2), np.float32, 0.5),
        (Task.MONO, 1, 1, (6, 7), np.float32, 0.5),
        (Task.INTERPOLATION, 3, 2, (6, 7, 3), np.uint16, 32768),
    ],
)
def test_predictions_have_the_shape_of_their_task(task, channels, count, shape, dtype, value):
    image = np.zeros((6, 7, 3), np.uint16)
    result = NetworkPredictor(Named(task, channels)).predict(*[image] * count)
    assert (result.shape, result.dtype) == (shape, dtype)
    assert (result == value).all()


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_an_unknown_device_is_an_error(device):
    if device.startswith("cuda") and torch.cuda.device_count() > 99:
        pytest.skip("this machine has a hundred GPUs")
    with pytest.raises(UserError, match=device):
        NetworkPredictor(Brightness(), device)
