"""What is left out, and that the mean stays."""

import pytest
import torch

from leadline.nn.dropout import DropBlock, StochasticDepth


def test_dropblock_hides_whole_squares():
    torch.manual_seed(0)
    hidden = DropBlock(p=0.05, side=3)(torch.ones(1, 1, 40, 40))[0, 0] == 0
    assert hidden.any()
    for y, x in hidden.nonzero().tolist():  # each lies in a hidden 3x3 square
        squares = [
            hidden[y + dy : y + dy + 3, x + dx : x + dx + 3]
            for dy in range(-2, 1)
            for dx in range(-2, 1)
            if y + dy >= 0 and x + dx >= 0
        ]
        assert any(square.shape == (3, 3) and square.all() for square in squares)


def test_dropblock_hides_about_p_and_keeps_the_mean():
    torch.manual_seed(0)
    result = DropBlock(p=0.1, side=5)(torch.ones(64, 4, 32, 32))
    assert (result == 0).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert result.mean().item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (3, 3)])
def test_dropblock_of_small_maps(size):
    result = DropBlock(p=0.5, side=7)(torch.ones(8, 2, *size))
    assert result.isfinite().all()


def test_stochastic_depth_leaves_out_samples():
    torch.manual_seed(0)
    result = StochasticDepth(0.25)(torch.ones(4000, 2, 3))
    kept = result[:, 0, 0] > 0
    assert torch.equal(result, kept[:, None, None].expand_as(result) / 0.75)
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("block", [DropBlock(0.5), StochasticDepth(0.5)])
def test_nothing_is_left_out_of_an_answer(block):
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(block.eval()(x), x)
