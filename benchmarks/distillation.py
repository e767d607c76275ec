"""What a teacher is worth: the same short training with and without one, for a half-width plummet-s and for plummet-s.

    python benchmarks/distillation.py --data folder:/data/samples [--only NAME ...] [--seeds 0 1] [--draw]

The teacher is plummet-s-4px, except where SGBM teaches, and plummet-m-4px for plummet-s itself. Every run of a
group has the same scenes in the same order, steps and schedule, and with one seed the same first weights. Runs that
are there already (runs/distillation) are not made again and interrupted ones go on, so the command may be given in
pieces with --only; a run takes one to three minutes on one free core. Writes benchmarks/results/distillation.csv and,
from it alone, docs/images/distillation.png and the tables of docs/compression/distillation.md; --draw measures
nothing.

The pairs of --data are evaluated on at the end of the runs with the full range, and serve nothing else.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from leadline.files import write_whole

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "distillation.csv"
PICTURE = ROOT / "docs" / "images" / "distillation.png"
PAGE = ROOT / "docs" / "compression" / "distillation.md"
RUNS = Path("runs") / "distillation"
STEPS, EVERY = 300, 50
HALF = {
    "stem": 8, "quarter": 16, "eighth": 24, "matching": 16,
    "hidden_quarter": 24, "hidden_eighth": 32, "hidden_sixteenth": 48, "hidden_thirtysecond": 0,
}  # fmt: skip
TRUTH = [{"name": "smooth_l1", "weight": 0.5}, {"name": "disparity_cross_entropy", "diversity": 0.5}]
SELF_SUPERVISED = [
    {"name": "census", "window": 5},
    {"name": "smoothness", "weight": 0.03},
    {"name": "left_right", "weight": 0.03},
]
TARGET, HINT = {"name": "target", "weight": 0.5}, {"name": "hint"}
DISTRIBUTION = {"name": "distribution"}


LARGE = ("large", "plummet-s")  # groups with larger crops, the full range, and real pairs at the end


@dataclass(frozen=True)
class Run:
    """One training: its group, what it is called in tables, and what differs from the others."""

    group: str  # one of TITLES
    label: str
    losses: list[dict[str, Any]]
    imitated: list[dict[str, Any]] = field(default_factory=list)
    teacher: str | list[str] = "plummet-s-4px"
    options: dict[str, Any] = field(default_factory=dict)  # of the distill block

    def recipe(self, name: str, seed: int) -> dict[str, Any]:
        full, large = self.group == "plummet-s", self.group in LARGE
        reach = {} if large else {"max_disparity": 64}
        distill = {"teacher": self.teacher, "losses": self.imitated, **self.options} if self.imitated else None
        return {
            "name": name,
            "network": {"name": "plummet-s", "fine": 0, **({} if full else HALF), **reach},
            "data": [{"source": "procedural", "scenes": {"max_disparity": 96 if large else 48}}],
            "render_size": "160x320" if large else "80x160",
            "crop": "128x256" if large else "64x128",
            "batch": 4,
            "reuse": 3,
            "steps": STEPS,
            "seed": seed,
            "augment": {"brightness": 0.1, "contrast": 0.15, "saturation": 0.2, "asymmetric": 0.3},
            "losses": self.losses,
            "distill": distill,
            "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4},
            "schedule": {"name": "one_cycle", "rise": 0.1},
            "ema": 0.98,
            "threads": 1,
            "workers": 0,
            "accelerator": "cpu",
            "validate": {"every": EVERY, "data": f"procedural:16,seed=77,size={'192x384' if large else '96x192'}"},
            "checkpoint": {"every": 100},
            "log": {"every": 50, "images_every": 250},
        }


RUNS_BY_NAME = {
    "truth": Run("truth", "no teacher", TRUTH),
    "truth-target": Run("truth", "target", TRUTH, [TARGET]),
    "truth-distribution": Run("truth", "distribution", TRUTH, [DISTRIBUTION]),
    "truth-distribution-4": Run("truth", "distribution, T = 4", TRUTH, [{**DISTRIBUTION, "temperature": 4.0}]),
    "truth-volume": Run("truth", "volume", TRUTH, [{"name": "volume"}]),
    "truth-hint": Run("truth", "hint", TRUTH, [HINT]),
    "truth-attention": Run("truth", "attention", TRUTH, [{"name": "attention", "weight": 10.0}]),
    "truth-similarity": Run("truth", "similarity", TRUTH, [{"name": "similarity", "weight": 10.0}]),
    "truth-relational": Run("truth", "relational", TRUTH, [{"name": "relational"}]),
    "truth-all": Run("truth", "target, distribution, hint", TRUTH, [TARGET, DISTRIBUTION, HINT]),
    "truth-masked": Run(
        "truth",
        "the same, not where off by > 1 px",
        TRUTH,
        [TARGET, DISTRIBUTION, HINT],
        options={"teacher_error": 1.0},
    ),
    "free": Run("no truth", "no teacher: census, smoothness, left_right", SELF_SUPERVISED),
    "free-sgbm": Run("no truth", "sgbm-padded: target", [], [{"name": "target"}], "sgbm-padded"),
    "free-target": Run("no truth", "plummet-s: target", [], [{"name": "target"}]),
    "free-all": Run("no truth", "plummet-s: target, distribution, hint", [], [TARGET, DISTRIBUTION, HINT]),
    "free-both": Run(
        "no truth",
        "plummet-s and sgbm-padded: target",
        [],
        [{"name": "target"}],
        ["plummet-s-4px", "sgbm-padded"],
        {"spread": 2.0},
    ),
    "full": Run("plummet-s", "no teacher", TRUTH),
    "full-all": Run("plummet-s", "target, distribution, hint", TRUTH, [TARGET, DISTRIBUTION, HINT], "plummet-m-4px"),
    "large": Run("large", "no teacher", TRUTH),
    "large-all": Run("large", "target, distribution, hint", TRUTH, [TARGET, DISTRIBUTION, HINT]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FORMAT:PATH", help="real pairs to evaluate on at the end")
    parser.add_argument("--only", nargs="+", choices=list(RUNS_BY_NAME), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--draw", action="store_true", help="only the picture and the tables, from the CSV")
    options = parser.parse_args()
    if not options.draw:
        for name in options.only or RUNS_BY_NAME:
            for seed in options.seeds:
                measure(name, seed, options.data)
        write_csv()
    draw()


def measure(name: str, seed: int, data: str | None) -> None:
    """Trains and evaluates, unless that has been done."""
    import torch

    import leadline
    from leadline.machine import describe_machine
    from leadline.training.recipe import check_recipe

    torch.set_num_threads(1)
    folder = RUNS / f"{name}-{seed}"
    kept = folder / "measured.json"
    if kept.is_file():
        return
    path = leadline.train(check_recipe(RUNS_BY_NAME[name].recipe(f"{name}-{seed}", seed)), folder)
    real: dict[str, Any] = {"real_epe_px": None, "real_d1_percent": None}
    if data is not None and RUNS_BY_NAME[name].group in LARGE:  # others have less range than real pairs
        predictor = leadline.load(path)
        rows = [errors(predictor, sample) for sample in leadline.open_data(data)]
        real = {key: round(fmean(row[key] for row in rows), 4) for key in real}
    content = {"curve": curve(folder / "log.txt"), **real, "machine": describe_machine()}
    write_whole(kept, json.dumps(content, indent=1).encode())


def errors(predictor: Any, sample: Any) -> dict[str, float]:
    from leadline.evaluation.metrics import StereoSums

    metrics = StereoSums.of(predictor.predict(*sample.images), sample.disparity, sample.valid).metrics()
    return {"real_epe_px": metrics["epe"] or 0.0, "real_d1_percent": metrics["d1"] or 0.0}


def curve(log: Path) -> list[dict[str, float]]:
    """The validations of a run."""
    pattern = r"step (\d+)  averaged weights on .*?:  epe ([\d.]+)  bad-1 ([\d.]+)  bad-3 [\d.]+  d1 ([\d.]+)"
    found = re.findall(pattern, log.read_text(encoding="utf-8"))
    steps = {int(step): (float(epe), float(bad), float(d1)) for step, epe, bad, d1 in found}
    return [
        {"step": step, "epe_px": epe, "bad_1_percent": bad, "d1_percent": d1}
        for step, (epe, bad, d1) in sorted(steps.items())
    ]


def write_csv() -> None:
    """What was measured here, and what the table has besides."""
    rows = []
    for name, run in RUNS_BY_NAME.items():
        for kept in sorted(RUNS.glob(f"{name}-[0-9]*/measured.json")):
            seed = kept.parent.name.removeprefix(f"{name}-")
            if not seed.isdigit():
                continue
            content = json.loads(kept.read_text())
            for point in content["curve"]:
                last = point["step"] == STEPS
                real = {key: content[key] if last else "" for key in ("real_epe_px", "real_d1_percent")}
                labels = {"group": run.group, "imitated": run.label, "seed": int(seed)}
                rows.append({**labels, **point, **real, **content["machine"]})
    made = {(row["group"], row["imitated"], str(row["seed"])) for row in rows}
    known = [row for values in read_csv().values() for row in values]
    rows = [row for row in known if (row["group"], row["imitated"], row["seed"]) not in made] + rows
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(CSV, text.getvalue().encode())


def read_csv() -> dict[tuple[str, str], list[dict[str, str]]]:
    """The rows by group and label."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    if not CSV.is_file():
        return found
    with CSV.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["group"], row["imitated"]), []).append(row)
    return found


