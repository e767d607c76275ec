"""`leadline compress share MODEL`: few values per layer, stored once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from leadline.compress.sharing import LayerBits


@click.command("share")
@click.argument("model")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The checkpoint.")
@click.option("--clusters", type=int, default=256, show_default=True, help="Values per codebook, 2 to 256.")
@click.option("--per", default="layer", show_default=True, help="A codebook for each layer, or for each channel.")
@click.option("--init", default="linear", show_default=True, help="k-means starts linear, by density or random.")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Only these; repeatable, patterns too.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Not these; repeatable, patterns too.")
@click.option("--coding", default="entropy", show_default=True, help="entropy, or plain: bit-packed indices alone.")
@click.option("--rest", default="float32", show_default=True, help="float16 halves biases and BatchNorms too.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random initialisation.")
@click.option("--finetune", type=click.Path(path_type=Path), metavar="RECIPE", help="Train the codebooks.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change that recipe: steps=400.")
@click.option("--json", "as_json", is_flag=True, help="Print the layers as JSON.")
def command(
    model: str,
    output: Path,
    clusters: int,
    per: str,
    init: str,
    layers: tuple[str, ...],
    exclude: tuple[str, ...],
    coding: str,
    rest: str,
    seed: int,
    finetune: Path | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Share the weights of MODEL (a zoo name or a checkpoint): few values per layer, found by k-means.

    What `compress prune` set to 0 stays 0. The file holds codebooks and indices, entropy-coded; loading it gives the
    identical network.
    """
    from leadline.cli.compress.options import check_output, load_trainable, recipe_with, run_folder

    check_output(output)
    recipe = recipe_with(finetune, changes)
    network = load_trainable(model)

    from leadline.checkpoint import save
    from leadline.compress.sharing import describe, share

    shared = share(
        network, clusters=clusters, per=per, init=init, layers=layers, exclude=exclude, coding=coding, rest=rest,
        seed=seed, finetune=recipe, folder=run_folder(output),
    )  # fmt: skip
    save(shared, output)
    rows = describe(shared, network)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps({"layers": [asdict(row) for row in rows], "file_bytes": output.stat().st_size}))
    else:
        _print(rows, output)


def _print(rows: list[LayerBits], output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", box=None, header_style="bold")
    for heading in ("weights", "zeros", "values", "bits packed", "bits of entropy", "change"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name, f"{row.weights:,}", f"{100 * row.zeros:.0f} %", str(row.values), str(row.packed_bits),
            f"{row.entropy_bits:.2f}", "–" if row.error is None else f"{100 * row.error:.1f} %",
        )  # fmt: skip
    console = Console()
    Console(width=None if console.is_terminal else max(console.width, 120)).print(table)
    bound = sum(row.weights * row.entropy_bits for row in rows) / 8
    click.echo(f"indices: {bound:,.0f} bytes by their entropy")
    click.echo(f"file: {output.stat().st_size:,} bytes, {output}")
