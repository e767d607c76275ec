"""Correlation look-up and warping against loops, scipy and one another."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates

from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.lookup import (
    all_pairs_correlation,
    correlation_pyramid,
    look_up,
    look_up_row,
    row_correlation,
    row_pyramid,
)
from leadline.nn.warp import inside_by_flow, warp_by_flow, warp_to_left


def test_all_pairs_is_every_scalar_product():
    first, second = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 2, 6)
    expected = torch.einsum("bchw,bcij->bhwij", first, second) / 2
    torch.testing.assert_close(all_pairs_correlation(first, second), expected)
    second = torch.randn(2, 4, 3, 6)
    expected = torch.einsum("bchw,bchj->bhwj", first, second) / 2
    torch.testing.assert_close(row_correlation(first, second), expected)


def test_the_pyramid_is_correlation_with_averaged_features():
    """Means commute with the scalar product, which is why RAFT averages the volume and not the images."""
    first, second = torch.randn(1, 4, 3, 5), torch.randn(1, 4, 8, 12)
    pyramid = correlation_pyramid(all_pairs_correlation(first, second), 3)
    for k, level in enumerate(pyramid):
        torch.testing.assert_close(level, all_pairs_correlation(first, F.avg_pool2d(second, 2**k)))
    rows = torch.randn(1, 4, 3, 12)
    for k, level in enumerate(row_pyramid(row_correlation(first, rows), 3)):
        torch.testing.assert_close(level, row_correlation(first, F.avg_pool2d(rows, (1, 2**k))))


def test_look_up_is_scipys_interpolation():
    volume = torch.randn(1, 3, 4, 8, 12, dtype=torch.double)
    coordinates = torch.rand(1, 2, 3, 4, dtype=torch.double) * torch.tensor([10.0, 6.0])[:, None, None]
    found = look_up(correlation_pyramid(volume, 2), coordinates, radius=2).reshape(1, 2, 5, 5, 3, 4)
    for k, level in enumerate(correlation_pyramid(volume, 2)):
        # scipy's own zeros begin half a pixel off the edge, so the edge is given to it
        padded = np.pad(level.numpy(), ((0, 0),) * 3 + ((4, 4), (4, 4)))
        for i, j in np.ndindex(3, 4):
            x, y = coordinates[0, :, i, j].numpy() / 2**k
            rows, columns = np.mgrid[-2:3, -2:3]
            expected = map_coordinates(padded[0, i, j], [rows + y + 4, columns + x + 4], order=1)
            np.testing.assert_allclose(found[0, k, :, :, i, j].numpy(), expected, atol=1e-10)


def test_row_look_up_is_numpys_interpolation():
    volume = torch.randn(1, 2, 5, 8, dtype=torch.double)
    x = torch.rand(1, 1, 2, 5, dtype=torch.double) * 9 - 1
    found = look_up_row(row_pyramid(volume, 2), x, radius=1)
    for k, level in enumerate(row_pyramid(volume, 2)):
        places = np.arange(-1, level.shape[-1] + 1)
        for i, j in np.ndindex(2, 5):
            values = np.pad(level[0, i, j].numpy(), 1)
            expected = np.interp(x[0, 0, i, j].item() / 2**k + np.arange(-1, 2), places, values, left=0, right=0)
            np.testing.assert_allclose(found[0, 3 * k : 3 * k + 3, i, j].numpy(), expected, atol=1e-10)


def test_look_up_gradients():
    volume = torch.randn(1, 2, 2, 4, 4, dtype=torch.double, requires_grad=True)
    coordinates = (torch.rand(1, 2, 2, 2, dtype=torch.double) * 2 + 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, c: look_up(correlation_pyramid(v, 2), c, 1), (volume, coordinates))


def test_warping_by_flow_is_scipys():
    values, flow = torch.randn(2, 3, 6, 9, dtype=torch.double), 3 * torch.randn(2, 2, 6, 9, dtype=torch.double)
    warped, seen = warp_by_flow(values, flow), inside_by_flow(flow)
    y, x = np.mgrid[:6, :9]
    for b, c in np.ndindex(2, 3):
        places = [y + flow[b, 1].numpy(), x + flow[b, 0].numpy()]
        expected = map_coordinates(values[b, c].numpy(), places, order=1, mode="nearest")
        np.testing.assert_allclose(warped[b, c].numpy(), expected * seen[b, 0].numpy(), atol=1e-10)
    assert 0 < seen.mean() < 1


def test_a_disparity_is_a_flow_to_the_left():
    values, disparity = torch.randn(1, 2, 5, 8), 3 * torch.rand(1, 1, 5, 8)
    flow = torch.cat([-disparity, torch.zeros_like(disparity)], 1)
    torch.testing.assert_close(warp_to_left(values, disparity), warp_by_flow(values, flow))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_convex_upsampling_takes_channels_one_by_one(channels):
    coarse, weights = torch.rand(2, channels, 4, 5), torch.randn(2, 9 * 4, 4, 5)
    expected = torch.cat([convex_upsample(c, weights, 2) for c in coarse.split(1, 1)], 1)
    torch.testing.assert_close(convex_upsample(coarse, weights, 2), expected)
