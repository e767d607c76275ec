"""A trained network made to spike comes near to itself, the nearer the more steps."""

import numpy as np
import pytest
import torch

from leadline import UserError, create
from leadline.checkpoint import load_network, save
from leadline.compress.spiking import to_spiking
from leadline.data import open_data
from leadline.zoo import find_checkpoint


@pytest.fixture(scope="module")
def pair():
    return open_data("procedural:1,seed=5,size=64x128")[0].images


def features(network, pair):
    images = torch.cat([torch.from_numpy(image.transpose(2, 0, 1)[None] / 255).float() for image in pair])
    with torch.no_grad():
        return network._encode(images)


def test_features_come_near_with_the_steps(pair):
    network = load_network(find_checkpoint("plummet-s"))
    wanted = features(network, pair)[3]
    errors = []
    for steps in (4, 16, 64):
        spiking = to_spiking(network, [pair], steps)
        errors.append(((features(spiking, pair)[3] - wanted).abs().mean() / wanted.std()).item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.15


def test_it_is_a_network_like_any_other(pair, tmp_path):
    network = to_spiking(load_network(find_checkpoint("plummet-s")), [pair], 2)
    again = load_network(save(network, tmp_path / "spiking.safetensors"))
    assert again.config.neuron == "if"
    image = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(again(image, image), network(image, image))
    assert np.isfinite(again.provenance["spiking"]["time_steps"])


def test_what_cannot_spike_is_told():
    with pytest.raises(UserError, match="only a plummet"):
        to_spiking(create("mobilestereonet-2d"), [])
    with pytest.raises(UserError, match="no pairs"):
        to_spiking(create("plummet-s"), [])


def test_the_command_writes_a_checkpoint_and_says_how_far_it_is(tmp_path):
    from click.testing import CliRunner

    from leadline.cli.main import main

    arguments = ["compress", "spike", "plummet-s", "--steps", "2", "--data", "procedural:1,seed=5,size=64x128"]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "x.safetensors")])
    assert result.exit_code == 0, result.output
    assert "mean difference" in result.stdout
    assert load_network(tmp_path / "x.safetensors").config.time_steps == 2
    wrong = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "x.pt")])
    assert wrong.exit_code == 2
    assert wrong.stderr.count("\n") == 1
