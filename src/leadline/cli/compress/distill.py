"""`leadline compress distill`."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("distill")
@click.option("--teacher", "teachers", required=True, multiple=True, help="Who teaches; several are an ensemble.")
@click.option("--student", required=True, help="A network's name, or a checkpoint to train on from.")
@click.option(
    "--on",
    default="target",
    show_default=True,
    metavar="NAME[:WEIGHT],...",
    help="What is imitated: target, distribution, feature, attention, similarity, relational, volume.",
)
@click.option("--data", multiple=True, metavar="FORMAT:PATH", help="Pairs, with or without truth; default procedural.")
@click.option("--recipe", type=click.Path(path_type=Path), help="Of the training; default: one made for the student.")
@click.option("--steps", type=click.IntRange(min=1), help="Of the optimizer; default the recipe's, else 20000.")
@click.option("--init", help="Checkpoint that a student given by name starts from.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the run; default runs/NAME.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe: optimizer.lr=1e-3.")
@click.option("--stop-after", type=click.IntRange(min=1), metavar="STEPS", help="End this sitting after so many steps.")
@click.option("--print-recipe", is_flag=True, help="Print the recipe in the place of training; for `leadline train`.")
def command(
    teachers: tuple[str, ...],
    student: str,
    on: str,
    data: tuple[str, ...],
    recipe: Path | None,
    steps: int | None,
    init: str | None,
    output: Path | None,
    changes: tuple[str, ...],
    stop_after: int | None,
    print_recipe: bool,
) -> None:
    """Train a small network with a teacher: on its predictions, its distribution, its features.

    A teacher is a checkpoint, a shipped model, an exported model or sgbm-padded. The same command goes on with a run
    that was interrupted.
    """
    from leadline.compress.distillation import make_recipe, write_recipe
    from leadline.training.fit import train

    teacher = teachers[0] if len(teachers) == 1 else list(teachers)
    checked = make_recipe(teacher, student, on.split(","), list(data) or None, recipe, steps, init, changes)
    if print_recipe:
        click.echo(write_recipe(checked), nl=False)
        return
    path = train(checked, output, stop_after=stop_after)
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        click.echo(path)
