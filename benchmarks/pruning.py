"""What pruning costs and what it is worth: the tables and pictures of docs/compression/pruning.md.

    python benchmarks/pruning.py amounts  [--data folder:/data/samples] [MODEL]   EPE and file by granularity and amount
    python benchmarks/pruning.py criteria [--data ...] [MODEL]     filters by each criterion to the same MACs
    python benchmarks/pruning.py finetune [--data ...] [MODEL]     the same after some hundred steps of training
    python benchmarks/pruning.py latency  [--runtimes pytorch onnx] [MODEL]       MACs against measured time; sparse too
    python benchmarks/pruning.py sensitivity [MODEL]               each layer alone
    python benchmarks/pruning.py pictures                          draws from the tables

Each part goes on where it stopped: rows that are in benchmarks/results/pruning_*.csv are not measured again. `--quick`
takes fewer amounts. MODEL is plummet-s unless given. Nothing of --data is trained on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _pruning_pictures import draw_amounts, draw_granularities
from _slim import IMAGES, RECIPE, RESULTS, Table, accuracy, file_bytes, load

from leadline.compress import prune
from leadline.compress.latency import _in_turns, open_run
from leadline.compress.prune_filters import CRITERIA, count_macs
from leadline.compress.sensitivity import sensitivity
from leadline.errors import UserError
from leadline.models import Network
from leadline.training.recipe import load_recipe

AMOUNTS = {
    "weight": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9), "vector": (0.2, 0.3, 0.5, 0.7), "kernel": (0.2, 0.3, 0.5, 0.7),
    "filter": (0.1, 0.2, 0.3, 0.5),
}  # fmt: skip
KEYS = ("model", "granularity", "criterion", "amount", "pattern", "steps", "schedule")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("model", nargs="?", default="plummet-s")
    parser.add_argument("--data", metavar="FORMAT:PATH")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--steps", type=int, default=200, help="of fine-tuning")
    parser.add_argument("--runs", type=Path, default=Path("runs/pruning"), help="where fine-tuning is kept")
    parser.add_argument("--runtimes", nargs="+", default=["pytorch", "onnx"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    PARTS[options.part](options)


def row_of(table: Table, options: argparse.Namespace, make: Callable[[], Network], **about: Any) -> None:
    """Measures what `make` gives, unless the table has it."""
    key = {"model": options.model, "pattern": "", "steps": 0, "schedule": "one-shot", **about}
    if table.find(**key) is None:
        made = make()
        table.add(**key, **accuracy(made, options.data), macs=count_macs(made), file_bytes=file_bytes(made))


def amounts(options: argparse.Namespace) -> None:
    """Without training: how far each granularity goes."""
    table, network = Table(RESULTS / "pruning_amounts.csv", KEYS), load(options.model)
    row_of(table, options, lambda: network, granularity="none", criterion="", amount=0.0)
    for granularity, values in AMOUNTS.items():
        criterion = {"weight": "lamp", "filter": "group"}.get(granularity, "l2")
        for amount in values[1:3] if options.quick else values:
            row_of(
                table, options, granularity=granularity, criterion=criterion, amount=amount,
                make=lambda g=granularity, a=amount: prune(network, granularity=g, amount=a),
            )  # fmt: skip
    row_of(
        table, options, granularity="weight", criterion="lamp", amount=0.5, pattern="2:4",
        make=lambda: prune(network, granularity="weight", pattern="2:4"),
    )  # fmt: skip


def criteria(options: argparse.Namespace) -> None:
    """Without training: which criterion finds the filters that are needed least."""
    table, network = Table(RESULTS / "pruning_criteria.csv", KEYS), load(options.model)
    row_of(table, options, lambda: network, granularity="none", criterion="", amount=0.0)
    for criterion in CRITERIA:
        for macs in (0.8,) if options.quick else (0.9, 0.8, 0.65):
            row_of(
                table, options, granularity="filter", criterion=criterion, amount=f"{macs:g}x MACs",
                make=lambda c=criterion, m=macs: prune(network, criterion=c, macs=m),
            )  # fmt: skip


def finetune(options: argparse.Namespace) -> None:
    """With training."""
    table, network = Table(RESULTS / "pruning_finetune.csv", KEYS), load(options.model)
    recipe = load_recipe(RECIPE, [f"steps={options.steps}"])
    row_of(table, options, lambda: network, granularity="none", criterion="", amount=0.0)
    jobs = [
        ("weight", 0.8, None, "cubic"), ("filter", None, 0.5, "one-shot"), ("weight", 0.8, None, "one-shot"),
        ("kernel", 0.5, None, "one-shot"), ("vector", 0.5, None, "one-shot"), ("filter", None, 0.35, "one-shot"),
    ]  # fmt: skip
    for granularity, amount, macs, schedule in jobs[:2] if options.quick else jobs:
        shown = f"{macs:g}x MACs" if macs else amount
        criterion = {"weight": "lamp", "filter": "group"}.get(granularity, "l2")
        folder = options.runs / f"{options.model}-{granularity}-{str(shown).split()[0]}-{schedule}-{options.steps}"

        def make(g=granularity, a=amount, m=macs, s=schedule, f=folder) -> Network:
            round_to = 4 if g == "filter" else 1
            return prune(
                network, granularity=g, amount=a, macs=m, schedule=s, round_to=round_to, finetune=recipe, folder=f
            )

        row_of(
            table, options, granularity=granularity, criterion=criterion, amount=shown, steps=options.steps,
            schedule=schedule, make=make,
        )  # fmt: skip


def latency(options: argparse.Namespace) -> None:
    """Times of what is smaller and of what is sparse beside the dense network, taking turns."""
    keys = ("model", "granularity", "amount", "runtime", "threads")
    table, network = Table(RESULTS / "pruning_latency.csv", keys), load(options.model)
    before = count_macs(network)
    made = {("filter", f"{m:g}x MACs"): lambda m=m: prune(network, macs=m, round_to=4) for m in (0.8, 0.65, 0.5, 0.35)}
    made |= {("weight", "0.8"): lambda: prune(network, granularity="weight", amount=0.8)}
    made |= {("kernel", "0.5"): lambda: prune(network, granularity="kernel", amount=0.5)}
    for (granularity, amount), make in made.items():
        smaller = make()
        for runtime in options.runtimes:
            key = {
                "model": options.model, "granularity": granularity, "amount": amount, "runtime": runtime,
                "threads": options.threads,
            }  # fmt: skip
            if table.find(**key) is not None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    runs = [
                        open_run(each, runtime, (384, 1248), options.threads, Path(folder) / name)
                        for name, each in (("dense", network), ("pruned", smaller))
                    ]
                except UserError as error:
                    print(f"left out: {error}")
                    continue
                dense, pruned = _in_turns(*runs)
            table.add(
                **key, macs_share=round(count_macs(smaller) / before, 4), milliseconds=round(pruned * 1000, 2),
                dense_milliseconds=round(dense * 1000, 2), time_share=round(pruned / dense, 4),
            )  # fmt: skip


def each_layer(options: argparse.Namespace) -> None:
    """Each layer alone, at every granularity."""
    steps = (0.25, 0.5, 0.75) if options.quick else (0.25, 0.5, 0.75, 0.9)
    found = sensitivity(load(options.model), limit=3, amounts=steps)
    print(found.to_csv(RESULTS / "pruning_sensitivity.csv"))
    print(found.draw(IMAGES / "pruning_sensitivity.png"))


def pictures(options: argparse.Namespace) -> None:
    """The granularities as drawings, and the tables as curves."""
    draw_granularities(IMAGES / "pruning_granularities.png")
    rows = Table(RESULTS / "pruning_amounts.csv", KEYS).rows
    if rows:
        draw_amounts([row for row in rows if row["model"] == options.model], IMAGES / "pruning_amounts.png")


PARTS = {
    "amounts": amounts, "criteria": criteria, "finetune": finetune, "latency": latency, "sensitivity": each_layer,
    "pictures": pictures,
}  # fmt: skip


if __name__ == "__main__":
    main()
