"""Zeros: as many as asked for, the right ones, and they stay."""

import os

import pytest
import torch
from compress.networks import pair, small_plummet
from torch import nn
from training import tiny

from leadline.checkpoint import load_network, save
from leadline.compress import prune
from leadline.compress.choice import weighted_layers
from leadline.deploy import export
from leadline.errors import UserError
from leadline.surgeries import with_plain_weights
from leadline.surgeries.prune_choice import cubic, grow, least, n_of_m, score, share_pruned
from leadline.surgeries.prune_mask import masked_layers
from leadline.training.fit import train
from leadline.training.recipe import check_recipe


def zeros(network: nn.Module) -> float:
    weights = [module.weight for module in weighted_layers(network).values()]
    return 1 - sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)  # type: ignore[operator, misc]


@pytest.mark.parametrize("criterion", ["l1", "l2", "lamp", "taylor"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_amount(criterion: str, scope: str) -> None:
    data = "procedural:1,seed=5,size=64x96"
    pruned = prune(small_plummet(), granularity="weight", criterion=criterion, scope=scope, amount=0.6, data=data)
    assert zeros(pruned) == pytest.approx(0.6, abs=0.01)


def test_the_smallest_go() -> None:
    network = small_plummet()
    pruned = prune(network, granularity="weight", criterion="l1", amount=0.5)
    all_weights = torch.cat([m.weight.flatten() for m in weighted_layers(network).values()])  # type: ignore[operator, union-attr]
    kept = torch.cat([m.weight.flatten() for m in weighted_layers(pruned).values()])  # type: ignore[operator, union-attr]
    assert torch.equal(kept, all_weights * (all_weights.abs() > all_weights.abs().quantile(0.5)))


def test_lamp_by_its_definition() -> None:
    weight = torch.tensor([[3.0, -1.0], [2.0, 0.5]])
    squares = sorted(float(w) ** 2 for w in weight.flatten())
    expected = {s: s / sum(t for t in squares if t >= s) for s in squares}
    found = score(weight, (2, 2), "lamp")
    for w, value in zip(weight.flatten(), found.flatten(), strict=True):
        assert float(value) == pytest.approx(expected[float(w) ** 2])


@pytest.mark.parametrize(("granularity", "vector"), [("vector", "row"), ("vector", "column"), ("kernel", "row")])
def test_units_go_whole(granularity: str, vector: str) -> None:
    pruned = prune(small_plummet(), granularity=granularity, vector=vector, amount=0.4)
    layers = masked_layers(pruned)
    assert layers
    for module, _ in layers.values():
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        axes = {"kernel": (2, 3), "vector": (3,) if vector == "row" else (2,)}[granularity]
        counts = (weight != 0).sum(axes)
        whole = weight.shape[2] * weight.shape[3] if granularity == "kernel" else weight.shape[axes[0]]
        assert set(counts.unique().tolist()) <= {0, whole}
    assert share_pruned(pruned) == pytest.approx(0.4, abs=0.02)


def test_two_of_four() -> None:
    pruned = prune(small_plummet(), granularity="weight", pattern="2:4")
    for module, _ in masked_layers(pruned).values():
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        whole = weight.shape[1] // 4 * 4
        groups = (weight[:, :whole] != 0).unflatten(1, (-1, 4)).sum(2)
        assert (groups == 2).all()
    kept = n_of_m(torch.tensor([[1.0, 4.0, 3.0, 2.0, 9.0]]), 2, 4)
    assert kept.tolist() == [[False, True, True, False, True]]


@pytest.mark.parametrize("granularity", ["weight", "vector", "kernel"])
def test_the_file_is_small_and_reloads_identically(granularity: str, tmp_path) -> None:
    network = small_plummet()
    save(network, tmp_path / "dense.safetensors")
    pruned = prune(network, granularity=granularity, amount=0.8, scope="layer")
    save(pruned, tmp_path / "sparse.safetensors")
    again = load_network(tmp_path / "sparse.safetensors")
    for key, value in pruned.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert torch.equal(pruned(*pair()), again(*pair()))
    assert os.path.getsize(tmp_path / "sparse.safetensors") < 0.6 * os.path.getsize(tmp_path / "dense.safetensors")


def test_masks_stay_through_training_and_grow(tmp_path) -> None:
    torch.manual_seed(0)
    network = tiny.Tiny(tiny.TinyConfig(width=8))
    network.name = "tiny"
    fixed = prune(network, granularity="weight", amount=0.5, folder=tmp_path / "a", finetune=_recipe())
    assert zeros(fixed) == pytest.approx(0.5, abs=0.02)
    again = prune(network, granularity="weight", amount=0.5, folder=tmp_path / "a", finetune=_recipe())
    assert torch.equal(again.features[0].weight, fixed.features[0].weight)  # done already
    with pytest.raises(UserError, match="holds the training of something else"):
        prune(network, granularity="weight", amount=0.4, folder=tmp_path / "a", finetune=_recipe())
    grown = prune(
        network, granularity="weight", amount=0.7, schedule="cubic", folder=tmp_path / "b", finetune=_recipe()
    )
    assert zeros(grown) == pytest.approx(0.7, abs=0.02)
    assert not torch.equal(grown.features[0].weight, network.features[0].weight)


def _recipe(**changes: object):
    return check_recipe(tiny.recipe(**{"steps": 5, **changes}))


def test_a_run_with_growing_masks_goes_on_to_the_same_weights(tmp_path) -> None:
    network = tiny.Tiny(tiny.TinyConfig())
    network.name = "tiny"
    from leadline.compress.prune_masks import prune_masks

    network.surgeries = []
    save(prune_masks(network, "weight", "l2", 0.6, grows=True), tmp_path / "start.safetensors")
    changes = {"init": str(tmp_path / "start.safetensors"), "sparsify": {"amount": 0.6, "every": 2}, "steps": 6}
    whole = load_network(train(_recipe(**changes), tmp_path / "whole"))
    train(_recipe(**changes), tmp_path / "parts", stop_after=3)
    parts = load_network(train(_recipe(**changes), tmp_path / "parts"))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[key]), key


def test_growth_needs_masks(tmp_path) -> None:
    with pytest.raises(UserError, match="has no masks that could grow"):
        train(_recipe(sparsify={"amount": 0.5}), tmp_path)


def test_cubic_by_hand() -> None:
    assert [cubic(step, 0, 10, 0.8) for step in (0, 5, 10, 99)] == pytest.approx([0, 0.8 * 0.875, 0.8, 0.8])


def test_growing_keeps_what_is_masked() -> None:
    network = prune(small_plummet(), granularity="weight", amount=0.3)
    before = {name: mask.keep.clone() for name, (_, mask) in masked_layers(network).items()}
    grow(network, 0.6)
    assert share_pruned(network) == pytest.approx(0.6, abs=0.01)
    for name, (_, mask) in masked_layers(network).items():
        assert not (mask.keep & ~before[name]).any()


def test_more_can_be_pruned_later() -> None:
    once = prune(small_plummet(), granularity="kernel", amount=0.3)
    twice = prune(once, granularity="weight", amount=0.6)
    for name, (module, _) in masked_layers(once).items():
        assert not ((module.weight == 0) & (twice.get_submodule(name).weight != 0)).any()  # type: ignore[operator]
    assert [record["kind"] for record in twice.surgeries] == ["prune-mask"]


def test_a_layer_that_would_be_empty_is_told() -> None:
    scores = {"a": torch.ones(2, 2), "b": torch.ones(2, 2) * 9}
    with pytest.raises(UserError, match=r"pruning 0\.5 would leave nothing of a: prune less, exclude it"):
        least(scores, {"a": 1, "b": 1}, 0.5, "global")


def test_exporters_see_plain_weights(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    pruned = prune(small_plummet(), granularity="weight", amount=0.5)
    plain = with_plain_weights(pruned)
    assert not masked_layers(plain)
    assert masked_layers(pruned)
    assert torch.equal(plain(*pair()), pruned(*pair()))
    artifact = export(pruned, "onnx", tmp_path, (48, 64), verify_on="procedural:1,seed=3,size=48x64")
    assert artifact.manifest.verification["mean_difference"] < 1e-3
