"""`leadline models`: what can be loaded or trained, with measured numbers."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from leadline.zoo import Entry


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(as_json: bool) -> None:
    """The models that can be loaded, with the numbers measured on them.

    Networks without weights can be created, trained, and given the original project's weights.
    """
    from leadline.zoo import zoo

    found = zoo()
    if as_json:
        entries = [dataclasses.asdict(entry) for entry in found.entries]
        click.echo(json.dumps({"models": entries, "about": found.about}, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    measured = list(dict.fromkeys(column for entry in found.entries for column in entry.measured))
    table = Table("model", "task", "parameters", *measured, "weights", box=None, header_style="bold")
    for entry in found.entries:
        parameters = "" if entry.parameters is None else f"{entry.parameters / 1e6:.2f} M"
        numbers = [_number(entry.measured.get(column)) for column in measured]
        table.add_row(entry.name, entry.task, parameters, *numbers, _weights(entry))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for key, value in found.about.items():
        console.print(f"{key}: {value}", highlight=False)


def _weights(entry: Entry) -> str:
    if entry.kind == "classical":
        return "none needed (OpenCV)"
    if not entry.ready:
        from leadline.models.upstream import ORIGINALS

        more = ", or leadline.import_upstream" if entry.name in ORIGINALS else ""
        return f"not shipped: leadline train{more}"
    return entry.trained or "shipped"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
