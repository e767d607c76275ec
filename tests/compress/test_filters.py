"""Removing channels: what is coupled goes together, what is counted stays, and the result is a plain network."""

import copy

import pytest
import torch
from compress.networks import Config, couplings, pair, small_plummet
from torch import nn

import leadline
from leadline.checkpoint import load_network, save
from leadline.compress import prune
from leadline.compress.coupling import find_sets, remove, silence
from leadline.compress.prune_filters import choose, count_macs, score_sets
from leadline.errors import UserError
from leadline.models import Network, Task
from leadline.surgeries.prune_channels import keep_channels


def test_what_is_coupled_and_what_is_counted() -> None:
    sets, refused = find_sets(couplings())
    giving = {frozenset(p.layer for p in one.pieces if p.side == "out") for one in sets}
    assert frozenset({"stem", "second"}) in giving  # residual, and through the depthwise convolution
    assert {"first.0", "left", "right", "after", "grouped", "tokens.0"} <= {name for names in giving for name in names}
    assert {"planes", "split"} <= set(refused)
    residual = next(one for one in sets if one.name == "stem")
    assert ("depthwise", "both") in {(p.layer, p.side) for p in residual.pieces}
    grouped = next(one for one in sets if one.name == "grouped")
    assert grouped.count == 6  # two channels to a unit: one of each group
    reversed_order = next(one for one in sets if one.name == "left")
    places = {p.layer: p.places.tolist() for p in reversed_order.pieces}
    assert places["after"] == list(range(8, 16))


@pytest.mark.parametrize("make", [couplings, small_plummet])
def test_removing_is_zeroing(make) -> None:
    """The independent oracle: a channel that is 0 everywhere adds nothing."""
    network = make().double()
    images = tuple(image.double() for image in pair())
    sets, _ = find_sets(network)
    removal = {one.name: torch.arange(one.count)[: one.count // 2] for one in sets}
    cut, zeroed = copy.deepcopy(network), copy.deepcopy(network)
    changed = remove(cut, sets, removal)
    silence(zeroed, sets, removal)
    with torch.no_grad():
        torch.testing.assert_close(cut(*images), zeroed(*images), atol=1e-5, rtol=1e-5)
        assert (cut(*images) - network(*images)).abs().mean() > 1e-3
    assert changed
    assert count_macs(cut.float()) < 0.7 * count_macs(network.float())


def test_torch_pruning_finds_the_same_couplings() -> None:
    tp = pytest.importorskip("torch_pruning")

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, padding=1)
            self.norm = nn.BatchNorm2d(16)
            self.first, self.second = nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(8, 16, 1)
            self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.last = nn.Conv2d(24, 5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.norm(self.stem(x)))
            y = self.first(x)
            return self.last(torch.cat([torch.relu(y), self.depthwise(x + self.second(y))], 1))

    class Wrapped(Network):
        task = Task.STEREO
        name = "wrapped"

        def __init__(self) -> None:
            super().__init__(Config())
            self.plain = Plain()

        def forward_all(self, left: torch.Tensor, right: torch.Tensor) -> list[torch.Tensor]:
            return [self.plain(left - right)]

    torch.manual_seed(0)
    ours = Wrapped().eval()
    theirs = copy.deepcopy(ours.plain)
    sets, _ = find_sets(ours)
    assert {one.name for one in sets} == {"plain.stem", "plain.first"}
    graph = tp.DependencyGraph().build_dependency(theirs, torch.rand(1, 3, 8, 8))
    for one in sets:
        root = theirs.get_submodule(one.name.removeprefix("plain."))
        graph.get_pruning_group(root, tp.prune_conv_out_channels, [0, 3]).prune()
    remove(ours, sets, {one.name: torch.tensor([0, 3]) for one in sets})
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.plain.state_dict()[key]), key


@pytest.mark.parametrize("name", ["plummet-m", "mobilestereonet-2d", "mobilestereonet-3d"])
def test_every_network_can_be_pruned(name: str) -> None:
    torch.manual_seed(0)
    network = leadline.create(name).eval()
    smaller = prune(network, criterion="l1", amount=0.4)
    assert count_macs(smaller, (32, 64)) < 0.9 * count_macs(network, (32, 64))
    size = network.padded_size(32, 64)
    disparity = smaller(*pair(*size))
    assert disparity.shape == (1, 1, *size)
    assert disparity.isfinite().all()


