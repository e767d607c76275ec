"""Local correlation against a loop over displacements, and what its scores speak for."""

import pytest
import torch
import torch.nn.functional as F

from leadline.nn.local_correlation import clear_mean, displacements, likeliest_displacement, local_correlation


def brute_force(first, second, reach):
    b, _, h, w = first.shape
    result = torch.zeros(b, (2 * reach[0] + 1) * (2 * reach[1] + 1), h, w, dtype=first.dtype)
    plane = 0
    for v in range(-reach[0], reach[0] + 1):
        for u in range(-reach[1], reach[1] + 1):
            for y in range(h):
                for x in range(w):
                    if 0 <= y + v < h and 0 <= x + u < w:
                        result[:, plane, y, x] = (first[:, :, y, x] * second[:, :, y + v, x + u]).mean(1)
            plane += 1
    return result


@pytest.mark.parametrize("reach", [(1, 2), (2, 1)])
def test_equals_a_loop_with_its_gradient(reach):
    torch.manual_seed(0)
    first, second = torch.rand(2, 2, 3, 5, 6, dtype=torch.float64).unbind()
    first.requires_grad_()
    second.requires_grad_()
    ours, theirs = local_correlation(first, second, reach), brute_force(first, second, reach)
    torch.testing.assert_close(ours, theirs)
    weight = torch.rand_like(ours)
    for mine, other in zip(
        torch.autograd.grad((ours * weight).sum(), (first, second)),
        torch.autograd.grad((theirs * weight).sum(), (first, second)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)
    with torch.no_grad():
        torch.testing.assert_close(local_correlation(first, second, reach), theirs)


def test_planes_are_told_in_their_order():
    u, v = displacements((1, 2), torch.zeros(1))
    assert u.flatten().tolist() == [-2, -1, 0, 1, 2] * 3
    assert v.flatten().tolist() == [-1] * 5 + [0] * 5 + [1] * 5


def test_a_shift_is_found():
    torch.manual_seed(0)
    first = F.normalize(torch.randn(1, 16, 12, 16), dim=1) * 4
    second = torch.roll(first, (2, -3), (2, 3))
    scores = 40 * local_correlation(first, second, (3, 4))
    flow, clearness = likeliest_displacement(scores, (3, 4))
    inside = (..., slice(3, -3), slice(4, -4))
    torch.testing.assert_close(
        flow[inside], torch.tensor([-3.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 6, 8), atol=0.02, rtol=0
    )
    assert clearness[inside].min() > 0.9


def test_between_two_displacements_lies_the_mean():
    u, v = displacements((2, 2), torch.zeros(1))
    for true_u, true_v in ((0.0, 0.0), (0.3, -0.4), (-0.8, 0.7)):
        scores = -1.5 * ((u - true_u) ** 2 + (v - true_v) ** 2)[None]
        flow, _ = likeliest_displacement(scores, (2, 2))
        torch.testing.assert_close(flow.flatten(), torch.tensor([true_u, true_v]), atol=0.08, rtol=0)


def test_what_is_unclear_takes_the_flow_of_what_is_clear():
    flow = torch.zeros(1, 2, 5, 5)
    flow[..., 2, 2] = 9.0  # a wild value
    clearness = torch.ones(1, 1, 5, 5)
    clearness[..., 2, 2] = 0.0
    assert clear_mean(flow, clearness, times=1)[..., 2, 2].abs().max() < 0.01
    clearness.fill_(1.0)
    torch.testing.assert_close(clear_mean(flow, clearness, times=1)[..., 2, 2], torch.ones(1, 2))
    constant = torch.full((1, 2, 5, 5), 3.0)
    torch.testing.assert_close(clear_mean(constant, torch.rand(1, 1, 5, 5), times=3), constant)
