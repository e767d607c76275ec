"""`leadline benchmark`: accuracy against latency, side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadline.cli.options import parse_size

if TYPE_CHECKING:
    from leadline.evaluation import Benchmark


@click.command("benchmark")
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option("--data", metavar="FORMAT:PATH", help="Measure accuracy on these pairs too.")
@click.option("--size", default="384x1248", show_default=True, metavar="HxW", help="Of the timed pair.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True, help="Timed predictions of each.")
@click.option("--warmup", type=click.IntRange(min=0), default=2, show_default=True, help="Predictions before them.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N samples.")
@click.option("--untrained", multiple=True, metavar="NAME", help="A network to time without weights; repeatable.")
@click.option("--device", default="cpu", show_default=True, help="For networks.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the table as CSV.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw accuracy against latency (PNG).")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
def command(
    models: tuple[str, ...],
    data: str | None,
    size: str,
    threads: int,
    rounds: int,
    warmup: int,
    limit: int | None,
    untrained: tuple[str, ...],
    device: str,
    csv_file: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Time MODELs (zoo names, checkpoints, artifacts, sgbm, bm) in turns, and measure them on the same pairs.

    Each model has a process of its own; the rounds go A B C A B C …, so that whatever else the machine does disturbs
    all of them alike. The table gives the median time and its quartiles.
    """
    from leadline.evaluation import benchmark

    found = benchmark(
        models,
        data,
        size=parse_size(size),
        threads=threads,
        rounds=rounds,
        warmup=warmup,
        limit=limit,
        device=device,
        untrained=untrained,
        progress=lambda line: click.echo(line, err=True),
    )
    if as_json:
        import json

        click.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
    else:
        print_table(found)
    if csv_file is not None:
        click.echo(f"written: {found.to_csv(csv_file)}", err=True)
    if picture is not None:
        click.echo(f"written: {found.draw(picture)}", err=True)
    for problem in found.problems:
        click.echo(f"not evaluated: {problem}", err=True)
    if found.problems:
        sys.exit(1)


def print_table(found: Benchmark) -> None:
    from rich.console import Console
    from rich.table import Table

    from leadline.evaluation.measures import measure_of
    from leadline.machine import one_line

    measure = measure_of(found.task)
    first, second = (f"{label} {unit}".rstrip() for label, unit in (measure.metrics[key] for key in measure.headline))
    table = Table("model", box=None, header_style="bold")
    for heading in ("ms (quartiles)", first, second, "parameters", "GMAC", "file MB", "memory MB"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        table.add_row(
            row.model,
            f"{row.median_ms:.0f} ({row.quartile1_ms:.0f}–{row.quartile3_ms:.0f})",
            *(_cell(row.accuracy.get(measure.column(key)), ".3f") for key in measure.headline),
            _cell(row.parameters, ",d"),
            _cell(row.gmac, ".2f"),
            _cell(row.file_mb, ".2f"),
            _cell(row.peak_mb, ".0f"),
        )
    console = Console()
    Console(width=None if console.is_terminal else max(console.width, 140)).print(table)
    click.echo(f"{found.rows[0].size}, {found.rows[0].threads} thread(s); {one_line(found.machine)}")


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
