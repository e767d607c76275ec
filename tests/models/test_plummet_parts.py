"""plummet with every kind of part: it trains, exports, saves and loads; and what the defaults are stays as it was."""

import pytest
import torch

from leadline import UserError, create
from leadline.checkpoint import load_network, save
from leadline.nn.units.parts import KINDS
from leadline.zoo import find_checkpoint

SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 16,
         "hidden_sixteenth": 16, "hidden_thirtysecond": 8, "max_disparity": 64}  # fmt: skip
CHOICES = [(field, kind) for field, kinds in KINDS.items() for kind in kinds[1:] if field != "coding"]
OTHERS = {"coding": {"neuron": "lif"}}


def pair(height=32, width=64, batch=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, batch, 3, height, width, generator=generator).unbind()


@pytest.mark.parametrize(("field", "kind"), CHOICES, ids=[f"{field}-{kind}" for field, kind in CHOICES])
def test_every_kind_learns_and_loads(field, kind, tmp_path):
    torch.manual_seed(0)
    network = create("plummet-s", **SMALL, **{field: kind})
    predictions, scores, _ = network.forward_scores(*pair())
    (sum(p.mean() for p in predictions) + scores.square().mean()).backward()
    silent = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent
    network.eval()
    again = load_network(save(network, tmp_path / "x.safetensors"))
    assert torch.equal(again(*pair()), network(*pair()))


@pytest.mark.slow
@pytest.mark.parametrize(("field", "kind"), CHOICES, ids=[f"{field}-{kind}" for field, kind in CHOICES])
def test_every_kind_exports(field, kind):
    network = create("plummet-s", **SMALL, **{field: kind}).eval()
    with torch.no_grad():
        exported = torch.export.export(network, pair(batch=1)).module()
        torch.testing.assert_close(exported(*pair(batch=1)), network(*pair(batch=1)), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("field", KINDS)
def test_a_kind_changes_what_it_says(field):
    """Each field's second kind has another graph or other tensors than the first."""
    usual = create("plummet-s", **SMALL, **OTHERS.get(field, {}))
    other = create("plummet-s", **SMALL, **OTHERS.get(field, {}), **{field: KINDS[field][1]})
    same_tensors = {k: v.shape for k, v in usual.state_dict().items()} == {
        k: v.shape for k, v in other.state_dict().items()
    }
    if same_tensors:
        assert repr(usual) != repr(other) or field == "coding"


def test_the_shipped_weights_fit_and_names_are_what_they_were():
    network = load_network(find_checkpoint("plummet-s"))
    assert network.config.conv == "plain"
    names = list(network.state_dict())
    assert "encoder.eighth.1.first.0.weight" in names
    assert "aggregation.at_sixteenth.1.second.1.running_var" in names
    assert not [name for name in names if "double" in name or ("join" in name and "join_eighth" not in name)]


@pytest.mark.parametrize("coding", KINDS["coding"])
def test_the_spiking_variant_sends_spikes_between_its_layers(coding):
    network = create("plummet-snn", **SMALL, coding=coding, time_steps=3).eval()
    sent = []
    neurons = [m for m in network.encoder.modules() if type(m).__name__ == "LeakyIntegrateAndFire"]
    for neuron in neurons:
        neuron.register_forward_hook(lambda module, inputs, output: sent.append(output))
    assert network(*pair()).shape == (2, 1, 32, 64)
    assert len(sent) == len(neurons) > 5
    for spikes in sent:
        assert len(spikes) == 3 * 4  # steps, and two views of two pairs
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}


def test_the_binary_variant_has_signs_for_weights():
    from leadline.nn.quantize.binary import BinaryConv2d

    network = create("plummet-b", **SMALL)
    binary = [m for m in network.modules() if isinstance(m, BinaryConv2d)]
    assert len(binary) > 8
    assert not isinstance(network.encoder.stem[0], BinaryConv2d)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"residual": "invertd"}, "did you mean 'inverted'"),
        ({"attention": 3}, "attention is a str"),
        ({"dropout": "block", "drop": 1.5}, "probability"),
        ({"neuron": "lif", "time_steps": 0}, "time_steps"),
        ({"neuron": "lif", "attention": "epipolar"}, "epipolar"),
        ({"volume": "concatenation", "coarse_groups": 1}, "even"),
    ],
)
def test_parts_that_cannot_be_had_are_one_line(config, message):
    with pytest.raises(UserError, match=message):
        create("plummet-s", **config)


@pytest.mark.parametrize("name", ["plummet-snn", "plummet-b"])
def test_variants_train_from_a_recipe_and_predict(name, tmp_path):
    import numpy as np

    import leadline
    from leadline.training.fit import train
    from leadline.training.recipe import check_recipe

    recipe = {"name": "x", "network": {"name": name, **SMALL}, "crop": "32x64", "batch": 2, "steps": 2, "workers": 0}
    path = train(check_recipe(recipe), tmp_path / "run")
    images = np.random.default_rng(0).integers(0, 255, (2, 40, 70, 3), dtype=np.uint8)
    disparity = leadline.load(str(path)).predict(*images)
    assert disparity.shape == (40, 70)
    assert np.isfinite(disparity).all()
