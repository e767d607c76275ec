"""`leadline inspect MODEL`: what a network is made of, and what quantising it would cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.options import parse_size
from leadline.errors import UserError

if TYPE_CHECKING:
    from leadline.compress.sensitivities import Sensitivity


@click.command("inspect")
@click.argument("model")
@click.option("--size", metavar="HxW", help="Of the images that multiply-accumulates are counted for [384x1248].")
@click.option("--sensitivity", is_flag=True, help="Quantise each layer alone and measure what it costs.")
@click.option("--bits", default="8,4", show_default=True, metavar="N[,N...]", help="Of the weights, for --sensitivity.")
@click.option("--data", metavar="FORMAT:PATH", help="Samples for --sensitivity [procedural scenes].")
@click.option("--limit", type=click.IntRange(min=1), default=4, show_default=True, help="So many samples of them.")
@click.option("--csv", "table", type=click.Path(path_type=Path), metavar="FILE", help="Write the table.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw it, with --sensitivity.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(
    model: str, size: str | None, sensitivity: bool, bits: str, data: str | None, limit: int, table: Path | None,
    picture: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """The layers of MODEL (a zoo name, a checkpoint, or the name of an untrained network): parameters, MACs, bits.

    With --sensitivity instead: each layer, and each stage, quantised while all else stays float, and by how much the
    error rises.
    """
    if (picture or data) and not sensitivity:
        raise UserError(f"--{'picture' if picture else 'data'} belongs to --sensitivity: give that too")
    pixels = parse_size(size) if size else None
    network = _network(model)
    if sensitivity:
        _sensitivity(network, _bits(bits), data, limit, table, picture, as_json)
    else:
        _layers(network, pixels, table, as_json)


def _network(model: str) -> Any:
    from leadline import models
    from leadline.artifacts import is_artifact
    from leadline.checkpoint import load_network
    from leadline.zoo import WEIGHTS, find_checkpoint

    if is_artifact(model):
        raise UserError(f"{model}: an exported model: give the checkpoint or zoo name that it was made of")
    if model in models.names() and not (WEIGHTS / f"{model}.safetensors").is_file():
        return models.create(model).eval()
    return load_network(find_checkpoint(model))


def _bits(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if any(part not in ("8", "4") for part in parts):
        raise UserError(f"--bits {text}: sensitivity is measured at 8 and 4 bits: give 8, 4 or 8,4")
    return tuple(int(part) for part in parts)


def _layers(network: Any, size: tuple[int, int] | None, table: Path | None, as_json: bool) -> None:
    import csv
    import io
    from dataclasses import asdict

    from leadline.compress.layers import layer_table
    from leadline.files import write_whole

    height, width = size or network.padded_size(384, 1248)
    network.check_size(height, width)
    rows = layer_table(network, (height, width))
    if table is not None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        write_whole(table, text.getvalue().encode())
    if as_json:
        import json

        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    shown = [
        (row.layer, row.stage, row.kind, row.output, f"{row.parameters:,}", f"{row.macs / 1e6:,.1f}", str(row.bits),
         f"{row.bytes / 1e3:,.1f}") for row in rows
    ]  # fmt: skip
    parameters, macs, stored = (sum(getattr(row, key) for row in rows) for key in ("parameters", "macs", "bytes"))
    total = ("in all", "", "", "", f"{parameters:,}", f"{macs / 1e6:,.1f}", "", f"{stored / 1e3:,.1f}")
    headings = ("layer", "stage", "kind", "output", "parameters", f"MMAC at {height}x{width}", "bits", "kB")
    _print(headings, [*shown, total], numbers_from=4)


def _sensitivity(
    network: Any, bits: tuple[int, ...], data: str | None, limit: int, table: Path | None, picture: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    from dataclasses import asdict

    from leadline.compress.sensitivities import sensitivity

    found = sensitivity(network, bits, data, limit)
    if table is not None:
        found.to_csv(table)
    if picture is not None:
        found.draw(picture)
    if as_json:
        import json

        click.echo(json.dumps(asdict(found), indent=2))
        return
    told = "no truth" if found.error is None else f"{found.metric} of the float network {found.error:.4f}"
    click.echo(f"{found.network} on {found.data}: {told}")
    _print(_headings(found, "layer"), _cells(found, found.layers, "layer"), numbers_from=2)
    click.echo()
    _print(_headings(found, "whole stage"), _cells(found, found.stages, "stage"), numbers_from=2)


def _headings(found: Sensitivity, first: str) -> tuple[str, ...]:
    widths = sorted({row.bits for row in found.rows}, reverse=True)
    what = "mean difference" if found.error is None else f"change of {found.metric}"
    return (first, "stage", "parameters", *(f"{width} bit: {what}" for width in widths))


def _cells(found: Sensitivity, rows: list[Any], key: str) -> list[tuple[str, ...]]:
    lines: dict[str, list[str]] = {}
    for row in rows:  # all rows of the first number of bits come before those of the next
        value = row.difference if row.error_change is None else row.error_change
        line = lines.setdefault(getattr(row, key), [getattr(row, key), row.stage, f"{row.parameters:,}"])
        line.append(f"{value:+.4f}")
    return [tuple(line) for line in lines.values()]


def _print(headings: tuple[str, ...], rows: list[tuple[str, ...]], numbers_from: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index >= numbers_from else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=max(console.width, 150) if not console.is_terminal else None).print(table)
