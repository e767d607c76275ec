"""Pictures of docs/compression/pruning.md."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from leadline.files import write_whole

FILTERS, INPUTS, SIDE = 4, 3, 3
COLOURS = {"weight": "C0", "vector": "C1", "kernel": "C2", "filter": "C3"}


def draw_granularities(path: Path) -> Path:
    """A layer of 4 filters over 3 input channels, a third of it pruned in each way."""
    kinds = ("weight", "2:4", "vector (row)", "kernel", "filter")
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    for panel, kind in zip(figure.subplots(1, len(kinds)), kinds, strict=True):
        keep = _kept(kind)
        for o in range(FILTERS):
            for i in range(INPUTS if kind != "2:4" else 4):
                for y in range(SIDE):
                    for x in range(SIDE):
                        place = (i * (SIDE + 0.7) + x, o * (SIDE + 0.7) + y)
                        colour = "tab:blue" if keep[o, i, y, x] else "white"
                        panel.add_patch(_square(place, colour, gone=kind == "filter" and not keep[o].any()))
        panel.set(xlim=(-0.5, 4 * (SIDE + 0.7)), ylim=(FILTERS * (SIDE + 0.7), -0.5), aspect="equal", title=kind)
        panel.axis("off")
    figure.suptitle("One layer: a row per filter, a column per input channel. White: zero. Dotted: not there any more")
    return _save(figure, path)


def _square(place: tuple[float, float], colour: str, gone: bool):
    from matplotlib.patches import Rectangle

    style = {"edgecolor": "lightgrey", "linestyle": ":"} if gone else {"edgecolor": "grey"}
    return Rectangle(place, 0.92, 0.92, facecolor=colour, linewidth=0.7, **style)


def _kept(kind: str) -> np.ndarray:
    keep = np.ones((FILTERS, 4, SIDE, SIDE), bool)
    rng = np.random.default_rng(1)
    if kind == "weight":
        keep = rng.random(keep.shape) > 0.4
    elif kind == "2:4":
        for o, y, x in np.ndindex(FILTERS, SIDE, SIDE):
            keep[o, rng.choice(4, 2, replace=False), y, x] = False
    elif kind == "vector (row)":
        keep &= rng.random((FILTERS, 4, SIDE, 1)) > 0.4
    elif kind == "kernel":
        keep &= rng.random((FILTERS, 4, 1, 1)) > 0.4
    else:
        keep[1] = False
    return keep


def draw_amounts(rows: list[dict[str, str]], path: Path) -> Path:
    """Error against the file's size, and against the multiply-accumulates where those change."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    dense = next(row for row in rows if row["granularity"] == "none")
    column = "epe_px" if all(row["epe_px"] for row in rows) else "scenes_epe_px"
    curves = defaultdict(list)
    for row in rows:
        if row["granularity"] != "none" and not row["pattern"]:
            curves[row["granularity"]].append(row)
    for granularity, members in curves.items():
        members = sorted([dense, *members], key=lambda row: float(row["amount"]))
        error = [float(row[column]) for row in members]
        colour = COLOURS[granularity]
        panels[0].plot([int(row["file_bytes"]) / 1e6 for row in members], error, "o-", color=colour, label=granularity)
        if granularity == "filter":
            panels[1].plot([float(row["macs"]) / float(dense["macs"]) for row in members], error, "o-", color=colour)
            for row, value in zip(members, error, strict=True):
                panels[1].annotate(f"{float(row['amount']):.0%}", (float(row["macs"]) / float(dense["macs"]), value))
    base = float(dense[column])
    for panel, label in zip(panels, ("file [MB]", "MACs, as a share"), strict=True):
        panel.set(
            xlabel=label, ylabel="EPE [px]" if column == "epe_px" else "EPE of rendered scenes [px]", yscale="log"
        )
        panel.axhline(1.05 * base, color="grey", linestyle=":", linewidth=1)
        panel.grid(alpha=0.3, which="both")
    panels[0].legend()
    figure.suptitle("Pruned without training (dotted: 5 % above the dense network)")
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format="png")
    return write_whole(path, content.getvalue())
