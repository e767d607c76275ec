"""What properties of procedural scenes, and parts of plummet, are worth: the same short training without or with them.

    python benchmarks/zoo/ablations.py --data folder:/data/samples [--only NAME ...] [--seeds 0]
    python benchmarks/zoo/ablations.py --draw          # docs/zoo.md's table, from the CSV

A half-width plummet-s learns from its seed's first weights for STEPS steps; EPE, D1 and bad-1 on the pairs of --data,
which serve nothing else, and on rendered pairs that have every property. Rows that are there are not made again, and an
interrupted training goes on (runs/ablations). A row takes some four minutes on one free core. Writes
benchmarks/results/ablations.csv.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import leadline
from leadline.files import write_whole
from leadline.training import train

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from _slim import Table  # noqa: E402

CSV = ROOT / "benchmarks" / "results" / "ablations.csv"
PAGE = ROOT / "docs" / "zoo.md"
RUNS = Path("runs") / "ablations"
RENDERED = "procedural:16,seed=77,size=192x384"
STEPS = 1000
KEYS = ("change", "seed")
HALF = {
    "stem": 8, "quarter": 16, "eighth": 24, "matching": 16, "fine": 16,
    "hidden_quarter": 24, "hidden_eighth": 32, "hidden_sixteenth": 48, "hidden_thirtysecond": 0, "edge": False,
}  # fmt: skip
EVERYTHING = "everything"
WITHOUT: dict[str, dict[str, Any]] = {
    EVERYTHING: {},
    "rooms and streets": {"room": 0.0, "street": 0.0},
    "slanted": {"slanted": 0.0},
    "curved": {"curved": 0.0},
    "thin": {"thin": 0.0},
    "holed": {"holed": 0.0},
    "textureless": {"textureless": 0.0},
    "reflections": {"reflections": 0.0},
    "photometric": {"photometric": 0.0},
    "blur": {"blur": 0.0},
    "noise": {"noise": 0.0},
    "misalignment": {"misalignment": 0.0},
    "greyscale": {"greyscale": 0.0},
    "any camera fault": dict.fromkeys(
        ("photometric", "blur", "noise", "vignetting", "misalignment", "greyscale", "low_light", "reflections"), 0.0
    ),
}
# What the defaults of scenes leave out.
WITH: dict[str, dict[str, Any]] = {
    "with furnished rooms, every second pair": {"furnished": 0.5},
    "with streets, every second pair": {"outdoors": 0.5},
    "with coarse textures, every fifth": {"coarse": 0.2},
}
SECOND_LOOK = {"name": "plummet-r", "refine": 12, "looks": 1}
PARTS: dict[str, dict[str, Any]] = {
    "planes every 2 px: every 4 px alone": {"fine": 0},
    "the filter of the coarse volume": {"coarse_layers": 0},
    "with scores to the border": {"edge": True},
    "with an hourglass to 1/32": {"hidden_thirtysecond": 48},
    "with a second look": {**SECOND_LOOK, "informed": False},
    "with a second look, told of the surroundings": SECOND_LOOK,
}
SCENES = WITHOUT | WITH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FORMAT:PATH", help="real pairs to evaluate on at the end")
    parser.add_argument("--only", nargs="+", choices=[*SCENES, *PARTS], metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--draw", action="store_true", help="only the table, from the CSV")
    options = parser.parse_args()
    if not options.draw:
        if options.data is None:
            parser.error("--data is needed, unless with --draw")
        for seed in options.seeds:
            for name in options.only or [*SCENES, *PARTS]:
                measure(name, seed, options.data)
    draw()


def recipe(change: str, seed: int) -> dict[str, Any]:
    network = {"name": "plummet-s", **HALF, **PARTS.get(change, {})}
    return {
        "name": "ablation",
        "network": network,
        "data": [{"source": "procedural", "scenes": {"max_disparity": 96, **SCENES.get(change, {})}}],
        "render_size": "160x320",
        "crop": "128x256",
        "batch": 4,
        "reuse": 3,
        "steps": STEPS,
        "seed": seed,
        "augment": {"brightness": 0.1, "contrast": 0.15, "saturation": 0.2, "asymmetric": 0.3},
        "losses": [
            {"name": "smooth_l1", "weight": 0.5, "scale_weights": [0.3, 0.5, 1.0, *[1.0] * network.get("looks", 0)]},
            {"name": "disparity_cross_entropy", "diversity": 0.5},
        ],
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4},
        "schedule": {"name": "one_cycle", "rise": 0.1},
        "precision": "bf16",
        "ema": 0.99,
        "threads": 1,
        "workers": 0,
        "accelerator": "cpu",
        "checkpoint": {"every": 250},
    }


def measure(change: str, seed: int, data: str) -> None:
    if Table(CSV, KEYS).find(change=change, seed=seed) is not None:
        return
    path = train(recipe(change, seed), RUNS / f"{re.sub('[:,]', '', change).replace(' ', '-')}-{seed}")
    row: dict[str, Any] = {"change": change, "seed": seed, "steps": STEPS}
    for where, pairs in (("real", data), ("rendered", RENDERED)):
        mean = leadline.evaluate([str(path)], pairs).over_samples(str(path))
        for column, key in (("epe_px", "epe"), ("d1_percent", "d1"), ("bad_1_percent", "bad_1")):
            row[f"{where}_{column}"] = round(float(mean[key] or 0), 3)
    Table(CSV, KEYS).add(**row)


def draw() -> None:
    """The means over seeds, the largest loss on real pairs first."""
    with CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [f"{w}_{c}" for w in ("real", "rendered") for c in ("epe_px", "d1_percent", "bad_1_percent")]
    means = {}
    for name in dict.fromkeys(row["change"] for row in rows):
        of_name = [row for row in rows if row["change"] == name]
        means[name] = [fmean(float(row[column]) for row in of_name) for column in columns], len(of_name)
    order = sorted(means, key=lambda name: (not name.startswith(EVERYTHING), name != EVERYTHING, -means[name][0][0]))
    lines = [
        "| | EPE real | D1 | bad-1 | EPE rendered | D1 | bad-1 | seeds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in order:
        values, seeds = means[name]
        label = name if name.startswith((EVERYTHING, "with ")) else f"without {name}"
        lines.append(f"| {label} | " + " | ".join(f"{value:.2f}" for value in values) + f" | {seeds} |")
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- table ablations: written by benchmarks/zoo/ablations.py -->\n", "<!-- end of table -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    print(write_whole(PAGE, pattern.sub(begin + "\n".join(lines) + "\n" + end, text).encode()))


if __name__ == "__main__":
    main()
