"""The soft-argmin of upsampled scores against its definition and against the original's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared import shared_parity

from leadline.nn.upsampled_soft_argmin import upsampled_soft_argmin


def plain(scores: torch.Tensor, max_disparity: int, factor: int) -> torch.Tensor:
    """The definition, with the whole volume at full resolution."""
    h, w = scores.shape[-2:]
    size = (max_disparity, h * factor, w * factor)
    up = F.interpolate(scores[:, None], size=size, mode="trilinear", align_corners=False)[:, 0]
    return torch.einsum("bdhw,d->bhw", up.softmax(1), torch.arange(max_disparity, dtype=up.dtype))[:, None]


@pytest.mark.parametrize(("planes", "max_disparity"), [(12, 48), (1, 4), (12, 50), (48, 192), (48, 48), (7, 25)])
def test_equals_trilinear_interpolation_then_softmax(planes, max_disparity):
    torch.manual_seed(0)
    scores = 5 * torch.randn(2, planes, 4, 6)
    torch.testing.assert_close(
        upsampled_soft_argmin(scores, max_disparity, 4), plain(scores.double(), max_disparity, 4).float(),
        atol=2e-4, rtol=0,
    )  # fmt: skip


def test_against_the_original():
    with np.load(shared_parity("ops_parity.npz")) as parity:
        logits, expected = (torch.from_numpy(parity[f"msn/head/{name}"]) for name in ("logits", "disp"))
    torch.testing.assert_close(upsampled_soft_argmin(logits.squeeze(1), 24, 4).squeeze(1), expected, atol=1e-4, rtol=0)


def test_scores_far_apart_neither_overflow_nor_vanish():
    """Neighbours that disagree by hundreds, in different blocks of planes."""
    scores = torch.full((1, 48, 1, 2), -300.0)
    scores[0, 2, 0, 0] = scores[0, 45, 0, 1] = 500.0
    disparity = upsampled_soft_argmin(scores, 192, 4)
    torch.testing.assert_close(disparity, plain(scores.double(), 192, 4).float(), atol=1e-3, rtol=0)


def test_gradient_equals_the_definition():
    torch.manual_seed(0)
    scores = torch.randn(1, 12, 3, 4, requires_grad=True)
    target = torch.rand(1, 1, 12, 16)
    (ours,) = torch.autograd.grad((upsampled_soft_argmin(scores, 48, 4) * target).sum(), scores)
    (expected,) = torch.autograd.grad((plain(scores, 48, 4) * target).sum(), scores)
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-4)
