"""docs/blocks/comparisons.md: the same small stereo network with one kind of part after another.

    python benchmarks/block_comparisons.py [--budget 600] [--families conv,residual,...] [--page-only]

Trains each kind for as many steps as fit into the budget (seconds, of a family), keeps the runs in runs/blocks so that
it goes on where it stopped, and writes a CSV and a picture per family and the page. The machine should be quiet: the
latencies are published.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from leadline.blocks.compare import BATCH, CROP, TESTED, TIMED, Row, compare, read_rows, write_rows
from leadline.blocks.pictures import draw_comparison
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line

DOCS = Path("docs/blocks")
FAMILIES = ("conv", "residual", "attention", "context", "down", "up", "volume", "filter", "norm", "dropout", "neuron")


def page(tables: dict[str, list[Row]]) -> str:
    """The page, from the rows of each family."""
    lines = [
        "# What each kind of part does for depth",
        "",
        "Made by `python benchmarks/block_comparisons.py` (each family by `leadline blocks compare --family NAME`).",
        f"A small plummet is trained on procedural scenes, {BATCH} crops of {CROP[0]}x{CROP[1]} px a step, with one",
        "kind of part after another. Widths are scaled until convolutions and matrix products cost about the same. All",
        f"kinds see the same batches, and are measured on the same unseen scenes (`{TESTED}`).",
        "",
        "The networks have seen little: the numbers rank kinds at this budget and say nothing of long training. One",
        "seed; differences of a few percent are noise. `width` is the factor on all channel numbers that makes costs",
        "equal. `binary` counts a product of signs as one multiply-accumulate. Latencies are worth comparing with one",
        f"another alone, and only where the machine was not loaded: {one_line(describe_machine())}.",
    ]
    for family, rows in tables.items():
        pairs = rows[0].steps * BATCH
        lines += [
            "",
            f"## {family}",
            "",
            f"{rows[0].steps} steps ({pairs:,d} crops) each; latency in PyTorch at {TIMED[0]}x{TIMED[1]} px, one",
            "thread, all taking turns.",
            "",
            "| kind | mean error px | error > 1 px % | ms | GMAC | parameters | width |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {row.kind} | {row.epe_px:.2f} | {row.bad1_percent:.1f} | {row.milliseconds:.0f} | {row.gmac:.2f} "
            f"| {row.parameters:,d} | {row.width:.2f} |"
            for row in rows
        ]
        lines += ["", f"![{family}: error against latency](comparisons/{family}.png)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=600.0, help="seconds that training a family may take")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--page-only", action="store_true", help="write the page from the CSVs that are there")
    arguments = parser.parse_args()
    for family in arguments.families.split(","):
        if not arguments.page_only:
            rows = compare(family, arguments.budget, folder=Path("runs/blocks"), progress=print)
            write_rows(DOCS / "comparisons" / f"{family}.csv", rows)
            draw_comparison(DOCS / "comparisons" / f"{family}.png", family, rows)
    found = {family: DOCS / "comparisons" / f"{family}.csv" for family in FAMILIES}
    tables = {family: read_rows(path) for family, path in found.items() if path.is_file()}
    print(write_whole(DOCS / "comparisons.md", page(tables).encode()))


if __name__ == "__main__":
    main()
