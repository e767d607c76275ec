import math

import pytest
import torch

from leadline.nn.forms import few_operations, for_bfloat16
from leadline.nn.regression import local_soft_argmin, soft_argmin


def test_local_soft_argmin_stays_on_the_higher_of_two_peaks():
    scores = torch.full((1, 48, 1, 1), -20.0)
    scores[0, 10, 0, 0], scores[0, 11, 0, 0], scores[0, 30, 0, 0] = 4.0, 3.0, 3.4
    # planes 10 and 11 alone: (10 e^4 + 11 e^3) / (e^4 + e^3)
    expected = 4 * (10 * math.e + 11) / (math.e + 1)
    assert local_soft_argmin(scores, 4.0).item() == pytest.approx(expected, abs=0.05)
    assert soft_argmin(scores, 4.0).item() > expected + 20


@pytest.mark.parametrize("form", [few_operations, for_bfloat16])
def test_all_forms_of_local_soft_argmin_are_the_same(form):
    scores = 10 * torch.randn(2, 24, 4, 6)
    with form():
        expected = local_soft_argmin(scores, 4.0)
    torch.testing.assert_close(local_soft_argmin(scores, 4.0), expected)
    torch.testing.assert_close(local_soft_argmin(scores + 1e3, 4.0), expected, atol=2e-2, rtol=0)  # no overflow


def test_local_soft_argmin_is_the_mean_where_there_is_one_peak():
    planes = torch.arange(48.0).view(1, 48, 1, 1)
    scores = -4 * (planes - torch.linspace(5, 40, 36).view(1, 1, 1, -1)).abs()
    torch.testing.assert_close(local_soft_argmin(scores, 2.0), soft_argmin(scores, 2.0), atol=2e-2, rtol=0)


def test_local_soft_argmin_between_equal_peaks_is_finite_and_in_between():
    scores = torch.full((1, 32, 1, 1), -30.0)
    scores[0, 4], scores[0, 24] = 5.0, 5.0
    assert local_soft_argmin(scores, 1.0).item() == pytest.approx(14.0, abs=0.01)


def test_gradient_of_local_soft_argmin():
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(1, 8, 2, 3, generator=generator, dtype=torch.float64) * 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: local_soft_argmin(s, 2.0), scores, eps=1e-3, atol=1e-2, rtol=1e-2)