TITLES = {
    "large": "half-width plummet-s, crops of 128×256",
    "truth": "half-width plummet-s, crops of 64×128",
    "no truth": "the same, truth not looked at",
    "plummet-s": "plummet-s, crops of 128×256",
}


def draw() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = read_csv()
    groups = [group for group in TITLES if any(key[0] == group for key in rows)]
    figure, axes = pyplot.subplots(1, len(groups), figsize=(5 * len(groups), 4.6), squeeze=False, layout="constrained")
    for axis, group in zip(axes[0], groups, strict=True):
        for (_, label), values in ((key, value) for key, value in rows.items() if key[0] == group):
            steps = sorted({int(row["step"]) for row in values})
            epe = [fmean(float(row["epe_px"]) for row in values if int(row["step"]) == step) for step in steps]
            plain = label.startswith("no teacher")
            axis.plot(steps, epe, label=label, color="black" if plain else None, linewidth=2.5 if plain else 1.5)
        axis.set(title=TITLES[group], xlabel="step", ylabel="EPE on 16 held-out procedural pairs, px", yscale="log")
        axis.yaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
        axis.yaxis.set_minor_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.grid(alpha=0.3, which="both")
        axis.legend(frameon=False, fontsize=8)
    data = io.BytesIO()
    figure.savefig(data, dpi=110)
    write_whole(PICTURE, data.getvalue())
    if PAGE.is_file():
        fill_tables(rows)


