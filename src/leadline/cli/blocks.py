"""`leadline blocks`: the catalogue, measured on targets; `leadline blocks compare`: what each does for depth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leadline.errors import UserError

if TYPE_CHECKING:
    from leadline.blocks.compare import Row
    from leadline.blocks.matrix import Entry


@click.group("blocks", invoke_without_command=True)
@click.option("--target", "targets", metavar="A,B,…", help="Convert each block to these and run it there.")
@click.option("--family", "families", metavar="A,B,…", help="Only these families.")
@click.option("--block", "names", metavar="A,B,…", help="Only these blocks.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="CSV; what is in it already is kept and not measured again.",
)
@click.option("--fresh", is_flag=True, help="Measure again what is in the CSV.")
@click.option("--times/--no-times", default=True, show_default=True, help="Measure latencies too, on a quiet machine.")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as Markdown.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
@click.pass_context
def command(
    context: click.Context,
    targets: str | None,
    families: str | None,
    names: str | None,
    output: Path | None,
    fresh: bool,
    times: bool,
    page: Path | None,
    threads: int,
) -> None:
    """The building blocks: list them, or measure each on export targets.

    Without --target the catalogue is listed: cost at 32 channels and 32x48 px, parameters, source. With it every block
    is converted as a network would be, run in the target's runtime, compared with PyTorch and timed in turns with a
    plain 3x3 convolution. The table is written after every block, so an interrupted run goes on where it stopped.
    """  # fmt: skip
    if context.invoked_subcommand is not None:
        return
    blocks = _chosen(families, names)
    if targets is None:
        _list(blocks)
        return
    from leadline.blocks.matrix import measure, read_entries, write_entries

    known = read_entries(output) if output is not None and output.exists() else []
    wanted = {(block, target) for block in blocks for target in _words(targets)}
    if fresh:
        known = [entry for entry in known if (entry.block, entry.target) not in wanted]
    done = {(entry.block, entry.target): entry for entry in known}

    def keep(entry: Entry) -> None:
        done[entry.block, entry.target] = entry
        click.echo(_line(entry), err=True)
        if output is not None:
            write_entries(output, _in_order(list(done.values())))

    entries = _in_order(measure(blocks, _words(targets), known, keep, threads, times))
    _print_matrix([entry for entry in entries if (entry.block, entry.target) in wanted])
    if page is not None:
        from leadline.blocks.pages import write_matrix_page

        click.echo(f"written: {write_matrix_page(page, entries)}", err=True)


@command.command("compare")
@click.option("--family", required=True, metavar="NAME", help="conv, residual, attention, …: what is exchanged.")
@click.option("--budget", default="10min", show_default=True, metavar="TIME", help="For training all variants.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Steps of each, in the place of a budget.")
@click.option("--kinds", metavar="A,B,…", help="Only these variants; the first is always there.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Keep the runs; the same command goes on where it stopped.",
)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the table as CSV.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw accuracy against latency (PNG).")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def compare_command(
    family: str,
    budget: str,
    steps: int | None,
    kinds: str | None,
    folder: Path | None,
    csv_file: Path | None,
    picture: Path | None,
    threads: int,
    seed: int,
) -> None:
    """Train the same small stereo network with each kind of part, at about equal multiply-accumulates.

    All variants see the same batches of procedural scenes for the same number of steps, as many as fit into the
    budget, and are then measured on the same unseen scenes.
    """
    from leadline.blocks.compare import compare

    rows = compare(
        family, seconds=parse_time(budget), steps=steps, kinds=None if kinds is None else _words(kinds),
        folder=folder, threads=threads, seed=seed, progress=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    _print_comparison(rows)
    if csv_file is not None:
        from leadline.blocks.compare import write_rows

        click.echo(f"written: {write_rows(csv_file, rows)}", err=True)
    if picture is not None:
        from leadline.blocks.pictures import draw_comparison

        click.echo(f"written: {draw_comparison(picture, family, rows)}", err=True)


def parse_time(text: str) -> float:
    """ "10min", "90s", "1.5h" -> seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", text.strip())
    if found is None or float(found[1]) == 0:
        raise UserError(f"--budget {text!r}: write it as 90s, 10min or 1h")
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]]


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UserError("an empty list was given: write names with commas between them, such as onnx,tflite")
    return words


