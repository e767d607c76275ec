"""Moments of distributions against torch.distributions and by hand."""

import pytest
import torch

from leadline.nn.uncertainty import disparity_entropy, disparity_spread


def test_spread_and_entropy_are_those_of_the_categorical_distribution():
    scores = 3 * torch.randn(2, 7, 3, 4)
    share = torch.softmax(scores, 1)
    planes = torch.arange(7.0)[:, None, None] * 4
    second, first = (share * planes**2).sum(1), (share * planes).sum(1)
    torch.testing.assert_close(disparity_spread(scores, 4.0)[:, 0], (second - first**2).sqrt(), atol=1e-3, rtol=1e-3)
    entropy = torch.distributions.Categorical(logits=scores.movedim(1, -1)).entropy()
    expected = entropy / torch.log(torch.tensor(7.0))
    torch.testing.assert_close(disparity_entropy(scores)[:, 0], expected, atol=1e-5, rtol=1e-4)


def test_two_peaks_spread_by_half_their_distance():
    scores = torch.full((1, 12, 1, 1), -50.0)
    scores[:, [2, 10]] = 0
    assert disparity_spread(scores, 2.0).item() == pytest.approx(8.0, rel=1e-4)
    one = torch.full((1, 12, 1, 1), -50.0)
    one[:, 3] = 50
    assert disparity_spread(one, 2.0).item() == pytest.approx(0, abs=1e-4)
    assert disparity_entropy(torch.zeros(1, 12, 1, 1)).item() == pytest.approx(1)
