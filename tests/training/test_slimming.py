"""L1 on BatchNorm's scales."""

from pathlib import Path

import pytest
import torch
from torch import nn
from training import tiny

from leadline.checkpoint import load_network
from leadline.errors import UserError
from leadline.training.fit import train
from leadline.training.recipe import check_recipe
from leadline.training.slimming import check_slimming, slimming_penalty


def test_the_penalty_by_hand() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm3d(2), nn.BatchNorm2d(4, affine=False))
    network[0].weight.data = torch.tensor([1.0, -2.0, 0.5])
    network[2].weight.data = torch.tensor([-1.0, 0.0])
    penalty = slimming_penalty(network)
    assert float(penalty.detach()) == 4.5
    penalty.backward()
    assert network[0].weight.grad.tolist() == [1, -1, 1]


def test_scales_shrink(tmp_path: Path) -> None:
    scales = []
    for slimming in (0.0, 5.0):
        recipe = check_recipe(tiny.recipe(steps=4, ema=0, slimming=slimming))
        network = load_network(train(recipe, tmp_path / str(slimming)))
        scales.append(float(slimming_penalty(network).detach()))
    assert scales[1] < scales[0]


def test_a_network_without_batchnorm_is_told() -> None:
    with pytest.raises(UserError, match="bare has no BatchNorm: leave it out, and prune filters by l1"):
        check_slimming(nn.Conv2d(1, 1, 1), "bare")
