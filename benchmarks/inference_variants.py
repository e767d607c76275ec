"""What can be done with a trained stereo network at prediction time: benchmarks/results/inference_variants.csv.

    python benchmarks/inference_variants.py --data folder:/data/samples [--models plummet-s ...]

Variants: as it is; the pair enlarged before and the disparity shrunk after, so that thin things are as many pixels wide
as the network needs, at the price of range and time; and pixels that fail the left-right check filled with the
background beside them, as `leadline predict --occluded fill` does. D1 and EPE, all valid pixels, per pair and mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from _slim import Table

import leadline
from leadline.models.network import Task
from leadline.predict import Predictor
from leadline.predict.stereo import predict_checked

CSV = Path(__file__).parent / "results" / "inference_variants.csv"
SCALES = (1.5, 2.0)
THRESHOLDS = (1.0, 3.0)  # px, of the left-right check


class Enlarged(Predictor):
    """Another predictor on the pair enlarged by a factor."""

    task = Task.STEREO

    def __init__(self, inner: Predictor, factor: float):
        self.inner, self.factor, self.name = inner, factor, f"{inner.name} at {factor} x"

    def _predict(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        height, width = left.shape[:2]
        size = round(width * self.factor), round(height * self.factor)
        large = self.inner.predict(*(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in (left, right)))
        return cv2.resize(large, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(width / size[0])


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
    table = Table(CSV, keys=("model", "variant", "sample"))
    for model in options.models:
        inner = leadline.load(model)
        variants = {"as it is": inner}
        variants |= {f"at {factor} x": Enlarged(inner, factor) for factor in SCALES}
        variants |= {f"filled beyond {threshold:g} px": Filled(inner, threshold) for threshold in THRESHOLDS}
        for variant, predictor in variants.items():
            if table.find(model=model, variant=variant, sample="mean"):
                continue
            rows = leadline.evaluate({"it": predictor}, options.data).rows
            means = {key: fmean(row.metrics[key] or 0.0 for row in rows) for key in ("d1", "epe")}
            for sample, found in [*((row.sample, row.metrics) for row in rows), ("mean", means)]:
                table.add(
                    model=model,
                    variant=variant,
                    sample=sample,
                    d1_percent=round(found["d1"] or 0.0, 3),
                    epe_px=round(found["epe"] or 0.0, 3),
                )


if __name__ == "__main__":
    main()
