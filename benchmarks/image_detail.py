"""How photographs differ from rendered scenes in their finest detail, and where networks feel it.

    python benchmarks/image_detail.py --data folder:/data/samples [--models plummet-s sgbm-padded ...]

Two tables, means of the pairs: the strength of an image's detail by octave (standard deviation of grey levels 0 .. 255
between Gaussian blurs) and how well the left view's agrees with the right view's there, brought over by the true
disparity; and a model's median error by the contrast of the surroundings. `augment.sharpen` of recipes was made for
what these showed. Writes benchmarks/results/image_detail.csv and image_detail_errors.csv.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from _slim import Table

import leadline
from leadline.colors import to_grey8

RESULTS = Path(__file__).parent / "results"
RENDERED = "procedural:24,seed=777000,size=320x640"
BLURS = (0.0, 0.6, 1.2, 2.4, 4.8, 9.6)  # px, standard deviations; an octave lies between two
CONTRASTS = (0, 2, 4, 8, 16, 32, 256)  # grey levels, standard deviation of the surroundings
SURROUNDINGS = 4.0  # px, standard deviation of their window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH")
    parser.add_argument("--models", nargs="*", default=["plummet-s", "sgbm-padded"])
    options = parser.parse_args()
    octaves = Table(RESULTS / "image_detail.csv", keys=("pairs", "octave"))
    errors = Table(RESULTS / "image_detail_errors.csv", keys=("model", "pairs", "contrast"))
    for pairs, data in (("real", options.data), ("rendered", RENDERED)):
        samples = [s for s in leadline.open_data(data, leadline.Task.STEREO) if s.disparity is not None]
        if not octaves.find(pairs=pairs, octave=0):
            for octave, found in enumerate(zip(*(detail(sample) for sample in samples), strict=True)):
                strength, agreement = (round(fmean(values), 3) for values in zip(*found, strict=True))
                octaves.add(pairs=pairs, octave=octave, grey_levels=strength, agreement=agreement)
        for model in options.models:
            if errors.find(model=model, pairs=pairs, contrast=CONTRASTS[0]):
                continue
            predictor = leadline.load(model)
            rows = [by_contrast(sample, predictor) for sample in samples]
            for contrast, found in zip(CONTRASTS[:-1], zip(*rows, strict=True), strict=True):
                known = [error for error in found if error is not None]
                errors.add(model=model, pairs=pairs, contrast=contrast, median_px=round(fmean(known), 3))


def detail(sample: leadline.Sample) -> list[tuple[float, float]]:
    """(strength, agreement of the views) of each octave, finest first, away from depth edges and occlusions."""
    left, right = (octaves_of(to_grey8(image).astype(np.float32)) for image in sample.images[:2])
    valid = sample.valid & (sample.disparity > 0)
    disparity = np.where(valid, sample.disparity, 0).astype(np.float32)
    rows, columns = (grid.astype(np.float32) for grid in np.mgrid[: disparity.shape[0], : disparity.shape[1]])
    around = np.ones((9, 9), np.uint8)
    nearest = cv2.dilate(disparity, around)
    farthest = -cv2.dilate(np.where(valid, -disparity, -np.float32(1e3)), around)
    seen = valid & (columns - disparity > 1)
    smooth = seen & (nearest - farthest < 2)
    where = smooth if smooth.mean() > 0.02 else seen  # the truth of lidar is too sparse to tell
    found = []
    for here, there in zip(left, right, strict=True):
        brought = cv2.remap(there, columns - disparity, rows, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        found.append((float(here[where].std()), float(np.corrcoef(here[where], brought[where])[0, 1])))
    return found


def octaves_of(grey: np.ndarray) -> list[np.ndarray]:
    blurred = [grey if sigma == 0 else cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in BLURS]
    return [fine - coarse for fine, coarse in pairwise(blurred)]


def by_contrast(sample: leadline.Sample, predictor: leadline.Predictor) -> list[float | None]:
    """Median error, px, by the contrast of the surroundings; None where too few pixels have it."""
    grey = to_grey8(sample.images[0]).astype(np.float32)
    mean = cv2.GaussianBlur(grey, (0, 0), SURROUNDINGS)
    contrast = np.sqrt(np.maximum(cv2.GaussianBlur(grey * grey, (0, 0), SURROUNDINGS) - mean * mean, 0))
    error = np.abs(predictor.predict(*sample.images[:2]) - sample.disparity)
    found: list[float | None] = []
    for low, high in pairwise(CONTRASTS):
        here = error[sample.valid & (contrast >= low) & (contrast < high)]
        found.append(float(np.median(here)) if here.size > 200 else None)
    return found


if __name__ == "__main__":
    main()
