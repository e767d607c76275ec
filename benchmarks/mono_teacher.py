"""Monocular depth learned from a stereo network on pairs without truth, beside the same network taught by the truth.

    python benchmarks/mono_teacher.py [--pairs 200] [--steps 1500] [--runs runs/mono-teacher]

Rectified pairs of rendered rooms are written as a user's recording would lie on disk: two views and a calibration, no
depth. plummet-s predicts them once (`teacher:` in the recipe), and a small fastdepth learns from what passes its
left-right check. The other student sees the same images with their exact depth. Both are measured on rooms that nothing
has seen, with the teacher itself, which sees both views, and one depth everywhere. Writes
benchmarks/results/mono_teacher.csv and the table between the markers of docs/mono.md.
"""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from mono_table import Constant

import leadline
from leadline.data import open_data
from leadline.data.formats.arrays import write_array
from leadline.data.formats.images import write_image
from leadline.data.procedural import RoomConfig, render_rooms
from leadline.evaluation import DepthProtocol
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line
from leadline.models import Task

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "mono_teacher.csv"
PAGE = ROOT / "docs" / "mono.md"
BEGIN, END = "<!-- teacher table: written by benchmarks/mono_teacher.py -->", "<!-- end of teacher table -->"
SIZE, BASELINE = (192, 256), 0.1  # px; m
PAIRS_SEED, TEST_SEED, TESTED = 40_000_003, 50_000_017, 60
KEYS = ("abs_rel", "rmse", "delta_1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--runs", type=Path, default=Path("runs/mono-teacher"))
    options = parser.parse_args()
    pairs, truth, test = (options.runs / name for name in ("pairs", "truth", "test"))
    render(pairs, truth, PAIRS_SEED, options.pairs)
    render(options.runs / "test-pairs", test, TEST_SEED, TESTED)
    taught = {"source": f"folder:{pairs}", "teacher": "plummet-s"}
    students = {
        "taught by plummet-s": train(taught, options.runs / "by-teacher", options.steps),
        "taught by the truth": train({"source": f"folder:{truth}"}, options.runs / "by-truth", options.steps),
    }
    predictors = {"constant": Constant(), **{name: leadline.load(path, "cpu") for name, path in students.items()}}
    samples = list(open_data(f"folder:{test}", Task.MONO))
    rows = []
    for align in ("none", "median"):
        results = leadline.evaluate(predictors, samples, protocol=DepthProtocol(align=align, cap=10.0))
        for name in results.models:
            mean = results.over_samples(name)
            rows.append({"model": name, "align": align, **{key: round(mean[key], 4) for key in KEYS}})
    write(rows, options, labelled(options.runs / "by-teacher" / "teacher" / "0", truth))


def render(pairs: Path, truth: Path, seed: int, count: int) -> None:
    """Rooms as pairs without depth, and the same left views with it."""
    if (truth / f"{count - 1:04d}").is_dir():
        return
    rooms = render_rooms(seed, range(count), SIZE, RoomConfig(frames=1, stereo=BASELINE))
    for i in range(count):
        name = f"{i:04d}"
        left, right = ((view.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8) for view in rooms.images[i])
        fx, fy, cx, cy = (float(value) for value in rooms.intrinsics[i].flatten()[:4])
        write_image(pairs / name / "left.png", left)
        write_image(pairs / name / "right.png", right)
        calib = {"focal": fx, "baseline": BASELINE, "cx": cx, "cy": cy}
        write_whole(pairs / name / "meta.json", json.dumps({"calib": calib}).encode())
        write_image(truth / name / "image.png", left)
        write_array(truth / name / "depth.npz", depth=rooms.depth[i, 0].numpy().astype(np.float32))
        write_whole(
            truth / name / "meta.json", json.dumps({"calib": {"fx": fx, "fy": fy, "cx": cx, "cy": cy}}).encode()
        )


def train(source: dict[str, Any], folder: Path, steps: int) -> Path:
    """A quarter of fastdepth's channels, on halved images."""
    return leadline.train(
        {
            "name": "student",
            "network": {"name": "fastdepth", "width": 0.25, "decoder": 8},
            "data": [source],
            "crop": [96, 128],
            "batch": 8,
            "steps": steps,
            "seed": 1,
            "augment": {"brightness": 0.1, "contrast": 0.2, "saturation": 0.3, "flip": 0.5, "scale": [0.5, 0.6]},
            "losses": [
                {"name": "silog", "weight": 0.3},
                {"name": "log_l1"},
                {"name": "depth_gradient", "weight": 0.25},
            ],
            "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 1e-2},
            "schedule": {"name": "one_cycle", "rise": 0.1},
            "ema": 0.98,
            "threads": 1,
            "workers": 0,
            "log": {"every": 100, "images_every": 0},
        },
        folder,
    )


def labelled(taught: Path, truth: Path) -> dict[str, float]:
    """How much of the images the teacher labelled, and how far its labels are from the truth."""
    shares, errors = [], []
    by_truth = {sample.name: sample for sample in open_data(f"folder:{truth}", Task.MONO)}
    for sample in open_data(f"folder:{taught}", Task.MONO):
        exact = by_truth[sample.name]
        known = sample.valid if exact.valid is None else sample.valid & exact.valid
        shares.append(known.mean())
        errors.append((np.abs(sample.depth - exact.depth) / exact.depth)[known].mean())
    return {"share": float(np.mean(shares)), "abs_rel": float(np.mean(errors))}


def write(rows: list[dict[str, Any]], options: argparse.Namespace, labels: dict[str, float]) -> None:
    machine = describe_machine()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*rows[0], "pairs", "steps", *machine], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"pairs": options.pairs, "steps": options.steps} | machine for row in rows)
    write_whole(CSV, text.getvalue().encode())
    lines = [
        f"{options.pairs} pairs, {options.steps} steps; the teacher labelled {labels['share']:.0%} of the pixels,",
        f"with an AbsRel of {labels['abs_rel']:.3f}. On {TESTED} other rooms:",
        "",
        "| model | alignment | AbsRel | RMSE, m | δ < 1.25, % |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['model']} | {r['align']} | {r['abs_rel']:.3f} | {r['rmse']:.2f} | {r['delta_1']:.1f} |" for r in rows
    ]
    table = "\n".join([*lines, "", f"Measured on: {one_line(machine)}."])
    print(table)
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    write_whole(PAGE, f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}".encode())


if __name__ == "__main__":
    main()
