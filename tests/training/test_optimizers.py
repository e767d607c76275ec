"""Optimizers by name: each one trains, decays what it should, and is resumed exactly."""

import copy

import pytest
import tiny
import torch
from torch import nn

from leadline.errors import UserError
from leadline.training.optimizers import NAMES, make_optimizer

RATES = {"sgd": 0.1, "adadelta": 1.0, "asgd": 0.1, "lbfgs": 0.5, "adafactor": 0.1, "radam": 0.05}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=6)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(6, 1, 1)).to(memory_format=torch.channels_last)


def fit(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    target = images[:, :1] - 2 * images[:, 1:2]
    losses = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (model(images) - target).square().mean()
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return losses


def test_every_optimizer_of_torch_is_known() -> None:
    classes = {n.lower() for n in dir(torch.optim) if isinstance(getattr(torch.optim, n), type)} - {"optimizer"}
    assert set(NAMES) == classes - {"sparseadam"}


@pytest.mark.parametrize("name", NAMES)
def test_each_one_trains(name: str) -> None:
    model = network()
    losses = fit(model, make_optimizer(model, name, lr=RATES.get(name, 0.01)), 60)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_each_one_is_resumed_exactly(name: str) -> None:
    straight, halted = network(), network()
    options = {"lr": RATES.get(name, 0.01)}
    fit(straight, make_optimizer(straight, name, **options), 6)
    first = make_optimizer(halted, name, **options)
    fit(halted, first, 3)
    state = copy.deepcopy(first.state_dict())
    second = make_optimizer(halted, name, **options)
    second.load_state_dict(state)
    fit(halted, second, 3)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), halted.parameters(), strict=True))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("lbfgs", "rprop", "muon")])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    optimizer = make_optimizer(model, name, lr=0.01, weight_decay=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, parameter in model.named_parameters():
        assert torch.equal(before[key], parameter) == (parameter.ndim == 1), key


def test_muon_is_torchs_on_the_flattened_weight() -> None:
    model = nn.Conv2d(4, 8, 3, bias=False)
    matrix = nn.Parameter(model.weight.detach().clone().reshape(8, -1))
    ours = make_optimizer(model, "muon", lr=0.02)
    theirs = torch.optim.Muon([matrix], lr=0.02, adjust_lr_fn="match_rms_adamw")
    for seed in range(3):
        gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
        model.weight.grad, matrix.grad = gradient, gradient.reshape(8, -1)
        ours.step()
        theirs.step()
    torch.testing.assert_close(model.weight.detach().reshape(8, -1), matrix.detach(), rtol=1e-4, atol=1e-5)


def test_muon_does_not_care_for_the_memory_format() -> None:
    plain, last = nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3)
    last.load_state_dict(plain.state_dict())
    last = last.to(memory_format=torch.channels_last)
    gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for model in (plain, last):
        model.weight.grad = gradient.clone(memory_format=torch.preserve_format)
        model.bias.grad = torch.ones(8)
        make_optimizer(model, "muon", lr=0.02).step()
    # torch's Muon orthogonalises in bfloat16, in another order of the columns.
    torch.testing.assert_close(plain.weight, last.weight, rtol=0, atol=2e-4)


def test_a_schedule_reaches_both_parts_of_muon() -> None:
    optimizer = make_optimizer(tiny.Tiny(tiny.TinyConfig()), "muon", lr=0.02)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert len(optimizer.param_groups) > 1
    assert {group["lr"] for part in optimizer.parts for group in part.param_groups} == {0.01}


def test_mistakes_are_told() -> None:
    model = network()
    with pytest.raises(UserError, match="sparse gradients"):
        make_optimizer(model, "SparseAdam")
    with pytest.raises(UserError, match="did you mean 'adamw'"):
        make_optimizer(model, "adamww")
    with pytest.raises(UserError, match="unknown option of optimizer sgd 'momentun': did you mean 'momentum'"):
        make_optimizer(model, "sgd", lr=0.1, momentun=0.9)
    with pytest.raises(UserError, match="optimizer adamw: lr is a number, got 'fast'"):
        make_optimizer(model, "adamw", lr="fast")
    with pytest.raises(UserError, match="betas is a list of 2 numbers, got 3"):
        make_optimizer(model, "adamw", betas=3)
    with pytest.raises(UserError, match="Nesterov momentum requires a momentum"):
        make_optimizer(model, "sgd", lr=0.1, nesterov=True)
