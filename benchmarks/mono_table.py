"""What a monocular model is worth beside predictions that look at nothing: on rooms of its own seed, on real images.

    python benchmarks/mono_table.py MODEL... [--data FORMAT:PATH ...] [--resize 96x128] [--rooms 200]

Baselines: one depth for every pixel (1 m; after alignment, the image's own median or best constant), and a ramp along
the rows, far above and near below, as floors are. Both see no pixel of the image. Every predictor is measured as it
is, with its scale aligned by the median, and with scale and shift aligned. Writes benchmarks/results/mono.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np

from leadline.data import open_data
from leadline.evaluation import OVER_SAMPLES, DepthProtocol, evaluate
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line
from leadline.models import Task
from leadline.predict import Predictor, Resized
from leadline.zoo import load

RESULT = Path(__file__).parent / "results" / "mono.csv"
ROOMS_SEED = 20_000_003  # of no recipe
CAP = {"kitti": 80.0}  # m; 10 for all that is indoors
COLUMNS = ("abs_rel", "rmse", "silog", "delta_1", "delta_2")


class Constant(Predictor):
    """One metre everywhere."""

    task, name = Task.MONO, "constant"

    def _predict(self, image: np.ndarray) -> np.ndarray:
        return np.ones(image.shape[:2], np.float32)


class Ramp(Predictor):
    """4 m at the top row, 1 m at the bottom row, even in the inverse depth: a floor seen from above."""

    task, name = Task.MONO, "vertical ramp"

    def _predict(self, image: np.ndarray) -> np.ndarray:
        column = 1 / np.linspace(1 / 4, 1.0, image.shape[0], dtype=np.float32)
        return np.repeat(column[:, None], image.shape[1], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--data", action="append", default=[], metavar="FORMAT:PATH")
    parser.add_argument("--resize", metavar="HxW", help="the size of the models' images; default: as they are")
    parser.add_argument("--rooms", type=int, default=200)
    parser.add_argument("--size", default="120x160", help="of the rooms")
    options = parser.parse_args()
    predictors: dict[str, Predictor] = {"constant": Constant(), "vertical ramp": Ramp()}
    for model in options.models:
        predictor = load(model)
        if options.resize is not None:
            height, width = options.resize.split("x")
            predictor = Resized(predictor, (int(height), int(width)))
        predictors[Path(model).stem] = predictor
    rows = []
    for spec in (f"procedural:{options.rooms},seed={ROOMS_SEED},size={options.size}", *options.data):
        cap = next((value for word, value in CAP.items() if word in spec), 10.0)
        samples = list(open_data(spec, Task.MONO))
        for align in ("none", "median", "affine"):
            results = evaluate(predictors, samples, protocol=DepthProtocol(align=align, cap=cap))
            rows += [_row(spec, align, cap, row) for row in results.table if row["aggregate"] == OVER_SAMPLES]
    _write(rows)


def _row(spec: str, align: str, cap: float, row: dict) -> dict:
    kind, _, rest = spec.partition(":")
    name = f"procedural rooms, {rest}" if kind == "procedural" else f"{kind}:{Path(rest.rstrip('/')).name}"
    metrics = {key: "" if row[key] is None else f"{row[key]:.4f}" for key in COLUMNS}
    return {
        "data": name,
        "samples": row["samples"],
        "model": row["model"],
        "align": align,
        "cap_m": f"{cap:g}",
        **metrics,
    }


def _write(rows: list[dict]) -> None:
    text = io.StringIO(newline="")
    text.write(f"# {one_line(describe_machine())}\n")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(RESULT, text.getvalue().encode())
    print(text.getvalue())


if __name__ == "__main__":
    main()
