"""A step of training and the way back from its checkpoint, for every network that leadline offers."""

from pathlib import Path

import pytest
import torch

import leadline
from leadline.checkpoint import load_network
from leadline.models import Task, names
from leadline.predict.predictor import VIEWS
from leadline.training.fit import train
from leadline.training.recipe import check_recipe

LOSSES = {Task.STEREO: "smooth_l1", Task.FLOW: "end_point", Task.INTERPOLATION: "charbonnier", Task.MONO: "silog"}
LARGE = ("dpt-m", "dpt-s", "raft-stereo", "rife-m")  # their small relatives are as telling


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in names()]
)
def test_it_trains(name: str, tmp_path: Path):
    network = leadline.create(name)
    size = network.padded_size(64, 96)
    recipe = {
        "name": "step", "network": {"name": name}, "crop": list(size), "batch": 2, "steps": 1, "workers": 0,
        "threads": 1, "accelerator": "cpu", "devices": 1, "losses": [{"name": LOSSES[network.task]}],
        "log": {"images_every": 0},
    }  # fmt: skip
    trained = load_network(train(check_recipe(recipe), tmp_path))
    images = torch.rand(len(VIEWS[network.task]), 1, 3, *size, generator=torch.Generator().manual_seed(0)).unbind()
    with torch.no_grad():
        assert torch.isfinite(trained.eval()(*images)).all()
