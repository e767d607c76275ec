"""What can be done with a trained stereo network at prediction time: benchmarks/results/inference_variants.csv.

    python benchmarks/inference_variants.py --data folder:/data/samples [--models plummet-s ...]

Variants: as it is; the pair enlarged before and the disparity shrunk after, so that thin things are as many pixels wide
as the network needs, at the price of range and time; pixels that fail the left-right check filled with the background
beside them, as `leadline predict --occluded fill` does; and `NAME:careful`, which is both. D1, EPE and bad-1, all valid
pixels, per pair and mean, on the pairs given and on rendered ones, by which `careful` was chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

import numpy as np
from _slim import Table

import leadline
from leadline.models.network import Task
from leadline.predict import Careful, Predictor, Rescaled
from leadline.predict.stereo import predict_checked

CSV = Path(__file__).parent / "results" / "inference_variants.csv"
SCALES = (1.5, 2.0)
RENDERED = "procedural:16,seed=555000,size=320x640"
THRESHOLDS = (1.0, 3.0)  # px, of the left-right check


class Filled(Predictor):
    """Another predictor, twice, with what fails the left-right check filled from the background."""

    task = Task.STEREO

    def __init__(self, inner: Predictor, threshold: float):
        self.inner, self.threshold, self.name = inner, threshold, f"{inner.name} filled beyond {threshold} px"

    def _predict(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return predict_checked(self.inner, left, right, occluded="fill", threshold=self.threshold).disparity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH")
    parser.add_argument("--models", nargs="+", default=["plummet-s"])
    options = parser.parse_args()
    table = Table(CSV, keys=("model", "variant", "pairs", "sample"))
    for model in options.models:
        inner = leadline.load(model)
        variants = {"as it is": inner}
        variants |= {f"at {factor} x": Rescaled(inner, factor) for factor in SCALES}
        variants |= {f"filled beyond {threshold:g} px": Filled(inner, threshold) for threshold in THRESHOLDS}
        variants |= {"careful": Careful(inner)}
        for variant, predictor in variants.items():
            for pairs, data in (("rendered", RENDERED), ("real", options.data)):
                if not table.find(model=model, variant=variant, pairs=pairs, sample="mean"):
                    for sample, metrics in measure(predictor, data).items():
                        table.add(model=model, variant=variant, pairs=pairs, sample=sample, **metrics)


def measure(predictor: Predictor, data: str) -> dict[str, dict[str, float]]:
    """D1, EPE and bad-1 of each sample, and their mean."""
    columns = {"d1_percent": "d1", "epe_px": "epe", "bad_1_percent": "bad_1"}
    rows = leadline.evaluate({"it": predictor}, data).rows
    found = {row.sample: {column: row.metrics[key] or 0.0 for column, key in columns.items()} for row in rows}
    mean = {column: fmean(metrics[column] for metrics in found.values()) for column in columns}
    return {
        sample: {column: round(value, 3) for column, value in metrics.items()}
        for sample, metrics in {**found, "mean": mean}.items()
    }


if __name__ == "__main__":
    main()
