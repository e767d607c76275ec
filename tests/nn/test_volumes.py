import numpy as np
import pytest
import torch
from shared import shared_parity

from leadline.nn.volumes import concatenation_volume, groupwise_correlation, shifted_planes


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 4), (3, 3), (5, 6)])
def test_shifted_planes_move_right_and_let_zeros_in(first, count):
    x = torch.arange(1.0, 2 * 3 * 2 * 7 + 1).view(2, 3, 2, 7)
    planes = shifted_planes(x, first, count)
    assert planes.shape == (count, 2, 3, 2, 7)
    for i in range(count):
        for column in range(7):
            source = column - first - i
            expected = x[..., source] if source >= 0 else torch.zeros(2, 3, 2)
            assert torch.equal(planes[i, ..., column], expected)


def test_groupwise_correlation_against_the_original():
    """80 channels in 40 groups, 12 planes on 9 columns: the last planes see nothing."""
    with np.load(shared_parity("ops_parity.npz")) as parity:
        left, right, expected = (
            torch.from_numpy(parity[f"msn/gwc/{name}"]) for name in ("ref", "tgt", "volume_d12_g40")
        )
    for at_once in (1, 5, 12):
        volume = groupwise_correlation(left, right, planes=12, groups=40, at_once=at_once)
        torch.testing.assert_close(volume, expected)


def test_groupwise_correlation_is_the_mean_product():
    torch.manual_seed(0)
    left, right = torch.randn(1, 6, 2, 5), torch.randn(1, 6, 2, 5)
    volume = groupwise_correlation(left, right, planes=7, groups=2)
    for d in range(7):
        for column in range(5):
            for group in range(2):
                channels = slice(3 * group, 3 * group + 3)
                expected = torch.zeros(2)
                if column >= d:
                    expected = (left[0, channels, :, column] * right[0, channels, :, column - d]).mean(0)
                torch.testing.assert_close(volume[0, group, d, :, column], expected)


def test_concatenation_by_a_loop():
    left, right = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 4, 6)
    volume = concatenation_volume(left, right, 8)
    expected = torch.zeros(2, 6, 8, 4, 6)
    for d in range(6):
        expected[:, :3, d, :, d:] = left[..., d:]
        expected[:, 3:, d, :, d:] = right[..., : 6 - d]
    assert torch.equal(volume, expected)
