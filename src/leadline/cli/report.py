"""What a command says in the end: what was done, and what failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


def report(
    done: list[dict[str, Any]],
    failed: list[dict[str, str]],
    folder: Path,
    as_json: bool,
    named: Sequence[str],
    noun: str = "pair",
) -> None:
    """Prints it, as text or as JSON.

    Args:
        done: what meta.json says of each, with "model", "seconds" and "files".
        failed: of each its inputs and "error".
        named: the keys of `failed` that name the inputs.
        noun: what one is called.
    """
    if as_json:
        json.dump({f"{noun}s": done, "failed": failed}, sys.stdout, indent=2)
        click.echo()
    elif len(done) == 1 and not failed:
        files = ", ".join([*done[0]["files"], "meta.json"])
        place = done[0].get("output", folder)
        click.echo(f"{done[0]['model']}, {done[0]['seconds']:.2f} s: {place}: {files}")
    elif done:
        mean = sum(meta["seconds"] for meta in done) / len(done)
        click.echo(f"{done[0]['model']}, {mean:.2f} s per {noun}: {len(done)} {noun}s in {folder}/NAME")
    report_failed(done, failed, named, noun)


def report_failed(
    done: list[dict[str, Any]], failed: list[dict[str, str]], named: Sequence[str], noun: str = "pair"
) -> None:
    """What failed, a line each."""
    if failed:
        click.echo(f"leadline: {len(failed)} of {len(done) + len(failed)} {noun}s failed:", err=True)
        for item in failed:
            click.echo(f"  {', '.join(item[key] for key in named)}: {item['error']}", err=True)
