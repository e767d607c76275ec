"""Pictures and tables of docs/optimizers-and-losses.md, from the CSVs of optimizers_and_losses.py alone."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from leadline.files import write_whole
from leadline.machine import one_line

# M. Okabe, K. Ito, "Color Universal Design", 2008: told apart by the colour-blind, too.
BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#777777"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, RED, "black")
ERROR = "mean error on pairs not trained on, px"
Rows = list[dict[str, Any]]


def draw_all(tables: Path, pictures: Path) -> None:
    """Every picture whose table is there."""
    pictures.mkdir(parents=True, exist_ok=True)
    jobs: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
        "optimizers": (draw_optimizers, ("optimizers",)),
        "learning_rates": (draw_rates, ("optimizers",)),
        "schedules": (draw_schedules, ("schedules", "schedule_shapes")),
        "loss_shapes": (draw_shapes, ("loss_shapes",)),
        "losses": (draw_losses, ("losses",)),
        "edges": (draw_edges, ("edges", "edge_row", "edge_scores")),
        "self_supervised": (draw_self_supervised, ("self_supervised",)),
    }
    for name, (draw, needed) in jobs.items():
        files = [tables / f"training_{table}.csv" for table in needed]
        if all(file.is_file() for file in files):
            figure = draw(*(read(file) for file in files))
            figure.savefig(pictures / f"{name}.png", dpi=90, metadata={"Software": None})
            plt.close(figure)


def read(path: Path) -> Rows:
    """The rows of a table, numbers as numbers."""
    with path.open(newline="") as file:
        return [{key: number(value) for key, value in row.items()} for row in csv.DictReader(file)]


def number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def ends(rows: Rows, *keys: str) -> dict[tuple, Rows]:
    """The last row of each run, by `keys`."""
    last: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        last[(*(row[key] for key in keys), row["lr"], row["seed"])] = row
    groups: dict[tuple, Rows] = {}
    for row in last.values():
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def axes_of(count: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    figure, axes = plt.subplots(1, count, figsize=size, layout="constrained", **options)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def dots(axis: Any, y: float, values: list[float], colour: str, marker: str = "o", label: str = "") -> None:
    """One small dot per seed and their mean as a large one."""
    axis.plot(values, [y] * len(values), marker, color=colour, markersize=4, alpha=0.45, linestyle="none")
    axis.plot(mean(values), y, marker, color=colour, markersize=8, label=label or None, linestyle="none")


def chosen(rows: Rows) -> Rows:
    return [row for row in rows if row["chosen"] == 1]


def draw_optimizers(rows: Rows) -> Any:
    """Left: the final errors at the best rate, sorted. Right: how some of them get there."""
    figure, (left, right) = axes_of(2, (11, 5.2), width_ratios=(1.1, 1))
    groups = {key[0]: group for key, group in ends(chosen(rows), "optimizer").items()}
    order = sorted(groups, key=lambda label: mean([row["epe_px"] for row in groups[label]]), reverse=True)
    followed = dict(zip(("sgd", "sgd, momentum 0.9", "adagrad", "adamw", "muon", "lbfgs"), PALETTE, strict=False))
    for y, label in enumerate(order):
        dots(left, y, [row["epe_px"] for row in groups[label]], followed.get(label, GREY))
    left.set_yticks(range(len(order)), [f"{label}  ({groups[label][0]['lr']:g})" for label in order])
    left.set(xlabel=ERROR, title="after all passes; best learning rate in brackets, a small dot per seed")
    for label, colour in followed.items():
        runs = [row for row in chosen(rows) if row["optimizer"] == label]
        passes = sorted({row["passes"] for row in runs})
        values = [mean([row["epe_px"] for row in runs if row["passes"] == at]) for at in passes]
        right.plot(passes, values, color=colour, linewidth=2, label=label)
    right.set(xlabel="forward and backward passes", ylabel=ERROR, title="on the way, mean of the seeds", yscale="log")
    plain_ticks(right.yaxis, (1.5, 2, 3, 4, 6, 8))
    right.legend(frameon=False)
    return titled(figure, (left, right))


def draw_rates(rows: Rows) -> Any:
    """For each optimizer, what the learning rate does, with one seed."""
    groups = {key[0]: group for key, group in ends(rows, "optimizer").items()}
    figure, axes = plt.subplots(3, 6, figsize=(11, 5.4), layout="constrained", sharey=True)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, (label, group) in zip(axes.flat, groups.items(), strict=False):
        axis.set_visible(True)
        tried = sorted((row for row in group if row["seed"] == 0), key=lambda row: row["lr"])
        finite = [row for row in tried if math.isfinite(row["epe_px"])]
        axis.plot([row["lr"] for row in finite], [row["epe_px"] for row in finite], "o-", color=BLUE, markersize=4)
        for row in tried:
            if row not in finite:
                axis.plot(row["lr"], 7, "x", color=RED)
            elif row["chosen"] == 1:
                axis.plot(row["lr"], row["epe_px"], "o", color=ORANGE, markersize=8, zorder=3)
        axis.set(xscale="log", yscale="log", ylim=(1.5, 8))
        axis.set_title(label, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        plain_ticks(axis.yaxis, (2, 4, 8))
        axis.minorticks_off()
    figure.supxlabel("learning rate (orange: the one chosen, on other pairs than these; red cross: not finite)")
    figure.supylabel("mean error at the end, px")
    return figure


def draw_schedules(rows: Rows, shapes: Rows) -> Any:
    figure, (left, right) = axes_of(2, (11, 4.4), width_ratios=(1.1, 1))
    groups = {key[0]: group for key, group in ends(chosen(rows), "schedule").items()}
    colours = dict(zip(groups, (*PALETTE, GREY), strict=False))
    for label, colour in colours.items():
        curve = [row for row in shapes if row["schedule"] == label]
        style = "--" if label in ("plateau", "cosine, no warm-up") else "-"
        drawn = "steps-post" if label == "plateau" else "default"
        steps, factors = [row["step"] for row in curve], [row["factor"] for row in curve]
        left.plot(steps, factors, style, drawstyle=drawn, color=colour, label=label, linewidth=2)
    left.set(xlabel="step", ylabel="factor on the learning rate", title="the schedules (plateau: that of one run)")
    left.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.95))
    order = sorted(groups, key=lambda label: mean([row["epe_px"] for row in groups[label]]), reverse=True)
    for y, label in enumerate(order):
        dots(right, y, [row["epe_px"] for row in groups[label]], colours[label])
    right.set_yticks(range(len(order)), [f"{label}  ({groups[label][0]['lr']:g})" for label in order])
    right.set(xlabel=ERROR, title="AdamW at the end; best learning rate in brackets")
    return titled(figure, (left, right))


def draw_shapes(rows: Rows) -> Any:
    figure, (left, right) = axes_of(2, (11, 4))
    styles = ("-", "-", "-", "--", ":", "-")
    for label, colour, style in zip(dict.fromkeys(row["loss"] for row in rows), PALETTE, styles, strict=False):
        curve = [row for row in rows if row["loss"] == label]
        errors = [row["error_px"] for row in curve]
        left.plot(errors, [row["value"] for row in curve], style, color=colour, linewidth=2, label=label)
        right.plot(errors, [row["slope"] for row in curve], style, color=colour, linewidth=2)
    left.set(xlabel="error, px", ylabel="loss", ylim=(0, 6), title="value")
    right.set(xlabel="error, px", ylabel="slope of the loss", ylim=(-5, 5), title="slope: the pull on the prediction")
    right.legend(*left.get_legend_handles_labels(), frameon=False, fontsize=8, loc="upper left")
    return titled(figure, (left, right))


def draw_losses(rows: Rows) -> Any:
    figure, (left, right) = axes_of(2, (11, 4.2), sharey=True)
    groups = ends(rows, "loss", "truth")
    labels = list(dict.fromkeys(row["loss"] for row in rows))[::-1]
    for axis, column in ((left, "epe_px"), (right, "bad_1_percent")):
        for y, label in enumerate(labels):
            both = [[row[column] for row in groups[label, truth]] for truth in ("exact", "a fifth is wrong")]
            axis.plot([mean(values) for values in both], [y, y], color="#bbbbbb", linewidth=2, zorder=0)
            dots(axis, y, both[0], BLUE, "o", "exact truth" if y == 0 else "")
            dots(axis, y, both[1], RED, "s", "a fifth of the truth is wrong" if y == 0 else "")
    left.set_yticks(range(len(labels)), labels)
    left.set(xlabel=ERROR, title="mean error")
    right.set(xlabel="pixels off by more than 1 px, %", title="bad pixels")
    right.legend(frameon=False, loc="best")
    return titled(figure, (left, right))


def draw_edges(rows: Rows, row: Rows, pixel: Rows) -> Any:
    figure, (first, second, third) = axes_of(3, (11, 4.2), width_ratios=(1.15, 1.15, 1))
    colours = {"smooth_l1": BLUE, "cross-entropy": ORANGE, "both": GREEN}
    kept = [r for r in row if r["loss"] == "smooth_l1"]
    first.step([r["x_px"] for r in kept], [r["truth_px"] for r in kept], where="mid", color="black", label="truth")
    for label, colour in list(colours.items())[:2]:
        curve = [r for r in row if r["loss"] == label]
        at = [r["x_px"] for r in curve]
        first.plot(at, [r["mean"] for r in curve], "o-", color=colour, markersize=4, label=label)
        curve = [r for r in pixel if r["loss"] == label]
        shift = -0.35 if label == "smooth_l1" else 0.35
        second.bar([r["plane_px"] + shift for r in curve], [r["share"] for r in curve], 0.7, color=colour, label=label)
        second.axvline(curve[0]["mean"], color=colour, linestyle=":", linewidth=2)
    first.axvline(pixel[0]["x_px"], color=GREY, linewidth=8, alpha=0.25)
    first.set(xlabel="column, px", ylabel="disparity, px", title="a row across an edge, first seed: means")
    first.set_ylim(-0.5, 1.35 * first.get_ylim()[1])
    first.legend(frameon=False, fontsize=8, loc="upper left")
    second.axvline(pixel[0]["truth_px"], color="black", linewidth=2, label="truth")
    second.set(xlabel="disparity plane, px", ylabel="share", title="the shaded pixel (dotted: means)")
    second.set_ylim(0, 1.35 * second.get_ylim()[1])
    second.legend(frameon=False, fontsize=8, loc="upper right")
    y, ticks = 0, []
    for where in ("elsewhere", "next to an edge"):
        for label, colour in reversed(colours.items()):
            for readout, marker in (("mean", "o"), ("around the mode", "D")):
                values = [r["epe_px"] for r in rows if (r["loss"], r["readout"], r["where"]) == (label, readout, where)]
                dots(third, y, values, colour, marker)
            ticks.append((y, label))
            y += 1
        third.text(0.98, y - 0.6, where, transform=third.get_yaxis_transform(), ha="right", fontsize=8, style="italic")
        y += 0.6
    third.plot([], [], "o", color=GREY, label="mean")
    third.plot([], [], "D", color=GREY, label="around the mode")
    third.set_yticks([tick for tick, _ in ticks], [label for _, label in ticks])
    third.set(xlabel="mean error of visible pixels, px", title="all pairs, three seeds", ylim=(-0.6, y + 1))
    third.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    return titled(figure, (first, second, third))


def draw_self_supervised(rows: Rows) -> Any:
    figure, axes = axes_of(3, (11, 3.8), sharey=True)
    groups = ends(rows, "loss", "scenes")
    labels = list(dict.fromkeys(row["loss"] for row in rows))[::-1]
    columns = (
        ("visible_epe_px", "error, visible pixels, px"),
        ("occluded_epe_px", "error, occluded pixels, px"),
        ("bad_1_percent", "pixels off by more than 1 px, %"),
    )
    for axis, (column, shown) in zip(axes, columns, strict=True):
        for y, label in enumerate(labels):
            cameras = ("equal cameras", "different exposure")
            both = [[row[column] for row in groups[label, scenes]] for scenes in cameras]
            axis.plot([mean(values) for values in both], [y, y], color="#bbbbbb", linewidth=2, zorder=0)
            dots(axis, y, both[0], BLUE, "o", "equal cameras" if y == 0 else "")
            dots(axis, y, both[1], RED, "s", "different exposure" if y == 0 else "")
        axis.set_xlabel(shown)
    axes[0].set_yticks(range(len(labels)), [label.replace(", left", ",\nleft") for label in labels])
    axes[0].legend(frameon=False, fontsize=8, loc="best")
    return figure


def plain_ticks(axis: Any, values: tuple[float, ...]) -> None:
    axis.set_ticks(values, [f"{value:g}" for value in values])
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def titled(figure: Any, axes: Any) -> Any:
    for axis in axes:
        axis.title.set_fontsize(10)
    return figure


def fill_tables(tables: Path, document: Path) -> None:
    """Writes the tables of the document between their marks."""
    if not document.is_file():
        return
    text = document.read_text(encoding="utf-8")
    makers = {"optimizers": optimizer_table, "schedules": schedule_table, "losses": loss_table}
    makers |= {"edges": edge_table, "self_supervised": self_supervised_table}
    for name, make in makers.items():
        file = tables / f"training_{name}.csv"
        begin, end = f"<!-- table {name}: written by benchmarks/optimizers_and_losses.py -->\n", "<!-- end of table -->"
        if file.is_file() and begin in text:
            before, _, rest = text.partition(begin)
            rows = read(file)
            lines = ["| " + " | ".join(line) + " |" for line in make(rows)]
            keys = ("cpu", "cores", "gpu", "torch", "python", "system", "date")
            machine = one_line({key: text_of(rows[0][key]) for key in keys})
            lines.append(f"\nMeasured on: {machine}.\n")
            text = before + begin + "\n".join(lines) + rest[rest.index(end) :]
    write_whole(document, text.encode())


def text_of(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def spread(rows: Rows, column: str, digits: int = 2) -> str:
    """The mean over the seeds, and the lowest and highest."""
    values = [row[column] for row in rows]
    return f"{mean(values):.{digits}f} ({min(values):.{digits}f} – {max(values):.{digits}f})"


def optimizer_table(rows: Rows) -> list[list[str]]:
    groups = ends(chosen(rows), "optimizer")
    order = sorted(groups.items(), key=lambda item: mean([row["epe_px"] for row in item[1]]))
    head = ["optimizer", "best `lr`", "error, px: mean of seeds (lowest – highest)", "numbers kept per weight"]
    return [head, ["---", "---:", "---:", "---:"]] + [
        [key[0], f"{group[0]['lr']:g}", spread(group, "epe_px"), f"{group[0]['state_per_weight']:g}"]
        for key, group in order
    ]


def schedule_table(rows: Rows) -> list[list[str]]:
    groups = ends(chosen(rows), "schedule")
    order = sorted(groups.items(), key=lambda item: mean([row["epe_px"] for row in item[1]]))
    head = [["schedule", "best `lr`", "error, px: mean of seeds (lowest – highest)"], ["---", "---:", "---:"]]
    return head + [[key[0], f"{group[0]['lr']:g}", spread(group, "epe_px")] for key, group in order]


def loss_table(rows: Rows) -> list[list[str]]:
    groups = ends(rows, "loss", "truth")
    truths = ("exact", "a fifth is wrong")
    head = [
        "loss",
        *(f"error, px, truth {truth}" for truth in truths),
        *(f"bad-1 %, truth {truth}" for truth in truths),
    ]
    lines = [head, ["---", *["---:"] * 4]]
    for label in dict.fromkeys(row["loss"] for row in rows):
        errors = [spread(groups[label, truth], "epe_px") for truth in truths]
        lines.append([label, *errors, *(spread(groups[label, truth], "bad_1_percent", 1) for truth in truths)])
    return lines


def edge_table(rows: Rows) -> list[list[str]]:
    places = ("next to an edge", "elsewhere")
    head = ["trained with", "read out as", *(f"error, px, {place}" for place in places)]
    lines = [[*head, *(f"bad-1 %, {place}" for place in places)], ["---", "---", *["---:"] * 4]]
    groups: dict[tuple, Rows] = {}
    for row in rows:
        groups.setdefault((row["loss"], row["readout"], row["where"]), []).append(row)
    for label, readout in dict.fromkeys((row["loss"], row["readout"]) for row in rows):
        errors = [spread(groups[label, readout, place], "epe_px") for place in places]
        bad = [spread(groups[label, readout, place], "bad_1_percent", 1) for place in places]
        lines.append([label, readout, *errors, *bad])
    return lines


def self_supervised_table(rows: Rows) -> list[list[str]]:
    groups = ends(rows, "loss", "scenes")
    head = ["loss", "cameras", "error, px, visible pixels", "occluded pixels", "bad-1 %, all pixels"]
    lines = [head, ["---", "---", "---:", "---:", "---:"]]
    for label, cameras in groups:
        group = groups[label, cameras]
        errors = [spread(group, "visible_epe_px"), spread(group, "occluded_epe_px")]
        lines.append([label, cameras, *errors, spread(group, "bad_1_percent", 1)])
    return lines
