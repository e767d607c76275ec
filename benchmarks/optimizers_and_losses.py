"""How the optimizers and the losses behave on one small stereo problem; makes the plots of docs/training.md.

A small correlation network learns from 24 small procedural pairs and is measured on 24 others. Every optimizer gets
the same steps from the same weights, at each of its learning rates; every loss the same optimizer.

    python benchmarks/optimizers_and_losses.py [--steps 200]

Takes a few minutes on two free cores. Writes benchmarks/results/{optimizers,losses}.csv and three pictures to
docs/images.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from _machine import describe_machine, one_line
from torch import Tensor, nn
from torch.nn import functional

from leadline.data.augment import take
from leadline.data.batch import StereoBatch
from leadline.data.procedural import SceneConfig, render_stereo
from leadline.models import Network, Task
from leadline.nn.conv import ConvBN
from leadline.nn.correlation import correlation_volume
from leadline.training.losses import TotalLoss
from leadline.training.losses.registry import make_loss
from leadline.training.module import run_network
from leadline.training.optimizers import make_optimizer
from leadline.training.schedules import make_factor

HERE = Path(__file__).parent
TABLES, PICTURES = HERE / "results", HERE.parent / "docs" / "images"
SIZE, BATCH, PAIRS = (48, 96), 4, 24
# Well-lit, textured scenes, seen by two equal cameras: what can be learnt in a few hundred steps.
SCENES = SceneConfig(
    max_disparity=30.0, max_objects=8, thin=0.0, holed=0.0, text=0.0, textureless=0.0, reflections=0.0, photometric=0.0,
    blur=0.0, noise=0.0, vignetting=0.0, misalignment=0.0, greyscale=0.0, low_light=0.0,
)  # fmt: skip
MAX_DISPARITY = 32  # px


@dataclass(frozen=True)
class SmallConfig:
    max_disparity: int = MAX_DISPARITY
    width: int = 16  # channels at 1/2


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
        values = torch.arange(self.planes).view(1, -1, 1, 1) * 2.0
        coarse = (scores.softmax(1) * values).sum(1, keepdim=True)
        return [functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")], scores, 2.0

    def forward_all(self, left: Tensor, right: Tensor) -> list[Tensor]:
        return self.forward_scores(left, right)[0]


# Each optimizer at three learning rates around what is usual for it; the best is drawn.
OPTIMIZERS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "sgd": ({}, (3e-2, 1e-1, 3e-1)),
    "sgd, momentum": ({"momentum": 0.9}, (3e-3, 1e-2, 3e-2)),
    "sgd, nesterov": ({"momentum": 0.9, "nesterov": True}, (3e-3, 1e-2, 3e-2)),
    "asgd": ({}, (3e-2, 1e-1, 3e-1)),
    "rprop": ({}, (1e-4, 1e-3, 1e-2)),
    "adagrad": ({}, (3e-3, 1e-2, 3e-2)),
    "adadelta": ({}, (0.3, 1.0, 3.0)),
    "rmsprop": ({}, (3e-4, 1e-3, 3e-3)),
    "adam": ({}, (1e-3, 3e-3, 1e-2)),
    "adamax": ({}, (1e-3, 3e-3, 1e-2)),
    "adamw": ({}, (1e-3, 3e-3, 1e-2)),
    "nadam": ({}, (1e-3, 3e-3, 1e-2)),
    "radam": ({}, (1e-3, 3e-3, 1e-2)),
    "adafactor": ({}, (1e-2, 3e-2, 1e-1)),
    "muon": ({}, (1e-3, 3e-3, 1e-2)),
    "lbfgs": ({"max_iter": 4, "history_size": 10}, (0.1, 0.3, 1.0)),
}
LBFGS_PASSES = 4  # of each of its steps; it gets that many fewer

LOSSES: dict[str, list[dict[str, Any]]] = {
    "l1": [{"name": "l1"}],
    "l2": [{"name": "l2", "weight": 0.1}],
    "smooth_l1": [{"name": "smooth_l1"}],
    "huber, delta 3": [{"name": "huber", "delta": 3.0}],
    "charbonnier": [{"name": "charbonnier"}],
    "charbonnier, alpha 0.25": [{"name": "charbonnier", "alpha": 0.25}],
    "disparity_cross_entropy + l1": [{"name": "disparity_cross_entropy"}, {"name": "l1"}],
    "photometric + smoothness": [{"name": "photometric", "weight": 10.0}, {"name": "smoothness", "weight": 0.1}],
    "census + smoothness": [{"name": "census", "weight": 10.0}, {"name": "smoothness", "weight": 0.1}],
}
Curve = list[tuple[int, float, float]]  # step, end-point error px, share of pixels off by more than 1 px


def fresh_network() -> Network:
    torch.manual_seed(0)
    return Small(SmallConfig())


def fit(
    pairs: StereoBatch, held_out: StereoBatch, terms: list[dict[str, Any]], optimizer: str, steps: int, **options: Any
) -> Curve:
    """Trains a fresh network; gives its error on the held-out pairs over the steps."""
    network = fresh_network()
    loss = TotalLoss(terms, max_disparity=float(MAX_DISPARITY))
    stepper = make_optimizer(network, optimizer, **options)
    factor = make_factor("cosine", steps, warmup=10)
    rates = [group["lr"] for group in stepper.param_groups]
    order = torch.Generator().manual_seed(0)
    curve = []
    for step in range(steps):
        batch = take(pairs, torch.randperm(PAIRS, generator=order)[:BATCH].tolist())

        def closure(batch: StereoBatch = batch) -> torch.Tensor:
            stepper.zero_grad()
            total, _ = loss(run_network(network, loss, batch), batch)
            total.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            return total

        for group, rate in zip(stepper.param_groups, rates, strict=True):
            group["lr"] = rate * factor(step)
        if not torch.isfinite(stepper.step(closure)):  # type: ignore[arg-type]
            return [*curve, (step, float("nan"), float("nan"))]
        if (step + 1) % max(steps // 10, 1) == 0:
            curve.append((step + 1, *measure(network, held_out)))
    return curve


@torch.no_grad()
def measure(network: Network, pairs: StereoBatch) -> tuple[float, float]:
    network.eval()
    error = (network(pairs.left, pairs.right) - pairs.disparity).abs()
    network.train()
    return error.mean().item(), 100 * (error > 1).float().mean().item()


def with_outliers(pairs: StereoBatch, share: float) -> StereoBatch:
    """The same pairs, a share of whose truth is wrong by anything: what a bad rig or a wrong match gives."""
    draw = torch.Generator().manual_seed(1)
    wrong = torch.rand(pairs.disparity.shape, generator=draw) < share
    anything = torch.rand(pairs.disparity.shape, generator=draw) * MAX_DISPARITY
    truth = torch.where(wrong, anything, pairs.disparity)
    return StereoBatch(pairs.left, pairs.right, truth, pairs.valid, pairs.occluded)


def try_optimizers(pairs: StereoBatch, held_out: StereoBatch, steps: int) -> dict[str, dict[float, Curve]]:
    results: dict[str, dict[float, Curve]] = {}
    for label, (options, rates) in OPTIMIZERS.items():
        name = label.split(",")[0]
        count = steps // LBFGS_PASSES if name == "lbfgs" else steps
        begun = time.perf_counter()
        results[label] = {
            rate: fit(pairs, held_out, [{"name": "smooth_l1"}], name, count, lr=rate, **options) for rate in rates
        }
        shown = "  ".join(f"lr {rate:g}: {curve[-1][1]:.2f} px" for rate, curve in results[label].items())
        print(f"{label:15} {shown}  ({time.perf_counter() - begun:.0f} s)", flush=True)
    return results


def try_losses(pairs: StereoBatch, held_out: StereoBatch, steps: int) -> dict[str, list[Curve]]:
    """For each loss, the curve with exact truth and the one with a fifth of it wrong."""
    results = {}
    for label, terms in LOSSES.items():
        results[label] = [
            fit(truth, held_out, terms, "adamw", steps, lr=3e-3) for truth in (pairs, with_outliers(pairs, 0.2))
        ]
        ends = [curve[-1] for curve in results[label]]
        print(f"{label:30} " + "   ".join(f"{end[1]:.2f} px, {end[2]:.0f} % bad-1" for end in ends), flush=True)
    return results


def best(curves: dict[float, Curve]) -> tuple[float, Curve]:
    finite = {rate: curve for rate, curve in curves.items() if curve[-1][1] == curve[-1][1]}
    return min((finite or curves).items(), key=lambda item: item[1][-1][1])


def draw_optimizers(results: dict[str, dict[float, Curve]], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    colours = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for colour, (label, curves) in zip(colours, results.items(), strict=False):
        rate, curve = best(curves)
        passes = LBFGS_PASSES if label == "lbfgs" else 1
        left.plot([p[0] * passes for p in curve], [p[1] for p in curve], color=colour, label=f"{label}, {rate:g}")
        ends = [curve[-1][1] for curve in curves.values()]
        right.plot([rate / best(curves)[0] for rate in curves], ends, "o-", color=colour)
    left.set(xlabel="forward and backward passes", ylabel="end-point error, held-out pairs, px", yscale="log")
    right.set(xlabel="learning rate / the best of the three", xscale="log", yscale="log", ylabel="final error, px")
    left.legend(fontsize=6, ncol=2, title="best learning rate", title_fontsize=6)
    save(figure, path)


def draw_losses(results: dict[str, list[Curve]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for label, pair in results.items():
        for axis, curve in zip(axes, pair, strict=True):
            axis.plot([p[0] for p in curve], [p[1] for p in curve], label=label)
    axes[0].set(title="exact truth", xlabel="step", ylabel="end-point error, held-out pairs, px", yscale="log")
    axes[1].set(title="a fifth of the truth is wrong", xlabel="step")
    axes[0].legend(fontsize=6)
    save(figure, path)


def draw_shapes(path: Path) -> None:
    """The pointwise losses and their slopes against the error."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    error = torch.linspace(-4, 4, 401)
    one = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    shapes: dict[str, Callable[..., torch.Tensor]] = {
        name: make_loss(name).function for name in ("l1", "l2", "smooth_l1", "huber", "charbonnier")
    }
    shapes["huber, delta 3"] = make_loss("huber", delta=3.0).function
    shapes["charbonnier, alpha 0.25"] = make_loss("charbonnier", alpha=0.25).function
    for label, call in shapes.items():
        values, slopes = [], []
        for e in error:
            prediction = e.view(1, 1, 1, 1).clone().requires_grad_()
            value = call(prediction, torch.zeros(1, 1, 1, 1), one)
            value.backward()
            values.append(value.item())
            slopes.append(prediction.grad.item())  # type: ignore[union-attr]
        axes[0].plot(error, values, label=label)
        axes[1].plot(error, slopes)
    axes[0].set(xlabel="error, px", ylabel="loss", ylim=(0, 5))
    axes[1].set(xlabel="error, px", ylabel="slope", ylim=(-4, 4))
    axes[0].legend(fontsize=6)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    for axis in figure.axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for folder in (TABLES, PICTURES):
        folder.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    pairs = render_stereo(1, list(range(PAIRS)), SIZE, SCENES)
    held_out = render_stereo(2, list(range(PAIRS)), SIZE, SCENES)

    draw_shapes(PICTURES / "loss_shapes.png")
    losses = try_losses(pairs, held_out, arguments.steps)
    draw_losses(losses, PICTURES / "losses.png")
    rows = [
        [label, truth, *(f"{v:.4g}" for v in point)]
        for label, both in losses.items()
        for truth, curve in zip(("exact", "a fifth wrong"), both, strict=True)
        for point in curve
    ]
    write_csv(TABLES / "losses.csv", ["loss", "truth", "step", "epe_px", "bad_1_percent"], rows)

    optimizers = try_optimizers(pairs, held_out, arguments.steps)
    draw_optimizers(optimizers, PICTURES / "optimizers.png")
    rows = [
        [label, rate, *(f"{v:.4g}" for v in point)]
        for label, curves in optimizers.items()
        for rate, curve in curves.items()
        for point in curve
    ]
    write_csv(TABLES / "optimizers.csv", ["optimizer", "lr", "step", "epe_px", "bad_1_percent"], rows)
    print(f"{time.perf_counter() - begun:.0f} s on {one_line(describe_machine())}")


if __name__ == "__main__":
    main()
