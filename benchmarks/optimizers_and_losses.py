"""How the optimizers, the schedules and the losses behave on one small stereo problem.

A correlation network of about ten thousand weights learns from 160 small procedural pairs and is measured on 32
others. Every run has the same number of passes, the same pairs, and for one seed the same first weights and order.

    python benchmarks/optimizers_and_losses.py [--steps 160] [--only optimizers losses ...] [--draw]

About ten minutes on two free cores. Writes benchmarks/results/training_*.csv and from these, and these alone, the
pictures in docs/images and the tables in docs/optimizers-and-losses.md; --draw measures nothing.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.data.augment import take
from leadline.data.batch import StereoBatch
from leadline.data.procedural import SceneConfig, render_stereo
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line, pin_threads
from leadline.models import Network, Task
from leadline.nn.conv import ConvBN
from leadline.nn.correlation import correlation_volume
from leadline.training.losses import TotalLoss
from leadline.training.losses.distribution import shrink
from leadline.training.losses.registry import make_loss
from leadline.training.module import run_network
from leadline.training.optimizers import make_optimizer
from leadline.training.schedules import make_factor, make_plateau

RESULTS = Path(__file__).parent / "results"
SIZE, BATCH, PAIRS, HELD_OUT = (48, 96), 4, 160, 32
MAX_DISPARITY = 24  # px
WARMUP, CLIP = 10, 1.0  # steps; largest norm of the gradient, as a recipe's default
RATE = 5e-3  # of AdamW, where something else is compared
SEEDS = (0, 1, 2)

# Well-lit, textured scenes, seen by two equal cameras: what can be learnt in a few hundred steps.
EQUAL_CAMERAS = SceneConfig(
    max_disparity=float(MAX_DISPARITY), max_objects=5, thin=0.0, holed=0.0, text=0.0, textureless=0.0,
    reflections=0.0, photometric=0.0, blur=0.0, noise=0.0, vignetting=0.0, misalignment=0.0, greyscale=0.0,
    low_light=0.0,
)  # fmt: skip
SCENES = {"equal cameras": EQUAL_CAMERAS, "different exposure": replace(EQUAL_CAMERAS, photometric=1.0)}

# Each at three learning rates around what is usual for it. While the best is the lowest or highest tried, the next one
# is tried too: nothing is shown at a rate that it was not given the choice of.
OPTIMIZERS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "sgd": ({}, (0.03, 0.1, 0.3)),
    "sgd, momentum 0.9": ({"momentum": 0.9}, (0.003, 0.01, 0.03)),
    "sgd, nesterov 0.9": ({"momentum": 0.9, "nesterov": True}, (0.003, 0.01, 0.03)),
    "asgd": ({}, (0.03, 0.1, 0.3)),
    "rprop": ({}, (1e-4, 3e-4, 1e-3)),
    "adagrad": ({}, (0.01, 0.03, 0.1)),
    "adadelta": ({}, (0.3, 1.0, 3.0)),
    "rmsprop": ({}, (3e-4, 1e-3, 3e-3)),
    "adam": ({}, (3e-3, 1e-2, 3e-2)),
    "adamax": ({}, (3e-3, 1e-2, 3e-2)),
    "adamw": ({}, (3e-3, 1e-2, 3e-2)),
    "nadam": ({}, (3e-3, 1e-2, 3e-2)),
    "radam": ({}, (3e-3, 1e-2, 3e-2)),
    "adafactor": ({}, (0.01, 0.03, 0.1)),
    "muon": ({}, (3e-3, 1e-2, 3e-2)),
    "lbfgs": ({"max_iter": 4, "history_size": 10}, (0.1, 0.3, 1.0)),
}

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"name": "constant"},
    "step": {"name": "step", "every": 1 / 3, "gamma": 0.3},  # `every` and `milestones` as shares of the run
    "multistep": {"name": "multistep", "milestones": [0.6, 0.85], "gamma": 0.2},
    "cosine": {"name": "cosine"},
    "poly": {"name": "poly"},
    "one_cycle": {"name": "one_cycle"},
    "plateau": {"name": "plateau", "patience": 0, "factor": 0.5},
    "cosine, no warm-up": {"name": "cosine", "warmup": 0},
}
SCHEDULE_RATES = (3e-3, 1e-2, 3e-2)

SUPERVISED: dict[str, list[dict[str, Any]]] = {
    "l2": [{"name": "l2"}],
    "huber, delta 3": [{"name": "huber", "delta": 3.0}],
    "smooth_l1": [{"name": "smooth_l1"}],
    "l1": [{"name": "l1"}],
    "charbonnier": [{"name": "charbonnier"}],
    "charbonnier, alpha 0.25": [{"name": "charbonnier", "alpha": 0.25}],
    "cross-entropy": [{"name": "disparity_cross_entropy", "diversity": 0.5}],
}
TRUTHS = {"exact": 0.0, "a fifth is wrong": 0.2}

EDGES: dict[str, list[dict[str, Any]]] = {
    "smooth_l1": [{"name": "smooth_l1"}],
    "cross-entropy": [{"name": "disparity_cross_entropy", "diversity": 0.5}],
    "both": [{"name": "smooth_l1", "weight": 0.5}, {"name": "disparity_cross_entropy", "diversity": 0.5}],
}

SMOOTH, BOTH_VIEWS = {"name": "smoothness", "weight": 0.03}, {"name": "left_right", "weight": 0.03}
SELF_SUPERVISED: dict[str, list[dict[str, Any]]] = {
    "smooth_l1 with truth": [{"name": "smooth_l1"}],
    "photometric": [{"name": "photometric"}],
    "photometric, smoothness": [{"name": "photometric"}, SMOOTH],
    "photometric, smoothness, left_right": [{"name": "photometric"}, SMOOTH, BOTH_VIEWS],
    "census, smoothness": [{"name": "census", "window": 5}, SMOOTH],
    "census, smoothness, left_right": [{"name": "census", "window": 5}, SMOOTH, BOTH_VIEWS],
}


@dataclass(frozen=True)
class SmallConfig:
    max_disparity: int = MAX_DISPARITY
    width: int = 8  # channels at 1/2


class Small(Network):
    """About the least that matches: features at 1/2, correlation, a correction of its scores, soft argmin."""

    task = Task.STEREO
    size_multiple = 2

    def __init__(self, config: SmallConfig):
        super().__init__(config)
        self.planes = config.max_disparity // 2
        width = config.width
        self.features = nn.Sequential(
            ConvBN(3, width, stride=2), ConvBN(width, width), ConvBN(width, width, relu=False)
        )
        self.correct = nn.Sequential(
            ConvBN(self.planes + width, 24), ConvBN(24, 24), ConvBN(24, self.planes, relu=False)
        )

    def forward_scores(self, left: Tensor, right: Tensor) -> tuple[list[Tensor], Tensor, float]:
        one, two = self.features(left), self.features(right)
        scores = 8 * correlation_volume(one, two, self.planes)  # at once a matcher, if a poor one
        scores = scores + self.correct(torch.cat([scores, one], 1))
        coarse = expectation(scores.softmax(1))
        return [functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")], scores, 2.0

    def forward_all(self, left: Tensor, right: Tensor) -> list[Tensor]:
        return self.forward_scores(left, right)[0]


def expectation(shares: Tensor) -> Tensor:
    """The mean disparity of a distribution over planes of 2 px."""
    return (shares * plane_values(shares)).sum(1, keepdim=True) / shares.sum(1, keepdim=True)


def mode_expectation(shares: Tensor) -> Tensor:
    """The mean over the most likely plane and its two neighbours."""
    mode = plane_values(shares)[:, shares.argmax(1).flatten()].view(len(shares), 1, *shares.shape[2:])
    return expectation(shares * ((plane_values(shares) - mode).abs() <= 2))


def plane_values(shares: Tensor) -> Tensor:
    return torch.arange(shares.shape[1]).view(1, -1, 1, 1) * 2.0


@dataclass(frozen=True)
class Trial:
    """One run: everything that decides it, and the labels under which it is written down."""

    labels: dict[str, Any]
    seed: int = 0
    terms: list[dict[str, Any]] = field(default_factory=lambda: [{"name": "smooth_l1"}])
    optimizer: str = "adamw"
    lr: float = RATE
    options: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "cosine"})
    scenes: str = "equal cameras"
    wrong: float = 0.0  # share of the truth that is replaced by anything
    steps: int = 160
    finish: Callable[[Network], Any] | None = None  # what else is asked of the trained network


@dataclass
class Outcome:
    """What came of a trial: a row per measurement, and what `finish` gave."""

    trial: Trial
    rows: list[dict[str, Any]]
    finished: Any = None

    @property
    def search_error(self) -> float:
        """By which a learning rate is chosen: on the pairs for choosing, not on those reported."""
        error = self.rows[-1]["search_epe_px"]
        return error if math.isfinite(error) else math.inf


@cache
def pairs_of(scenes: str, wrong: float = 0.0) -> tuple[StereoBatch, StereoBatch, StereoBatch]:
    """Pairs to learn from, to choose by and to report on."""
    seen, choice, report = (
        render_stereo(seed, list(range(count)), SIZE, SCENES[scenes])
        for seed, count in ((1, PAIRS), (3, HELD_OUT), (2, HELD_OUT))
    )
    return with_outliers(seen, wrong), choice, report


def with_outliers(pairs: StereoBatch, share: float) -> StereoBatch:
    """The same pairs, a share of whose truth is wrong by anything: what a bad rig or a wrong match gives."""
    draw = torch.Generator().manual_seed(1)
    wrong = torch.rand(pairs.disparity.shape, generator=draw) < share
    anything = torch.rand(pairs.disparity.shape, generator=draw) * MAX_DISPARITY
    truth = torch.where(wrong, anything, pairs.disparity)
    return StereoBatch(pairs.left, pairs.right, truth, pairs.valid, pairs.occluded)


class Diverged(Exception):
    """The loss is no number any more."""


def fit(trial: Trial) -> Outcome:
    """Trains a fresh network and measures it on the way; the passes, not the steps, are what is given."""
    pairs, choice, report = pairs_of(trial.scenes, trial.wrong)
    torch.manual_seed(trial.seed)
    network: Network = Small(SmallConfig())
    loss = TotalLoss(trial.terms, max_disparity=float(MAX_DISPARITY))
    optimizer = make_optimizer(network, trial.optimizer, lr=trial.lr, **trial.options)
    rates = [group["lr"] for group in optimizer.param_groups]
    factor, plateau = make_schedule(trial, optimizer)
    order = torch.Generator().manual_seed(trial.seed)
    passes, rows = 0, []

    def closure() -> Tensor:
        nonlocal passes
        passes += 1
        optimizer.zero_grad()
        total, _ = loss(run_network(network, loss, batch), batch)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        if not torch.isfinite(total) or not torch.isfinite(norm):
            raise Diverged
        return total

    def row(**numbers: Any) -> dict[str, Any]:
        rate = optimizer.param_groups[0]["lr"]
        return {**trial.labels, "lr": trial.lr, "seed": trial.seed, "passes": passes, "rate": rate, **numbers}

    every = max(trial.steps // 10, 1)
    while passes < trial.steps:
        batch = take(pairs, torch.randperm(PAIRS, generator=order)[:BATCH].tolist())
        before = passes
        if plateau is None or passes < WARMUP:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor(passes)
        try:
            optimizer.step(closure)  # type: ignore[arg-type]
        except Diverged:
            nothing = {"epe_px": math.nan, "visible_epe_px": math.nan, "occluded_epe_px": math.nan}
            return Outcome(trial, [*rows, row(search_epe_px=math.nan, **nothing, bad_1_percent=math.nan)])
        if passes // every > before // every or passes >= trial.steps:
            rows.append(row(**measure(network, report)))
            if plateau is not None and passes < trial.steps:
                plateau.step(measure(network, choice)["epe_px"])
    rows[-1]["search_epe_px"] = measure(network, choice)["epe_px"]
    held = sum(value.numel() for value in tensors_in(optimizer.state_dict()) if value.ndim)
    rows[-1]["state_per_weight"] = round(held / sum(p.numel() for p in network.parameters()), 2)
    network.eval()
    return Outcome(trial, rows, trial.finish(network) if trial.finish else None)


def make_schedule(trial: Trial, optimizer: Any) -> tuple[Callable[[int], float], Any]:
    """The factor for each step, and torch's plateau scheduler where it is asked for."""
    options = dict(trial.schedule)
    name, warmup = options.pop("name"), options.pop("warmup", WARMUP)
    if name == "plateau":
        return make_factor("constant", trial.steps, warmup), make_plateau(optimizer, **options)
    if name == "step":
        options["every"] = round(options["every"] * trial.steps)
    if name == "multistep":
        options["milestones"] = [round(share * trial.steps) for share in options["milestones"]]
    return make_factor(name, trial.steps, 0 if name == "one_cycle" else warmup, **options), None


