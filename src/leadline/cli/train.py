"""`leadline train`."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("train")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the run; default runs/NAME.")
@click.option("--resume", is_flag=True, help="Refuse to begin anew where there is nothing to resume.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe: optimizer.lr=1e-3.")
@click.option("--stop-after", type=click.IntRange(min=1), metavar="STEPS", help="End this sitting after so many steps.")
def command(recipe: Path, output: Path | None, resume: bool, changes: tuple[str, ...], stop_after: int | None) -> None:
    """Train a network as RECIPE (a YAML file) says.

    A run that was interrupted, even by kill -9, goes on where it stopped when the same command is given again, and
    ends with the same weights. Watch it with: tensorboard --logdir runs
    """
    from leadline.training.recipe import load_recipe

    checked = load_recipe(recipe, changes)  # before torch is loaded: mistakes are told at once

    from leadline.training.fit import train as run

    path = run(checked, output, resume, stop_after)
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:  # of several processes, one for each GPU, the first speaks
        click.echo(path)