@pytest.mark.parametrize("criterion", ["bn-scale", "l1", "l2", "group", "taylor", "rank"])
def test_a_pruned_network_reloads_identically_and_trains_on(criterion: str, tmp_path) -> None:
    network = small_plummet()
    data = "procedural:2,seed=5,size=64x96"
    smaller = prune(network, criterion=criterion, amount=0.4, data=data, scope="layer")
    save(smaller, tmp_path / "small.safetensors")
    again = load_network(tmp_path / "small.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(smaller.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert torch.equal(smaller(*pair()), again(*pair()))
    again.train()(*pair()).mean().backward()
    assert all(p.grad is not None for p in again.encoder.parameters())
    twice = prune(again, criterion="l1", amount=0.4, scope="layer")
    save(twice, tmp_path / "twice.safetensors")
    assert torch.equal(twice(*pair()), load_network(tmp_path / "twice.safetensors")(*pair()))


def test_bn_scale_removes_what_training_has_switched_off() -> None:
    """A channel whose scale and shift are 0 gives nothing, so it can go without a trace."""
    network = small_plummet()
    norm = network.aggregation.at_eighth[0].first[1]
    dead = torch.tensor([1, 4, 6])
    norm.weight.data[dead], norm.bias.data[dead] = 0.0, 0.0
    smaller = prune(
        network, criterion="bn-scale", amount=3 / 8, scope="layer", layers=["aggregation.at_eighth.0.first"]
    )
    assert smaller.aggregation.at_eighth[0].first[0].out_channels == 5
    torch.testing.assert_close(smaller(*pair()), network(*pair()), atol=1e-3, rtol=1e-4)


def test_taylor_is_the_change_of_the_error() -> None:
    """For one filter: |Σ w g|, here from a derivative by finite differences of a factor on the filter."""
    from leadline.compress.examples import error_of, read_samples

    network = small_plummet().double()
    data = "procedural:1,seed=5,size=64x96"
    (one,) = (one for one in find_sets(network)[0] if one.name == "guide.0")
    found = score_sets(network.float(), [one], "taylor", data)["guide.0"]
    (sample,) = read_samples(data, network)
    network.double()
    sample = type(sample)(*(v.double() if v.is_floating_point() else v for v in vars(sample).values()))
    errors = []
    for factor in (1 - 1e-4, 1 + 1e-4):
        moved = copy.deepcopy(network)
        moved.guide[0].weight.data[3] *= factor
        with torch.no_grad():
            errors.append(float(error_of(moved, sample)))
    expected = abs(errors[1] - errors[0]) / 2e-4
    assert float(found[3]) == pytest.approx(expected, rel=0.02, abs=1e-6)


def test_targets() -> None:
    network = small_plummet()
    smaller = prune(network, macs=0.6, criterion="l2")
    share = count_macs(smaller) / count_macs(network)
    assert 0.45 < share <= 0.6
    with pytest.raises(UserError, match="out of reach"):
        prune(network, macs=0.01)


def test_choose_rounds_up_and_leaves_no_layer_empty() -> None:
    scores = {"a": torch.arange(10.0), "b": torch.arange(10.0) + 100}
    assert choose(scores, 0.2)["a"].tolist() == [0, 1, 2, 3]
    assert choose(scores, 0.2, round_to=4)["a"].tolist() == [0, 1]  # 6 left -> 8
    assert [len(gone) for gone in choose(scores, 0.5, "layer").values()] == [5, 5]
    with pytest.raises(UserError, match="would leave a without a channel: prune less, exclude it"):
        choose(scores, 0.5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"amount": 0}, "amount 0: give a share between 0 and 1"),
        ({"amount": 1}, "amount 1: give a share between 0 and 1"),
        ({}, "how much is to be pruned is missing"),
        ({"amount": 0.5, "macs": 0.5}, "amount and macs exclude each other"),
        ({"amount": 0.5, "layers": ["encoder.stm"]}, "unknown layer 'encoder.stm': did you mean 'encoder.stem'"),
        ({"amount": 0.5, "criterion": "bnscale"}, "did you mean 'bn-scale'"),
        ({"amount": 0.5, "granularity": "filtr"}, "did you mean 'filter'"),
        ({"amount": 0.5, "layers": ["encoder.match_quarter"]}, "no filters of these layers can be removed"),
        ({"amount": 0.5, "schedule": "cubic"}, "needs finetune"),
        ({"pattern": "2:4"}, "a pattern is of single weights"),
        ({"latency": 0.5, "granularity": "kernel"}, "zeros leave latency as it is"),
        ({"latency": 0.5, "device_table": "none.csv"}, "cannot read the device table"),
        ({"amount": 0.5, "round_to": 0}, "give 1 or more channels"),
    ],
)
def test_mistakes_are_told_in_one_line(options: dict, told: str) -> None:
    with pytest.raises(UserError) as error:
        prune(small_plummet(), **options)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_without_batchnorm_names_the_alternatives() -> None:
    network = couplings()
    network.first[1] = nn.Identity()
    with pytest.raises(UserError, match="no BatchNorm whose scales could tell: take l1, l2, group, taylor or rank"):
        prune(network, criterion="bn-scale", amount=0.3)
    smaller = prune(network, criterion="l1", amount=0.3)
    assert smaller(*pair()).shape == (1, 1, 32, 64)


def test_filters_go_before_weights() -> None:
    masked = prune(small_plummet(), granularity="weight", amount=0.5)
    with pytest.raises(UserError, match="has been through 'prune-mask' already: prune filters before it"):
        prune(masked, amount=0.3)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(8, 6, 3), (4, 4)),
        (nn.Conv2d(8, 8, 3, groups=8), (4, 4)),
        (nn.Conv2d(8, 12, 3, groups=2), (4, 4)),
        (nn.ConvTranspose2d(8, 6, 4), (4, 4)),
        (nn.Conv3d(8, 6, 3), (4, 4, 4)),
        (nn.Linear(8, 6), ()),
        (nn.PReLU(8), (4, 4)),
    ],
)
def test_layers_are_cut_to_what_remains_of_them(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Cut inputs that are 0, cut outputs that are not looked at: the rest is as it was."""
    torch.manual_seed(0)
    x = torch.rand(2, 8, *shape)
    inputs = torch.tensor([0, 2, 3, 4, 6, 7])  # of two groups the same places
    gone = torch.tensor([1, 5])
    same = isinstance(layer, nn.PReLU) or getattr(layer, "groups", 1) == 8
    outputs = inputs if same else torch.tensor([0, 2, 3, 5])
    if getattr(layer, "groups", 1) == 2:
        outputs = torch.tensor([0, 2, 5, 6, 8, 11])
    x[:, gone] = 0
    expected = layer(x)[:, outputs]
    keep_channels(layer, outputs, None if same else inputs)
    torch.testing.assert_close(layer(x[:, inputs]), expected)