def tensors_in(value: Any) -> Iterable[Tensor]:
    """All tensors of a nested state."""
    if isinstance(value, Tensor):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from tensors_in(inner)


@torch.no_grad()
def measure(network: Network, pairs: StereoBatch) -> dict[str, float]:
    """Mean error, px, over all, visible and occluded pixels, and the share that is off by more than 1 px."""
    network.eval()
    error = (network(pairs.left, pairs.right) - pairs.disparity).abs()
    network.train()
    return {
        "epe_px": error.mean().item(),
        "visible_epe_px": error[~pairs.occluded].mean().item(),
        "occluded_epe_px": error[pairs.occluded].mean().item(),
        "bad_1_percent": 100 * (error > 1).float().mean().item(),
    }


class Lab:
    """Runs trials, several at a time, each with one thread so that its numbers do not depend on how many."""

    def __init__(self, processes: int, steps: int):
        self.steps = steps
        self.pool = multiprocessing.get_context("spawn").Pool(processes, pin_threads, (1,))

    def run(self, trials: list[Trial], times: int = 1) -> list[Outcome]:
        outcomes = []
        for outcome in self.pool.imap(fit, [replace(trial, steps=times * self.steps) for trial in trials]):
            last = outcome.rows[-1]
            labels = "  ".join(str(label) for label in outcome.trial.labels.values())
            print(f"{labels:45} lr {last['lr']:<8g} seed {last['seed']}  {last['epe_px']:.3f} px", flush=True)
            outcomes.append(outcome)
        return outcomes

    def search(self, candidates: list[tuple[Trial, tuple[float, ...]]], widen: int = 3) -> list[Outcome]:
        """Each candidate at each of its rates, then at further ones while the best is at an end; then other seeds."""
        found: list[list[Outcome]] = [[] for _ in candidates]
        wanted = [(i, rate) for i, (_, rates) in enumerate(candidates) for rate in rates]
        for _ in range(widen + 1):
            outcomes = self.run([replace(candidates[i][0], lr=rate) for i, rate in wanted])
            for (i, _), outcome in zip(wanted, outcomes, strict=True):
                found[i].append(outcome)
            wanted = [(i, rate) for i, tried in enumerate(found) if (rate := next_rate(tried)) is not None]
        best = [min(tried, key=lambda outcome: outcome.search_error) for tried in found]
        others = [replace(outcome.trial, seed=seed) for outcome in best for seed in SEEDS[1:]]
        chosen = [*best, *self.run(others)]
        for outcome in chosen:
            for row in outcome.rows:
                row["chosen"] = 1
        return [outcome for tried in found for outcome in tried] + chosen[len(best) :]