def fill_tables(rows: dict[tuple[str, str], list[dict[str, str]]]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for group in TITLES:
        begin, end = f"<!-- table {group}: written by benchmarks/distillation.py -->\n", "<!-- end of table -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            text = before + begin + "\n".join(table(rows, group)) + "\n" + rest[rest.index(end) :]
    write_whole(PAGE, text.encode())


def table(rows: dict[tuple[str, str], list[dict[str, str]]], group: str) -> Iterable[str]:
    """A line per run of a group, its last step; the real pairs where they were evaluated on."""
    ends = {
        label: [row for row in values if int(row["step"]) == STEPS]
        for (of, label), values in rows.items()
        if of == group
    }
    ends = {label: last for label, last in ends.items() if last}
    if not ends:
        yield "Not measured yet: the command above does."
        return
    real = any(row["real_epe_px"] for last in ends.values() for row in last)
    heads = ["imitated", "EPE px", "against none", "D1 %", *(["real pairs: EPE px", "D1 %"] if real else []), "seeds"]
    yield "| " + " | ".join(heads) + " |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    base = next((mean(last, "epe_px") for label, last in ends.items() if label.startswith("no teacher")), None)
    for label, last in ends.items():
        epe = mean(last, "epe_px")
        compared = base is not None and not label.startswith("no teacher")
        cells = [label, f"{epe:.2f}", f"{100 * (epe / base - 1):+.1f} %" if compared else ""]
        cells.append(f"{mean(last, 'd1_percent'):.1f}")
        if real:
            cells += [f"{mean(last, 'real_epe_px'):.2f}", f"{mean(last, 'real_d1_percent'):.1f}"]
        yield "| " + " | ".join([*cells, str(len(last))]) + " |"


def mean(rows: list[dict[str, str]], column: str) -> float:
    values = [float(row[column]) for row in rows if row[column]]
    return fmean(values) if values else float("nan")


if __name__ == "__main__":
    main()
