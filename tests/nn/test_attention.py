"""Attention over channels, pixels and windows, by loops and equivariance."""

import pytest
import torch
from torch import nn

from leadline.nn.attention.cbam import CBAM
from leadline.nn.attention.non_local import NonLocal
from leadline.nn.attention.squeeze_excitation import SqueezeExcitation
from leadline.nn.attention.windowed import WindowedAttention


def test_squeeze_excitation_by_matrix_products():
    block, x = SqueezeExcitation(8), torch.randn(2, 8, 5, 6)
    first, second = block.layers[0], block.layers[2]
    hidden = (x.mean((2, 3)) @ first.weight[..., 0, 0].T + first.bias).relu()
    factor = torch.sigmoid(hidden @ second.weight[..., 0, 0].T + second.bias)
    torch.testing.assert_close(block(x), x * factor[..., None, None])
    shuffled = x.flatten(2)[..., torch.randperm(30)].reshape(x.shape)  # pixels may change places
    torch.testing.assert_close(block(shuffled).sum((2, 3)), block(x).sum((2, 3)), atol=1e-4, rtol=1e-4)


def test_cbam_factors_a_channel_factor_and_a_pixel_factor():
    block, x = CBAM(8).eval(), torch.rand(1, 8, 6, 7) + 0.5
    ratio = (block(x) / x)[0]
    log = ratio.log()  # log(channel factor) + log(pixel factor): rank 1 after the means are taken off
    residue = log - log.mean((1, 2), keepdim=True) - log.mean(0, keepdim=True) + log.mean()
    assert residue.abs().max() < 1e-5
    assert log.std() > 1e-4


def test_non_local_begins_as_the_identity_and_hears_of_far_pixels():
    block, x = NonLocal(8), torch.randn(1, 8, 6, 8, requires_grad=True)
    torch.testing.assert_close(block(x), x)
    nn.init.normal_(block.out.weight)
    block(x)[0, 0, 0, 0].backward()
    assert (x.grad[0, :, 5] != 0).any()


def test_non_local_by_a_loop():
    block, x = NonLocal(4), torch.randn(1, 4, 4, 6)
    nn.init.normal_(block.out.weight)
    pool = nn.MaxPool2d(2)
    keys, values = pool(block.key(x)).flatten(2)[0], pool(block.value(x)).flatten(2)[0]
    query = block.query(x)[0]
    for i, j in ((0, 0), (3, 5), (2, 1)):
        share = torch.softmax(query[:, i, j] @ keys, 0)
        expected = x[0, :, i, j] + block.out.weight[..., 0, 0] @ (values @ share) + block.out.bias
        torch.testing.assert_close(block(x)[0, :, i, j], expected)


@pytest.mark.parametrize("size", [(8, 12), (5, 9)])
@pytest.mark.parametrize("shift", [False, True])
def test_windowed_attention_by_a_loop_over_windows(shift, size):
    """Each window on its own, cropped to the pixels that exist, the bias table spelled out."""
    side, heads = 4, 2
    block, x = WindowedAttention(8, heads, side, shift), torch.randn(1, 8, *size)
    nn.init.normal_(block.bias)
    result, move = block(x), side // 2 if shift else 0
    for top in range(-move, size[0], side):
        for left in range(-move, size[1], side):
            rows = range(max(top, 0), min(top + side, size[0]))
            columns = range(max(left, 0), min(left + side, size[1]))
            places = [(y, c) for y in rows for c in columns]
            if not places:
                continue
            tokens = torch.stack([x[0, :, y, c] for y, c in places])
            query, key, value = block.enter(tokens).chunk(3, 1)
            heard = []
            for head in range(heads):
                part = slice(4 * head, 4 * head + 4)
                scores = query[:, part] @ key[:, part].T / 2
                for n, (y, c) in enumerate(places):
                    for m, (y2, c2) in enumerate(places):
                        index = (y - y2 + side - 1) * (2 * side - 1) + c - c2 + side - 1
                        scores[n, m] = scores[n, m] + block.bias[index, head]
                heard.append(torch.softmax(scores, 1) @ value[:, part])
            expected = block.out(torch.cat(heard, 1))
            found = torch.stack([result[0, :, y, c] for y, c in places])
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
