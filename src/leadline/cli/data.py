"""`leadline data`: what a data set holds and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from leadline.data.check import DataReport
    from leadline.data.datasets.base import Dataset


@click.group(name="data")
def command() -> None:
    """Look at data sets: which formats are read, and what one holds."""


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs.")
def list_formats(as_json: bool) -> None:
    """List the formats and the layout that each expects under its PATH."""
    from leadline.data.datasets import FORMATS

    layouts = {name: form.layout for name, form in FORMATS.items()}
    layouts["procedural"] = "nothing on disk, rendered as asked for: procedural:COUNT[,seed=S][,size=HxW]"
    if as_json:
        click.echo(json.dumps(layouts, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("format", "layout under PATH", title="Data formats, written FORMAT:PATH")
    for name, layout in layouts.items():
        table.add_row(name, escape(layout))
    Console().print(table)


@command.command(name="check")
@click.argument("data", metavar="FORMAT:PATH")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write a PNG of each sample: views and disparity.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs.")
@click.pass_context
def check(context: click.Context, data: str, pictures: Path | None, as_json: bool) -> None:
    """Say what is there, what is broken or missing, and the statistics of the disparity.

    Every sample is read; broken ones are listed at the end. Exit code 1 if anything is broken or missing.

    Example: leadline data check kitti2015:/data/kitti2015 --pictures look
    """
    from leadline.data import open_data

    report = _check_with_progress(open_data(data), pictures)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report)
        if pictures is not None:
            click.echo(f"pictures: {pictures}")
    if report.problems:
        context.exit(1)


def _check_with_progress(dataset: Dataset, pictures: Path | None) -> DataReport:
    from rich.console import Console
    from rich.progress import Progress

    from leadline.data.check import check_data

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=len(dataset))
        return check_data(dataset, pictures, lambda done, total: bar.update(task, completed=done, total=total))


def _print(report: DataReport) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from leadline.data.check import PERCENTILES

    console = Console(highlight=False)
    console.print(escape(report.name), soft_wrap=True)
    summary = Table(show_header=False)
    summary.add_row("pairs", str(report.pairs))
    summary.add_row("with truth", str(report.with_truth))
    summary.add_row("with occlusion", str(report.with_occlusion))
    if report.with_foreground:
        summary.add_row("with foreground", str(report.with_foreground))
    summary.add_row("calibrated", str(report.with_camera))
    _add_counts(summary, "sizes", report.sizes)
    _add_counts(summary, "cameras", report.cameras)
    console.print(summary)
    statistics = report.disparity
    if statistics.valid:
        table = Table(title=f"disparity (px), valid in {statistics.density:.1%} of the pixels")
        for name in ("min", *(f"{percent} %" for percent in PERCENTILES), "max"):
            table.add_column(name, justify="right")
        percentiles = [statistics.percentile(percent) for percent in PERCENTILES]
        table.add_row(*(f"{value:.2f}" for value in (statistics.minimum, *percentiles, statistics.maximum)))
        console.print(table)
        _print_histogram(console.print, statistics.histogram())
    depth = report.depth_in_metres()
    if depth is not None:
        table = Table(title=f"depth (m), valid in {depth['density']:.1%} of the pixels")
        for name in ("min", *(f"{percent} %" for percent in PERCENTILES), "max"):
            table.add_column(name, justify="right")
        table.add_row(*(f"{value:.3f}" for value in (depth["min"], *depth["percentiles"].values(), depth["max"])))
        console.print(table)
    if report.problems:
        console.print(f"[bold red]{len(report.problems)} broken or missing:[/]")
        for problem in report.problems:
            console.print(f"  {escape(problem)}", soft_wrap=True)
    else:
        console.print("nothing broken or missing")


def _add_counts(table: Table, label: str, counts: dict[str, int], most: int = 6) -> None:
    """A row for each of the most frequent values, then how many others there are."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    for index, (value, count) in enumerate(ordered[:most]):
        table.add_row(label if index == 0 else "", f"{value} ({count})")
    if len(ordered) > most:
        table.add_row("", f"and {len(ordered) - most} others")


def _print_histogram(print_line: Callable[[str], None], bars: list[dict[str, int | float]]) -> None:
    tallest = max(bar["share"] for bar in bars)
    for bar in bars:
        blocks = "█" * round(40 * bar["share"] / tallest)
        print_line(f"{bar['from']:>6} to {bar['to']:<6} {bar['share']:>6.1%} {blocks}")