def next_rate(tried: list[Outcome]) -> float | None:
    """The rate beyond the best one, by a factor of about three, if that is the lowest or the highest."""
    rates = sorted(outcome.trial.lr for outcome in tried)
    best = min(tried, key=lambda outcome: outcome.search_error).trial.lr
    if best == rates[0]:
        return float(f"{best * rates[0] / rates[1]:.0e}")
    if best == rates[-1]:
        return float(f"{best * rates[-1] / rates[-2]:.0e}")
    return None


def optimizers(lab: Lab) -> None:
    candidates = []
    for label, (options, rates) in OPTIMIZERS.items():
        trial = Trial({"optimizer": label}, optimizer=label.split(",")[0], options=options)
        candidates.append((trial, rates))
    write("training_optimizers", rows_of(lab.search(candidates)))


def schedules(lab: Lab) -> None:
    trials = [(Trial({"schedule": label}, schedule=options), SCHEDULE_RATES) for label, options in SCHEDULES.items()]
    outcomes = lab.search(trials, widen=0)
    write("training_schedules", rows_of(outcomes))
    shapes = []
    for label, options in SCHEDULES.items():
        if options["name"] == "plateau":  # a consequence of the run: that of the first seed
            first = next(o for o in outcomes if o.trial.labels["schedule"] == label and "chosen" in o.rows[0])
            shapes += [{"schedule": label, "step": r["passes"], "factor": r["rate"] / r["lr"]} for r in first.rows]
            continue
        factor, _ = make_schedule(Trial({}, schedule=options, steps=lab.steps), None)
        shapes += [{"schedule": label, "step": at, "factor": factor(at)} for at in range(0, lab.steps, 2)]
    write("training_schedule_shapes", shapes)


