"""The matrix as a page for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from leadline.blocks.catalogue import CATALOGUE, FAMILIES
from leadline.blocks.matrix import AGREES, CHANNELS, DIFFERS, LIMITS, REFUSED, SIZE, Entry
from leadline.deploy.export import TARGETS
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line


def write_matrix_page(path: str | os.PathLike, entries: Sequence[Entry]) -> Path:
    """Writes the matrix as Markdown, a table per family and the reasons of what does not go below it."""
    targets = [target for target in TARGETS if any(entry.target == target for entry in entries)]
    found = {(entry.block, entry.target): entry for entry in entries}
    lines = [*_head(entries, targets)]
    for family in FAMILIES:
        names = [name for name, block in CATALOGUE.items() if block.family == family]
        if any((name, target) in found for name in names for target in targets):
            lines += ["", f"## {family}", "", *_table(names, targets, found), *_reasons(names, targets, found)]
    return write_whole(Path(path), ("\n".join(lines) + "\n").encode())


def _head(entries: Sequence[Entry], targets: list[str]) -> list[str]:
    limits = ", ".join(f"{limit:g} for {precision}" for precision, limit in LIMITS.items())
    lines = [
        "# What the targets make of each block",
        "",
        f"Made by `leadline blocks --target {','.join(targets)} -o matrix.csv --page matrix.md`: every block of the",
        f"catalogue at {CHANNELS} channels and {SIZE[0]}x{SIZE[1]} px is converted as a network would be, run in the",
        "target's runtime, and compared with PyTorch on noise that it was not calibrated on.",
        "",
        "- The number in a cell is the error: mean |difference| over the standard deviation of what PyTorch gives;",
        f"  it agrees up to {limits}.",
        "  **differs** is more than that, **no** does not go, with the reason below.",
        "  In int8 the 1x1 convolution that makes the block's input of an image is quantised too, and adds to it.",
        *_about_times(entries),
        "",
        "| target | agree | differ | do not go |",
        "| --- | ---: | ---: | ---: |",
    ]
    for target in targets:
        results = [entry.result for entry in entries if entry.target == target]
        counts = (results.count(kind) for kind in (AGREES, DIFFERS, REFUSED))
        lines.append(f"| {target} | " + " | ".join(map(str, counts)) + " |")
    return lines


def _about_times(entries: Sequence[Entry]) -> list[str]:
    if all(entry.milliseconds is None for entry in entries):
        return ["- Times were not taken (`--no-times`): the same command without it adds them."]
    return [
        "- `1.3x` is the time over that of a plain 3x3 convolution of equal multiply-accumulates on the same target,",
        "  both taking turns in one thread. Where a block has hardly any (pooling, normalisation), `≈1.3x` compares",
        "  with a plain 3x3 convolution of the same channels.",
        f"- Times were taken on: {one_line(describe_machine())}. They are ratios of short runs: read a factor, not a",
        "  percentage.",
    ]


def _table(names: list[str], targets: list[str], found: dict[tuple[str, str], Entry]) -> list[str]:
    lines = ["| block | MMAC | " + " | ".join(targets) + " |", "| --- | ---: |" + " ---: |" * len(targets)]
    for name in names:
        macs = CATALOGUE[name].macs(CHANNELS, *SIZE) / 1e6
        cells = [_cell(found.get((name, target))) for target in targets]
        lines.append(f"| {name} | {f'{macs:.2f}' if macs else '–'} | " + " | ".join(cells) + " |")
    return lines


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return ""
    if entry.result == REFUSED:
        return "**no**"
    if entry.result == DIFFERS or entry.error is None:
        return "**differs**" + ("" if entry.error is None else f" {entry.error:.0e}")
    if entry.of_plain is not None:
        return f"{entry.error:.0e} · {entry.of_plain:.2g}x"
    return f"{entry.error:.0e}" + ("" if entry.of_same_shape is None else f" · ≈{entry.of_same_shape:.2g}x")


def _reasons(names: list[str], targets: list[str], found: dict[tuple[str, str], Entry]) -> list[str]:
    """Why blocks do not go, blocks and targets with the same reason together."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for name in names:
        for target in targets:
            entry = found.get((name, target))
            if entry is not None and entry.result == REFUSED:
                reasons.setdefault(entry.reason, {}).setdefault(name, []).append(target)
    if not reasons:
        return []
    lines = []
    for reason, places in reasons.items():
        where = "; ".join(f"{name} ({', '.join(at)})" for name, at in places.items())
        lines.append(f"- {where}: {_plain(reason)}")
    return ["", *lines]


def _plain(reason: str) -> str:
    """As Markdown shows it unchanged."""
    return "`" + reason.replace("`", "'") + "`"
