"""The schedules against torch's own."""

import pytest
import torch
from torch.optim import lr_scheduler

from leadline.errors import UserError
from leadline.training.schedules import NAMES, SHAPES, make_factor, make_plateau, make_schedule

TOTAL = 40


def rates(make) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = make(optimizer)
    values = []
    for _ in range(TOTAL):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("step", {"every": 7, "gamma": 0.5}, lambda o: lr_scheduler.StepLR(o, 7, 0.5)),
        ("multistep", {"milestones": [5, 20], "gamma": 0.3}, lambda o: lr_scheduler.MultiStepLR(o, [5, 20], 0.3)),
        ("cosine", {"final": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.2)),
        ("poly", {"power": 2.0}, lambda o: lr_scheduler.PolynomialLR(o, TOTAL, power=2.0)),
        (
            "one_cycle",
            {"rise": 0.25, "start": 0.04, "final": 0.001},
            lambda o: lr_scheduler.OneCycleLR(
                o, 2.0, TOTAL, pct_start=0.25, anneal_strategy="linear", cycle_momentum=False, final_div_factor=40
            ),
        ),
        (
            "one_cycle",
            {"rise": 0.3, "start": 0.04, "final": 0.001, "anneal": "cosine"},
            lambda o: lr_scheduler.OneCycleLR(o, 2.0, TOTAL, cycle_momentum=False, final_div_factor=40),
        ),
        ("constant", {}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    ],
)
def test_as_torch(name: str, options: dict, theirs) -> None:
    ours = rates(lambda optimizer: make_schedule(optimizer, name, TOTAL, **options))
    assert ours == pytest.approx(rates(theirs), rel=1e-6, abs=1e-9)


def test_warmup_rises_linearly_to_the_shape() -> None:
    values = rates(lambda optimizer: make_schedule(optimizer, "constant", TOTAL, warmup=4))
    assert values[:6] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])


@pytest.mark.parametrize("name", ["cosine", "poly", "one_cycle", "constant"])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_short_runs(name: str, total: int) -> None:
    factor = make_factor(name, total)
    assert all(0 <= factor(step) <= 1 for step in range(total + 2))


def test_plateau_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    plateau = make_plateau(optimizer, factor=0.5, patience=1)
    for error in (1.0, 1.0, 1.0):
        plateau.step(error)
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_mistakes_are_told() -> None:
    assert set(NAMES) == {*SHAPES, "plateau"}
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        make_factor("cosin", TOTAL)
    with pytest.raises(UserError, match="'every' is missing"):
        make_factor("step", TOTAL)
    with pytest.raises(UserError, match="unknown option of schedule poly 'powr': did you mean 'power'"):
        make_factor("poly", TOTAL, powr=2)
    with pytest.raises(UserError, match="anneal: input should be 'linear' or 'cosine'"):
        make_factor("one_cycle", TOTAL, anneal="square")