def _chosen(families: str | None, names: str | None) -> list[str]:
    """Names of the blocks that are asked for, all where nothing is said."""
    from leadline.blocks import CATALOGUE, blocks_of, find_block

    chosen = [block.name for family in _words(families) for block in blocks_of(family)] if families else []
    chosen += [find_block(name).name for name in _words(names)] if names else []
    return list(dict.fromkeys(chosen)) or list(CATALOGUE)


def _in_order(entries: list[Entry]) -> list[Entry]:
    """As the catalogue and the table of targets have them; entries of blocks that are no more come last."""
    from leadline.blocks import CATALOGUE
    from leadline.deploy.export import TARGETS

    order = {name: i for i, name in enumerate([*CATALOGUE, *TARGETS])}
    return sorted(entries, key=lambda entry: (order.get(entry.block, 999), order.get(entry.target, 999)))


def _list(names: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from leadline.blocks import find_block
    from leadline.blocks.matrix import CHANNELS, SIZE

    table = Table("family", "block", box=None, header_style="bold")
    table.add_column("MMAC", justify="right")
    table.add_column("parameters", justify="right")
    table.add_column("source")
    for block in map(find_block, names):
        parameters = sum(parameter.numel() for parameter in block.make(CHANNELS).parameters())
        macs = block.macs(CHANNELS, *SIZE) / 1e6
        table.add_row(block.family, block.name, f"{macs:.2f}" if macs else "–", f"{parameters:,d}", block.source)
    console = Console()
    Console(width=None if console.is_terminal else max(console.width, 160)).print(table)
    click.echo(f"at {CHANNELS} channels and {SIZE[0]}x{SIZE[1]} px; docs/blocks tells what each is for")


def _line(entry: Entry) -> str:
    told = (
        entry.reason if entry.error is None else f"error {entry.error:.1e}" + f" ({entry.reason})" * bool(entry.reason)
    )
    return f"{entry.block} · {entry.target}: {entry.result}, {told}"


def _print_matrix(entries: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table

    targets = list(dict.fromkeys(entry.target for entry in entries))
    found = {(entry.block, entry.target): entry for entry in entries}
    table = Table("block", box=None, header_style="bold")
    for target in targets:
        table.add_column(target, justify="right")
    for block in dict.fromkeys(entry.block for entry in entries):
        cells = (found.get((block, target)) for target in targets)
        table.add_row(block, *("" if entry is None else _cell(entry) for entry in cells))
    console = Console()
    Console(width=None if console.is_terminal else max(console.width, 140)).print(table)
    timed = " · time over a plain 3x3 convolution's of equal MACs (≈: of the same channels)"
    click.echo("error against PyTorch" + timed * any(entry.milliseconds is not None for entry in entries))


def _cell(entry: Entry) -> str:
    if entry.result == "does not go":
        return "no"
    if entry.result == "differs" or entry.error is None:
        return "differs" + ("" if entry.error is None else f" {entry.error:.0e}")
    if entry.of_plain is not None:
        return f"{entry.error:.0e} · {entry.of_plain:.2g}x"
    return f"{entry.error:.0e}" + ("" if entry.of_same_shape is None else f" · ≈{entry.of_same_shape:.2g}x")


def _print_comparison(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", box=None, header_style="bold")
    for heading in ("EPE px", "bad 1 px %", "ms", "GMAC", "parameters", "width", "steps"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.kind, f"{row.epe_px:.3f}", f"{row.bad1_percent:.2f}", f"{row.milliseconds:.1f}", f"{row.gmac:.3f}",
            f"{row.parameters:,d}", f"{row.width:.2f}", str(row.steps),
        )  # fmt: skip
    Console().print(table)
