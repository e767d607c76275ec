"""Normalisations against PyTorch's."""

import torch
from torch import nn

from leadline.nn.normalization import ChannelLayerNorm, FrozenBatchNorm


def test_channel_layer_norm_is_torchs_with_channels_last():
    block, theirs, x = ChannelLayerNorm(6), nn.LayerNorm(6, eps=1e-6), torch.randn(2, 6, 4, 5)
    nn.init.normal_(block.weight)
    nn.init.normal_(block.bias)
    theirs.load_state_dict(block.state_dict())
    torch.testing.assert_close(block(x), theirs(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), atol=1e-5, rtol=1e-4)


def test_frozen_batch_norm_is_batch_norm_in_eval_and_does_not_move():
    theirs = nn.BatchNorm2d(3)
    nn.init.normal_(theirs.weight)
    theirs(torch.randn(8, 3, 5, 5) * 2 + 1)
    block = FrozenBatchNorm(3)
    block.load_state_dict(theirs.state_dict())
    before = {key: value.clone() for key, value in block.state_dict().items()}
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(block.train()(x), theirs.eval()(x), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in block.state_dict().items())
    assert not any(parameter.requires_grad for parameter in block.parameters())
