"""Attention, Transformer layers and positions against PyTorch's own and against closed forms."""

import math

import pytest
import torch
from torch import nn

from leadline.nn.attention.multi_head import Attention, EpipolarAttention
from leadline.nn.positions import LearnedPositions, rotate, rotation, sinusoids, sinusoids_2d
from leadline.nn.transformer import DecoderLayer, EncoderLayer
from leadline.nn.vit import DenseHead, PatchEmbedding, VisionTransformer


def copy_attention(mine: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
        for layer, weight, bias in zip((mine.query, mine.key, mine.value), weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        mine.out.load_state_dict(theirs.out_proj.state_dict())


@pytest.mark.parametrize("memory", [None, 9])
def test_attention_is_torchs(memory):
    mine, theirs = Attention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    copy_attention(mine, theirs)
    x = torch.randn(2, 5, 12)
    other = x if memory is None else torch.randn(2, memory, 12)
    torch.testing.assert_close(mine(x, None if memory is None else other), theirs(x, other, other)[0])


def test_encoder_layer_is_torchs():
    mine = EncoderLayer(12, 3, ratio=2).eval()
    theirs = nn.TransformerEncoderLayer(12, 3, 24, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    copy_attention(mine.attention, theirs.self_attn)
    pairs = (
        (mine.norm_attention, theirs.norm1), (mine.norm_forward, theirs.norm2),
        (mine.forward_part[0], theirs.linear1), (mine.forward_part[2], theirs.linear2),
    )  # fmt: skip
    for layer, reference in pairs:
        layer.load_state_dict(reference.state_dict())
    x = torch.randn(2, 7, 12)
    torch.testing.assert_close(mine(x), theirs(x), atol=1e-5, rtol=1e-4)


def test_decoder_layer_is_torchs():
    mine = DecoderLayer(12, 3, ratio=2).eval()
    theirs = nn.TransformerDecoderLayer(12, 3, 24, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    copy_attention(mine.self_attention, theirs.self_attn)
    copy_attention(mine.cross_attention, theirs.multihead_attn)
    pairs = (
        (mine.norm_self, theirs.norm1), (mine.norm_cross, theirs.norm2), (mine.norm_forward, theirs.norm3),
        (mine.forward_part[0], theirs.linear1), (mine.forward_part[2], theirs.linear2),
    )  # fmt: skip
    for layer, reference in pairs:
        layer.load_state_dict(reference.state_dict())
    x, memory = torch.randn(2, 7, 12), torch.randn(2, 4, 12)
    torch.testing.assert_close(mine(x, memory), theirs(x, memory), atol=1e-5, rtol=1e-4)


def test_sinusoids_by_the_formula():
    table = sinusoids(torch.arange(5.0), 8)
    for position in range(5):
        for k in range(4):
            angle = position / 10000 ** (2 * k / 8)
            assert table[position, 2 * k].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * k + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sinusoids_of_a_map_tell_rows_and_columns_apart():
    positions = sinusoids_2d(torch.zeros(1, 8, 4, 6))
    torch.testing.assert_close(positions[0, :4, :, 0].T, sinusoids(torch.arange(4.0), 4))
    torch.testing.assert_close(positions[0, 4:, 2].T, sinusoids(torch.arange(6.0), 4))


def test_rotary_positions_are_complex_rotations_and_relative():
    x, y = torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    positions = torch.arange(6.0)
    turned = torch.view_as_complex(rotate(x, rotation(positions, 8)).unflatten(-1, (4, 2)).contiguous())
    angles = positions[:, None] / 10000 ** (torch.arange(0, 8, 2) / 8)
    expected = torch.view_as_complex(x.unflatten(-1, (4, 2)).contiguous()) * torch.exp(1j * angles)
    torch.testing.assert_close(turned, expected)
    scores = [rotate(x, rotation(p, 8)) @ rotate(y, rotation(p, 8)).mT for p in (positions, positions + 11)]
    torch.testing.assert_close(*scores, atol=1e-4, rtol=1e-4)


def test_learned_positions_are_stretched():
    block = LearnedPositions(3, (2, 3))
    nn.init.constant_(block.map, 0.5)
    assert torch.allclose(block(torch.zeros(1, 3, 5, 8)), torch.tensor(0.5))
    torch.testing.assert_close(block(torch.zeros(1, 3, 2, 3)), block.map.detach())


def test_epipolar_attention_keeps_to_its_row():
    block = EpipolarAttention(8, heads=2).eval()
    left, right = torch.randn(1, 8, 3, 6), torch.randn(1, 8, 3, 6)
    changed = right.clone()
    changed[:, :, 1] = torch.randn(1, 8, 6)
    difference = (block(left, changed) - block(left, right)).abs().amax((0, 1, 3))
    assert difference[1] > 1e-3
    assert difference[[0, 2]].max() == 0
    rolled = block(left.flip(2), right.flip(2)).flip(2)  # rows are exchangeable
    torch.testing.assert_close(rolled, block(left, right))


def test_patch_embedding_is_a_product_with_each_patch():
    block, image = PatchEmbedding(3, 5, patch=4), torch.randn(1, 3, 8, 12)
    patch = image[0, :, 4:8, 8:12].flatten()
    torch.testing.assert_close(block(image)[0, :, 1, 2], block.weight.flatten(1) @ patch + block.bias)


def test_vit_gives_a_map_per_tap_and_the_head_a_dense_one():
    network = VisionTransformer(width=16, depth=4, heads=2, patch=8, taps=(0, 1, 2, 3))
    maps = network(torch.rand(2, 3, 32, 48))
    assert [tuple(level.shape) for level in maps] == [(2, 16, 4, 6)] * 4
    assert DenseHead(16, 8)(maps).shape == (2, 8, 16, 24)


def test_vit_without_positions_does_not_know_where_patches_are(monkeypatch):
    network = VisionTransformer(width=16, depth=2, heads=2, patch=8, learned=(2, 2)).eval()
    image = torch.rand(1, 3, 16, 16)
    swapped = torch.cat([image[..., 8:], image[..., :8]], 3)
    nn.init.zeros_(network.positions.map)
    (tokens,), (other,) = network(image), network(swapped)
    torch.testing.assert_close(tokens.flip(3), other, atol=1e-5, rtol=1e-4)
    nn.init.normal_(network.positions.map)
    (tokens,), (other,) = network(image), network(swapped)
    assert (tokens.flip(3) - other).abs().max() > 1e-3
