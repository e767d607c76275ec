"""Post-training int8 of every network that leadline offers, and the way back from its checkpoint."""

from pathlib import Path

import pytest
import torch

import leadline
from leadline.checkpoint import load_network
from leadline.compress import quantize
from leadline.models import Task, names
from leadline.predict.predictor import VIEWS
from leadline.surgeries.quantize import quantized_layers

LEFT_OUT = ("plummet-b", "plummet-snn")  # 1 bit already; neurons that do not fire before training have no range
LARGE = ("dpt-m", "dpt-s", "raft-stereo", "rife-m", "mobilestereonet-3d")  # their small relatives are as telling


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in names() if name not in LEFT_OUT],
)
def test_it_quantises(name: str, tmp_path: Path):
    torch.manual_seed(0)
    network = leadline.create(name).eval()
    height, width = network.padded_size(64, 96)
    kind = {Task.INTERPOLATION: Task.FLOW, Task.MONO: Task.STEREO}.get(network.task, network.task)
    samples = leadline.open_data(f"procedural:2,seed=5,size={height}x{width}", kind)
    made = quantize(network, data=list(samples))
    layers = quantized_layers(made)
    assert len(layers) >= 0.8 * sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in network.modules())
    if name == "mobilestereonet-2d":  # most of its multiplications, in layers that are not called otherwise
        assert {"conv3d.3", "conv3d.6"} <= set(layers)
    images = [torch.from_numpy(i).permute(2, 0, 1)[None] / 255 for i in samples[0].images[: len(VIEWS[network.task])]]
    loaded = load_network(leadline.save(made, tmp_path / "it.safetensors")).eval()
    with torch.no_grad():
        found, float_prediction = made(*images), network(*images)
        assert torch.equal(loaded(*images), found)
    spread = float_prediction.std() + 0.05 * float_prediction.abs().mean()
    assert (found - float_prediction).abs().mean() < spread  # untrained: near, no more
