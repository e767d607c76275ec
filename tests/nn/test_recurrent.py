"""Recurrent cells against PyTorch's own on single pixels, where a 1x1 convolution is a matrix product."""

import pytest
import torch
from torch import nn

from leadline.nn.recurrent import ConvGRU, ConvLSTM, RowRecurrent, SeparableConvGRU


def test_conv_gru_of_one_pixel_is_a_gru_with_the_reset_before_its_product():
    cell, x, state = ConvGRU(3, 5, kernel=1), torch.randn(2, 3, 1, 1), torch.randn(2, 5, 1, 1)
    joined = torch.cat([state, x], 1).flatten(1)
    weight, bias = cell.gates.weight.flatten(1), cell.gates.bias
    update, reset = torch.sigmoid(joined @ weight.T + bias).split(5, 1)
    joined = torch.cat([reset * state.flatten(1), x.flatten(1)], 1)
    candidate = torch.tanh(joined @ cell.candidate.weight.flatten(1).T + cell.candidate.bias)
    expected = (1 - update) * state.flatten(1) + update * candidate
    torch.testing.assert_close(cell(x, state).flatten(1), expected)


def test_conv_gru_is_torchs_gru_cell_where_the_state_does_not_enter_the_candidate():
    """PyTorch's cell resets after the product; without the state's part in the candidate both are one."""
    cell, theirs = ConvGRU(3, 4, kernel=1), nn.GRUCell(3, 4)
    with torch.no_grad():
        theirs.weight_hh[8:] = 0
        theirs.bias_hh.zero_()
        z_r = [theirs.weight_ih[4:8], theirs.weight_ih[:4]]  # theirs: reset, update, candidate; z of theirs keeps
        h = [theirs.weight_hh[4:8], theirs.weight_hh[:4]]
        b = [theirs.bias_ih[4:8], theirs.bias_ih[:4]]
        sign = torch.tensor([-1.0, 1.0])
        for i in range(2):
            rows = slice(4 * i, 4 * i + 4)
            cell.gates.weight[rows] = sign[i] * torch.cat([h[i], z_r[i]], 1)[..., None, None]
            cell.gates.bias[rows] = sign[i] * b[i]
        cell.candidate.weight.zero_()
        cell.candidate.weight[:, 4:] = theirs.weight_ih[8:, :, None, None]
        cell.candidate.bias.copy_(theirs.bias_ih[8:])
    x, state = torch.randn(6, 3), torch.randn(6, 4)
    torch.testing.assert_close(cell(x[..., None, None], state[..., None, None]).flatten(1), theirs(x, state))


def test_conv_lstm_of_one_pixel_is_torchs_lstm_cell():
    cell, theirs = ConvLSTM(3, 5, kernel=1), nn.LSTMCell(3, 5)
    with torch.no_grad():  # both: in, forget, cell, out
        cell.gates.weight.copy_(torch.cat([theirs.weight_hh, theirs.weight_ih], 1)[..., None, None])
        cell.gates.bias.copy_(theirs.bias_hh + theirs.bias_ih)
    state, expected = None, None
    for x in torch.randn(3, 2, 3):  # steps
        state = cell(x[..., None, None], state)
        expected = theirs(x, expected)
        for mine, reference in zip(state, expected, strict=True):
            torch.testing.assert_close(mine.flatten(1), reference)


def test_cells_see_their_neighbourhood_and_move_with_the_image():
    for cell in (ConvGRU(2, 3), SeparableConvGRU(2, 3)):
        x = torch.zeros(1, 2, 32, 32)
        x[..., 14, 13] = 1.0
        moved = cell(torch.roll(x, (3, 4), (2, 3)))
        torch.testing.assert_close(torch.roll(cell(x), (3, 4), (2, 3))[..., 12:22, 12:22], moved[..., 12:22, 12:22])


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_rows_are_sequences_of_their_own(kind):
    block, x = RowRecurrent(3, 4, kind), torch.randn(2, 3, 5, 7)
    whole = block(x)
    assert whole.shape == (2, 8, 5, 7)
    row, _ = block.sweep(x[1, :, 3].T[None])
    torch.testing.assert_close(whole[1, :, 3], row[0].T)