def losses(lab: Lab) -> None:
    trials = [
        Trial({"loss": label, "truth": truth}, seed, terms, wrong=wrong)
        for label, terms in SUPERVISED.items()
        for truth, wrong in TRUTHS.items()
        for seed in SEEDS
    ]
    write("training_losses", rows_of(lab.run(trials)))
    write("training_loss_shapes", loss_shapes())


def loss_shapes() -> list[dict[str, Any]]:
    """The pointwise losses and their slopes against the error."""
    rows = []
    known = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    for label, (term,) in SUPERVISED.items():
        if term["name"] == "disparity_cross_entropy":
            continue
        call = make_loss(**term).function
        for error in torch.linspace(-6, 6, 121):
            prediction = error.view(1, 1, 1, 1).clone().requires_grad_()
            value = call(prediction, torch.zeros(1, 1, 1, 1), known)
            value.backward()
            slope = prediction.grad.item()  # type: ignore[union-attr]
            rows.append({"loss": label, "error_px": round(error.item(), 2), "value": value.item(), "slope": slope})
    return rows


def edges(lab: Lab) -> None:
    trials = [Trial({"loss": k}, s, terms, finish=look_at_edges) for k, terms in EDGES.items() for s in SEEDS]
    outcomes = lab.run(trials, times=4)  # what happens at an edge is seen once the rest is right
    where = [{"loss": o.trial.labels["loss"], "seed": o.trial.seed, **r} for o in outcomes for r in o.finished[0]]
    write("training_edges", where)
    first = [outcome for outcome in outcomes if outcome.trial.seed == SEEDS[0]]
    write("training_edge_row", [{"loss": o.trial.labels["loss"], **r} for o in first for r in o.finished[1]])
    write("training_edge_scores", [{"loss": o.trial.labels["loss"], **r} for o in first for r in o.finished[2]])


