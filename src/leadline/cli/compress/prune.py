"""`leadline compress prune MODEL`: fewer weights, kernels or channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadline.cli.options import parse_size
from leadline.errors import UserError

if TYPE_CHECKING:
    from leadline.compress.report import Change
    from leadline.models import Network


@click.command("prune")
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE|DIR", help="The pruned checkpoint.")
@click.option("--granularity", default="filter", show_default=True, help="weight, vector, kernel or filter.")
@click.option("--criterion", help="l1, l2, lamp, taylor; for filters bn-scale, l1, l2, group, taylor, rank.")
@click.option("--amount", type=float, metavar="SHARE", help="Of the weights, or of the removable channels: 0.5.")
@click.option("--macs", metavar="0.5x", help="Filters: the multiply-accumulates that may be left.")
@click.option("--latency", metavar="0.6x", help="Filters: the measured time that may be left.")
@click.option("--runtime", default="pytorch", show_default=True, help="Where latency is measured: pytorch, onnx, ...")
@click.option("--size", default="384x1248", show_default=True, metavar="HxW", help="Of the images it is measured with.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the runtime, when timed.")
@click.option("--device-table", type=click.Path(path_type=Path), metavar="FILE", help="Times of layers on a device.")
@click.option("--write-device-table", type=click.Path(path_type=Path), metavar="FILE", help="Measure that table here.")
@click.option("--vector", default="row", show_default=True, help="row or column of a kernel.")
@click.option("--pattern", metavar="N:M", help="Weights: N of each M input channels are kept (2:4).")
@click.option("--scope", default="global", show_default=True, help="global, or layer: the same share of each.")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Only these; repeatable, patterns too.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Not these; repeatable, patterns too.")
@click.option("--round-to", type=int, default=1, show_default=True, metavar="N", help="Channels left: multiples of it.")
@click.option("--data", metavar="FORMAT:PATH", help="Pairs for taylor, rank and --sensitivity [rendered ones].")
@click.option("--schedule", default="one-shot", show_default=True, help="one-shot, or cubic: masks grow in training.")
@click.option("--finetune", type=click.Path(path_type=Path), metavar="RECIPE", help="Train what is left.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change that recipe: steps=400.")
@click.option("--sensitivity", is_flag=True, help="Only measure each layer's loss: table and picture in DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print what changed as JSON.")
def command(
    model: str,
    output: Path | None,
    granularity: str,
    criterion: str | None,
    amount: float | None,
    macs: str | None,
    latency: str | None,
    runtime: str,
    size: str,
    threads: int | None,
    device_table: Path | None,
    write_device_table: Path | None,
    vector: str,
    pattern: str | None,
    scope: str,
    layers: tuple[str, ...],
    exclude: tuple[str, ...],
    round_to: int,
    data: str | None,
    schedule: str,
    finetune: Path | None,
    changes: tuple[str, ...],
    sensitivity: bool,
    as_json: bool,
) -> None:
    """Prune MODEL (a zoo name or a checkpoint).

    weight, vector and kernel set weights to 0 and keep them so: the file becomes smaller, not the time. filter removes
    channels: time and file shrink. With --finetune the run is kept beside FILE, in FILE's name with .run for its
    ending; the same command goes on with a run that was stopped.
    """
    from leadline.cli.compress.options import load_trainable, recipe_with

    pixels = parse_size(size)
    recipe = recipe_with(finetune, changes)
    if write_device_table is None and output is None:
        raise UserError("-o is missing: say where the result goes")
    network = load_trainable(model)
    if write_device_table is not None:
        from leadline.compress.latency import write_device_table as write

        click.echo(write(network, write_device_table, runtime, pixels, threads))
        return
    assert output is not None
    if sensitivity:
        _analyse(network, output, data, None if granularity == "filter" else granularity, layers, exclude)
        return

    from leadline.checkpoint import save
    from leadline.cli.compress.options import check_output, run_folder
    from leadline.compress import prune

    check_output(output)
    pruned = prune(
        network, granularity=granularity, criterion=criterion, amount=amount, macs=_factor("--macs", macs),
        latency=_factor("--latency", latency), vector=vector, pattern=pattern, scope=scope, layers=layers,
        exclude=exclude, round_to=round_to, runtime=runtime, size=pixels, threads=threads, device_table=device_table,
        data=data, schedule=schedule, finetune=recipe, folder=run_folder(output),
    )  # fmt: skip
    from leadline.compress.report import compare

    change = compare(network, pruned)
    save(pruned, output)
    if as_json:
        import json

        click.echo(json.dumps({**change.to_dict(), "file_bytes": output.stat().st_size, "surgeries": pruned.surgeries}))
    else:
        _print(change, output)


def _factor(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text.lower().removesuffix("x").removesuffix("×"))
    except ValueError:
        raise UserError(f"{option} {text!r}: write it as a factor, such as 0.5x") from None


def _analyse(
    network: Network,
    output: Path,
    data: str | None,
    granularity: str | None,
    layers: tuple[str, ...],
    exclude: tuple[str, ...],
) -> None:
    from leadline.compress.pruning import GRANULARITIES
    from leadline.compress.sensitivity import sensitivity
    from leadline.files import writable_folder

    folder = writable_folder(output)
    found = sensitivity(
        network, data, granularities=GRANULARITIES if granularity is None else (granularity,), layers=layers,
        exclude=exclude, progress=lambda done, total: click.echo(f"layer {done} of {total}", err=True),
    )  # fmt: skip
    click.echo(found.to_csv(folder / "sensitivity.csv"))
    click.echo(found.draw(folder / "sensitivity.png"))


def _print(change: Change, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", "weight before", "after", "zeros", box=None, header_style="bold")
    for layer in change.layers:
        if layer.before != layer.after or layer.zeros:
            shapes = ("x".join(map(str, shape)) for shape in (layer.before, layer.after))
            table.add_row(layer.layer, *shapes, f"{100 * layer.zeros:.0f} %")
    console = Console()
    Console(width=None if console.is_terminal else max(console.width, 120)).print(table)
    for what, (before, after) in (
        ("parameters", change.parameters), ("not zero", change.nonzero), ("MACs (zeros count)", change.macs),
    ):  # fmt: skip
        click.echo(f"{what}: {before:,} -> {after:,} ({after / max(before, 1):.2f}x)")
    click.echo(f"file: {output.stat().st_size:,} bytes, {output}")
