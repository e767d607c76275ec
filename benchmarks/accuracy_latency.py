"""Accuracy against latency: stereo models side by side, as a table (CSV) and a picture.

    python benchmarks/accuracy_latency.py plummet-s sgbm sgbm-padded bm --data folder:/data/samples

Accuracy: `leadline.evaluate`, mean of the samples' EPE and D1 over all valid pixels. Latency: `predict` on one pair of
uint8 images of --size, padding and normalisation included; the models take turns (A B C A B C …), so that whatever
else the machine does disturbs all of them alike; the median of the rounds and the quartiles. Multiply-accumulates:
convolutions and matrix products, as torch.utils.flop_counter counts them, halved.

A name that has no weights yet may be given with --untrained: it is timed and counted, and has no accuracy.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from _machine import describe_machine, one_line, pin_threads
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

import leadline
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.predict import NetworkPredictor, Predictor

HERE = Path(__file__).parent
CSV = HERE / "results" / "accuracy_latency.csv"
PICTURE = HERE.parent / "docs" / "images" / "accuracy_latency.png"


def main() -> None:
    options = parse_arguments()
    pin_threads(options.threads)
    predictors = {name: leadline.load(name, options.device) for name in options.models}
    for name in options.untrained:
        predictors[f"{name} (untrained)"] = NetworkPredictor(leadline.create(name), options.device)

    machine = describe_machine()
    seconds = time_in_turns(predictors, texture_pair(*options.size), options.warmup, options.rounds)
    accuracy = measure_accuracy({name: predictors[name] for name in options.models}, options.data, options.limit)

    rows = []
    for name, predictor in predictors.items():
        low, middle, high = np.percentile(seconds[name], [25, 50, 75]) * 1000
        rows.append(
            {
                "model": name,
                "parameters": count_parameters(predictor),
                "gmac": count_gmac(predictor, *options.size),
                "median_ms": round(middle, 2),
                "quartile1_ms": round(low, 2),
                "quartile3_ms": round(high, 2),
                "rounds": options.rounds,
                "threads": options.threads,
                "size": "x".join(map(str, options.size)),
                **accuracy.get(name, {}),
                "data": short_name(options.data),
                **machine,
            }
        )
    show(rows, machine)
    write_csv(rows, options.csv)
    print(f"written: {options.csv}")
    if accuracy:
        draw(rows, machine, options.picture)
        print(f"written: {options.picture}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="zoo names, checkpoints, sgbm, sgbm-padded, bm")
    parser.add_argument("--data", help="FORMAT:PATH to measure accuracy on; without it latency alone")
    parser.add_argument("--untrained", nargs="+", default=[], metavar="NAME", help="networks to time without weights")
    parser.add_argument("--size", type=size, default=(384, 1248), metavar="HxW", help="of the timed pair; 384x1248")
    parser.add_argument("--rounds", type=int, default=15, help="timed predictions per model; 15")
    parser.add_argument("--warmup", type=int, default=2, help="predictions per model before them; 2")
    parser.add_argument("--threads", type=int, default=1, help="for torch and OpenCV; 1")
    parser.add_argument("--device", default="cpu", help="for networks; cpu")
    parser.add_argument("--limit", type=int, help="only the first so many samples of the data")
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    if not options.models and not options.untrained:
        parser.error("name at least one model")
    return options


def size(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def texture_pair(height: int, width: int, disparity: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A pair with texture everywhere and one disparity, so that classical matchers have their usual work to do."""
    noise = np.random.default_rng(0).uniform(0, 255, (height, width + disparity, 3)).astype(np.float32)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return np.ascontiguousarray(image[:, :width]), np.ascontiguousarray(image[:, disparity:])


def time_in_turns(
    predictors: dict[str, Predictor], pair: tuple[np.ndarray, np.ndarray], warmup: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each timed prediction, by model. `predict` returns an array, so a GPU has finished by then."""
    seconds = {name: [] for name in predictors}
    for turn in range(warmup + rounds):
        print(f"timing, round {turn + 1} of {warmup + rounds}", file=sys.stderr)
        for name, predictor in predictors.items():
            start = time.perf_counter()
            predictor.predict(*pair)
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def measure_accuracy(
    predictors: dict[str, Predictor], data: str | None, limit: int | None
) -> dict[str, dict[str, float | int | None]]:
    """Mean over the samples of EPE and D1, by model."""
    if data is None or not predictors:
        return {}
    results = leadline.evaluate(predictors, data, limit=limit)
    for problem in results.problems:
        print(f"not evaluated: {problem}", file=sys.stderr)
    means = {name: results.over_samples(name) for name in predictors}
    return {
        name: {"epe_px": mean["epe"], "d1_percent": mean["d1"], "samples": len(results.rows_of(name))}
        for name, mean in means.items()
    }


def short_name(data: str | None) -> str | None:
    """The format and the folder's name, without the way to it on this machine."""
    if data is None:
        return None
    kind, _, path = data.partition(":")
    return f"{kind}:{Path(path).name}"


def count_parameters(predictor: Predictor) -> int | None:
    if not isinstance(predictor, NetworkPredictor):
        return None
    return sum(parameter.numel() for parameter in predictor.network.parameters())


def count_gmac(predictor: Predictor, height: int, width: int) -> float | None:
    if not isinstance(predictor, NetworkPredictor):
        return None
    image = torch.zeros(1, 3, *predictor.network.padded_size(height, width), device=predictor.device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        predictor.network(image, image)
    return round(counter.get_total_flops() / 2 / 1e9, 3)


def show(rows: list[dict[str, Any]], machine: dict[str, str | int]) -> None:
    table = Table("model")
    for heading in ("parameters", "GMAC", "ms (quartiles)", "EPE [px]", "D1 [%]"):
        table.add_column(heading.replace("[", "\\["), justify="right")
    for row in rows:
        table.add_row(
            row["model"],
            cell(row["parameters"], ",d"),
            cell(row["gmac"], ".2f"),
            f"{row['median_ms']:.0f} ({row['quartile1_ms']:.0f}–{row['quartile3_ms']:.0f})",
            cell(row.get("epe_px"), ".3f"),
            cell(row.get("d1_percent"), ".2f"),
        )
    Console().print(table)
    print(one_line(machine))


def cell(value: float | int | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def draw(rows: list[dict[str, Any]], machine: dict[str, str | int], path: Path) -> None:
    """Two panels, EPE and D1 against the latency; lower left is better. Models without accuracy are left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import ScalarFormatter

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for panel, key, label in zip(panels, ("epe_px", "d1_percent"), ("EPE [px]", "D1 [%]"), strict=True):
        for row in rows:
            if row.get(key) is None:
                continue
            middle = row["median_ms"]
            spread = [[middle - row["quartile1_ms"]], [row["quartile3_ms"] - middle]]
            panel.errorbar(middle, row[key], xerr=spread, fmt="o", capsize=3)
            panel.annotate(row["model"], (middle, row[key]), xytext=(6, 5), textcoords="offset points")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(ScalarFormatter())
        panel.set(xlabel=f"latency [ms], {rows[0]['size']}, {rows[0]['threads']} thread(s)", ylabel=label)
        panel.margins(0.2)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3, which="both")
    figure.suptitle("Accuracy (mean of samples) against latency (median, quartiles); lower left is better")
    figure.supxlabel(one_line(machine), fontsize=7)
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="png")
    plt.close(figure)
    write_whole(path, image.getvalue())


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