@torch.no_grad()
def look_at_edges(network: Network) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """At the resolution of the scores: errors next to edges and away from them; one row of pixels; one pixel."""
    report = pairs_of("equal cameras")[2]
    _, scores, _ = network.forward_scores(report.left, report.right)  # type: ignore[operator]
    shares = scores.softmax(1)
    truth, _ = shrink(report.disparity, report.valid, scores.shape[-2:])
    steps = functional.pad(truth.diff(dim=3).abs(), (1, 0))
    near = functional.max_pool2d((steps > 3).float(), (1, 5), 1, (0, 2)) > 0
    hidden = functional.max_pool2d(report.occluded.float(), 2) > 0
    readouts = {"mean": expectation(shares), "around the mode": mode_expectation(shares)}
    errors = [
        {
            "readout": readout,
            "where": where,
            "epe_px": (value - truth).abs()[mask].mean().item(),
            "bad_1_percent": 100 * ((value - truth).abs()[mask] > 1).float().mean().item(),
        }
        for readout, value in readouts.items()
        for where, mask in (("next to an edge", near & ~hidden), ("elsewhere", ~near & ~hidden))
    ]
    # One edge for the picture, chosen by the truth alone: the largest step up to 12 px with a visible pixel in front
    # and a near and a far surface that stay within 1 px for six cells on either side.
    runs = truth.unfold(3, 6, 1)
    flat = runs.amax(-1) - runs.amin(-1) < 1
    clear = torch.zeros_like(hidden)
    clear[..., 6:-5] = flat[..., 6:] & flat[..., :-6]
    steps = torch.where(clear & ~hidden & (steps < 12), steps, 0.0)
    steps[..., :14] = steps[..., -8:] = 0
    pair, _, y, x = (int(i) for i in torch.unravel_index(steps.argmax(), steps.shape))
    row = [
        {"x_px": 2 * c, "truth_px": truth[pair, 0, y, c].item()}
        | {readout: value[pair, 0, y, c].item() for readout, value in readouts.items()}
        for c in range(max(x - 12, 0), x + 9)
    ]
    pixel = [
        {"x_px": 2 * x, "truth_px": truth[pair, 0, y, x].item(), "plane_px": 2 * k, "share": share.item()}
        | {readout: value[pair, 0, y, x].item() for readout, value in readouts.items()}
        for k, share in enumerate(shares[pair, :, y, x])
    ]
    return errors, row, pixel


