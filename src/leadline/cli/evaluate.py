"""leadline evaluate: models against ground truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from leadline.evaluation import Results

_DIGITS = {"px": 3, "%": 2, "mm": 1, "s": 3, "°": 2, "dB": 2, "grey": 3, "m": 3, "": 4}  # after the point, by unit
COLUMN_WIDTH = 27  # of one model's two columns, borders included


@click.command("evaluate")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--data", "data", required=True, metavar="FORMAT:PATH", help="The data set, e.g. kitti2015:/data/kitti.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and nothing else, on stdout.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the tables as CSV too.")
@click.option("--per-sample", is_flag=True, help="Show each sample's row under the table.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N samples.")
@click.option("--device", help="For networks: cpu, cuda...; the GPU where there is one.")
@click.option("--num-disparities", type=int, metavar="PX", help="How far sgbm and bm search; 192.")
@click.option("--align", metavar="HOW", help="Monocular depth: none, median, scale, affine, affine-inverse.")
@click.option("--cap", type=float, metavar="M", help="Monocular depth: the farthest that counts, such as 80 or 10.")
@click.option("--min-depth", type=float, metavar="M", help="Monocular depth: the nearest that counts [0.001].")
@click.option("--crop", metavar="NAME", help="Monocular depth: none, garg, eigen or nyu.")
@click.option("--resize", metavar="HxW", help="Monocular depth: predict at this size, mostly that of the training.")
def command(
    models: tuple[str, ...],
    data: str,
    as_json: bool,
    csv_file: Path | None,
    per_sample: bool,
    limit: int | None,
    device: str | None,
    num_disparities: int | None,
    align: str | None,
    cap: float | None,
    min_depth: float | None,
    crop: str | None,
    resize: str | None,
) -> None:
    """Measure MODELs of one task (zoo names, checkpoints, artifacts, sgbm ...) on data with ground truth.

    The table gives every metric twice: as the mean of the samples' values, and over all pixels of the set together.
    Bad samples are listed at the end and the rest goes on; the exit code is then 1.
    """
    from leadline.classical import ClassicalStereo
    from leadline.cli.options import parse_size
    from leadline.evaluation import DepthProtocol, evaluate
    from leadline.files import writable_folder
    from leadline.predict import Resized
    from leadline.zoo import load

    if csv_file is not None and csv_file.is_dir():
        raise UserError(f"{csv_file}: is a folder: name a file for the CSV")
    if csv_file is not None:
        writable_folder(csv_file.parent)
    predictors = {
        name: load(name, num_disparities=num_disparities) if name in ClassicalStereo.NAMES else load(name, device)
        for name in models
    }
    if resize is not None:
        size = parse_size(resize)
        predictors = {name: Resized(predictor, size) for name, predictor in predictors.items()}
    asked = {"align": align, "cap": cap, "min_depth": min_depth, "crop": crop}
    given = {key: value for key, value in asked.items() if value is not None}
    protocol = DepthProtocol(**given) if given else None  # pyright: ignore[reportArgumentType]
    with _progress_bar() as update:
        results = evaluate(predictors, data, limit=limit, progress=update, protocol=protocol)
    if not results.rows:
        raise UserError(_nothing(results))

    if as_json:
        print(json.dumps(results.to_dict(), indent=2, allow_nan=False))
    else:
        print_tables(results, per_sample)
    if csv_file is not None:
        results.to_csv(csv_file)
    for problem in results.problems:
        print(f"not evaluated: {problem}", file=sys.stderr)
    if results.problems:
        sys.exit(1)


def _nothing(results: Results) -> str:
    if not results.problems:
        return f"{results.data}: no samples to evaluate on: check the path with `leadline data check`"
    return f"{results.data}: none of {len(results.problems)} could be evaluated; the first: {results.problems[0]}"


def _progress_bar() -> Any:
    """A context that gives the function to call with (done, total); drawn on stderr, on a terminal alone."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def bar():
        columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        hidden = not console.is_terminal
        # auto_refresh would redraw from a thread of its own, beside what is being timed
        with Progress(*columns, console=console, transient=True, auto_refresh=False, disable=hidden) as progress:
            task = progress.add_task("evaluating", total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total, refresh=True)

    return bar()


def print_tables(results: Results, per_sample: bool = False) -> None:
    """The tables for people: models against metrics, and the samples' rows where asked for."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(160, 40 + COLUMN_WIDTH * len(results.models)))  # a file has no edge to wrap at
    at_once = max(1, (console.width - 32) // COLUMN_WIDTH)
    for start in range(0, len(results.models), at_once):
        console.print(_table(results, results.models[start : start + at_once]))
    if per_sample:
        _print_samples(results, console)


def _table(results: Results, models: list[str]) -> Table:
    """Metrics downwards, the models with both aggregates across; metrics that no model has are left out."""
    from rich.table import Table

    columns = [row for row in results.table if row["model"] in models]
    title = results.data if results.protocol is None else f"{results.data}: {results.protocol}"
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    for column in columns:
        table.add_column(f"{column['model']}\n{column['aggregate']}", justify="right")
    table.add_row("samples", *(str(column["samples"]) for column in columns))
    table.add_row("seconds per pair (median)", *(_cell(column["seconds"], "s") for column in columns), end_section=True)
    for key, (label, unit) in results.measure.metrics.items():
        if any(column[key] is not None for column in columns):
            table.add_row(
                (f"{label} [{unit}]" if unit else label).replace("[", "\\["),
                *(_cell(column[key], unit) for column in columns),
            )
    return table


def _print_samples(results: Results, console: Console) -> None:
    from rich.table import Table

    measure = results.measure
    for model in results.models:
        table = Table(title=f"{model}, per sample", title_justify="left")
        table.add_column("sample", overflow="fold")
        for key in measure.per_sample:
            table.add_column(f"{measure.metrics[key].label}\n\\[{measure.metrics[key].unit}]", justify="right")
        table.add_column("time\n\\[s]", justify="right")
        for row in results.rows_of(model):
            cells = [_cell(row.metrics[key], measure.metrics[key].unit) for key in measure.per_sample]
            table.add_row(row.sample, *cells, _cell(row.seconds, "s"))
        console.print(table)


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:.{_DIGITS[unit]}f}"
