"""Where a stereo model's errors lie: beyond the right view, hidden in it, near depth edges, elsewhere.

    python benchmarks/error_regions.py --data folder:/data/samples [--models plummet-s ...]

Which pixels the right view does not show is read from the true disparity alone, so that pairs without an occlusion map
count as well; where the truth is sparse (lidar) fewer hidden pixels are found than there are. Means of the pairs; the
regions' D1 and EPE are shares of the image's, which they add up to. Writes benchmarks/results/error_regions.csv and the
table of docs/zoo.md.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from _slim import Table
from jaxtyping import Bool, Float

import leadline
from leadline.evaluation.pixel_errors import D1_PIXELS, D1_RELATIVE
from leadline.evaluation.regions import near_edges
from leadline.files import write_whole

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "error_regions.csv"
PAGE = ROOT / "docs" / "zoo.md"
BEGIN, END = "<!-- table regions: written by benchmarks/error_regions.py -->\n", "<!-- end of table -->"
RENDERED = "procedural:16,seed=555000,size=320x640"
REGIONS = {
    "beyond": "beyond the right view's border",
    "hidden": "hidden in the right view",
    "edges": "near depth edges, seen by both",
    "elsewhere": "elsewhere",
}
NEARER = 1.0  # px by which what hides a pixel is nearer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH")
    parser.add_argument("--models", nargs="*", default=["plummet-s", "plummet-r", "plummet-m", "sgbm-padded"])
    options = parser.parse_args()
    table = Table(CSV, keys=("model", "pairs", "region"))
    for pairs, data in (("real", options.data), ("rendered", RENDERED)):
        samples = [s for s in leadline.open_data(data, leadline.Task.STEREO) if s.disparity is not None]
        for model in options.models:
            if table.find(model=model, pairs=pairs, region="elsewhere"):
                continue
            predictor = leadline.load(model)
            means = np.mean([measure(sample, predictor) for sample in samples], axis=0)
            for region, (pixels, d1, epe) in zip(REGIONS, means.tolist(), strict=True):
                table.add(
                    model=model, pairs=pairs, region=region,
                    pixels_percent=round(pixels, 3), d1_percent=round(d1, 3), epe_px=round(epe, 4),
                )  # fmt: skip
    draw(table.rows)


def measure(sample: leadline.Sample, predictor: leadline.Predictor) -> Float[np.ndarray, "regions 3"]:
    """Of each region the share of the valid pixels (%), and its part of the image's D1 (%) and EPE (px)."""
    error = np.abs(predictor.predict(*sample.images[:2]) - sample.disparity)
    bad = (error > D1_PIXELS) & (error > D1_RELATIVE * sample.disparity)
    parts = regions(sample.disparity, sample.valid).values()
    count = sample.valid.sum()
    return np.array([[100 * p.sum(), 100 * (bad & p).sum(), error[p].sum()] for p in parts]) / count


def regions(disparity: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]) -> dict[str, Bool[np.ndarray, "h w"]]:
    """The valid pixels, by region: each lies in one."""
    height, width = disparity.shape
    column = np.arange(width) - np.where(valid, disparity, 0)
    beyond = valid & (column < -0.5)
    rows, columns = np.nonzero(valid & ~beyond)
    there = np.clip(np.rint(column[rows, columns]).astype(int), 0, width - 1)
    nearest = np.zeros((height, width))  # disparity of what each column of the right view shows
    np.maximum.at(nearest, (rows, there), disparity[rows, columns])
    hidden = np.zeros_like(valid)
    hidden[rows, columns] = nearest[rows, there] > disparity[rows, columns] + NEARER
    edges = near_edges(disparity, valid) & valid & ~beyond & ~hidden
    return {"beyond": beyond, "hidden": hidden, "edges": edges, "elsewhere": valid & ~beyond & ~hidden & ~edges}


def draw(rows: list[dict[str, Any]]) -> None:
    lines = [
        "| pairs | model | " + " | ".join(REGIONS.values()) + " |",
        "| --- | --- |" + " ---: |" * len(REGIONS),
    ]
    for pairs in ("real", "rendered"):
        measured = [row for row in rows if row["pairs"] == pairs]
        for model in dict.fromkeys(row["model"] for row in measured):
            found = {row["region"]: row for row in measured if row["model"] == model}
            if model == measured[0]["model"]:
                shares = (f"{float(found[region]['pixels_percent']):.1f} %" for region in REGIONS)
                lines.append(f"| {pairs} | of the pixels | " + " | ".join(shares) + " |")
            values = (f"{float(found[r]['d1_percent']):.2f} · {float(found[r]['epe_px']):.3f}" for r in REGIONS)
            lines.append(f"| {pairs} | `{model}` | " + " | ".join(values) + " |")
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    print(write_whole(PAGE, pattern.sub(BEGIN + "\n".join(lines) + "\n" + END, text).encode()))


if __name__ == "__main__":
    main()