def self_supervised(lab: Lab) -> None:
    trials = [
        Trial({"loss": label, "scenes": scenes}, seed, terms, scenes=scenes)
        for label, terms in SELF_SUPERVISED.items()
        for scenes in SCENES
        for seed in SEEDS[:2]
    ]
    write("training_self_supervised", rows_of(lab.run(trials)))


PARTS = {
    "optimizers": optimizers,
    "schedules": schedules,
    "losses": losses,
    "edges": edges,
    "self_supervised": self_supervised,
}


def rows_of(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    return [row for outcome in outcomes for row in outcome.rows]


def write(name: str, rows: list[dict[str, Any]]) -> None:
    machine = describe_machine()
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, [*columns, *machine], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        short = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow(short | machine)
    write_whole(RESULTS / f"{name}.csv", text.getvalue().encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=160, help="forward and backward passes of each run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--draw", action="store_true", help="only pictures and tables, from the CSVs that are there")
    arguments = parser.parse_args()
    if not arguments.draw:
        begun = time.perf_counter()
        lab = Lab(arguments.processes, arguments.steps)
        for part in arguments.only:
            PARTS[part](lab)
            print(f"{part}: done after {time.perf_counter() - begun:.0f} s", flush=True)
        print(f"{time.perf_counter() - begun:.0f} s on {one_line(describe_machine())}")
    from _training_pictures import draw_all, fill_tables

    documents = Path(__file__).parent.parent / "docs"
    draw_all(RESULTS, documents / "images")
    fill_tables(RESULTS, documents / "optimizers-and-losses.md")


if __name__ == "__main__":
    main()
