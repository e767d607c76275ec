"""`leadline export MODEL --to TARGETS`: artifacts, each proven in its runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.options import parse_size
from leadline.errors import UserError

if TYPE_CHECKING:
    from leadline.artifacts import Artifact
    from leadline.deploy import Verdict


@click.command("export")
@click.argument("model")
@click.option("--to", "targets", required=True, metavar="TARGET[,TARGET...]", help="Formats, such as onnx,openvino.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="DIR/TARGET each.")
@click.option("--check", is_flag=True, help="Only say what would not go to which target; MODEL may be untrained.")
@click.option("--size", metavar="HxW", help="Size of the images that the model takes [384x1248].")
@click.option("--dynamic", is_flag=True, help="Leave height and width free (onnx, openvino).")
@click.option("--few-operations", is_flag=True, help="For compilers of small chips: no matrix products, no flips.")
@click.option("--verify", "data", metavar="FORMAT:PATH", help="Pairs to prove it on [three rendered scenes].")
@click.option("--no-verify", is_flag=True, help="Do not run the result; its manifest then says so.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the runtime and of PyTorch, when timed.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifests, or what was found, as JSON.")
def command(
    model: str,
    targets: str,
    output: Path | None,
    check: bool,
    size: str | None,
    dynamic: bool,
    few_operations: bool,
    data: str | None,
    no_verify: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Convert MODEL (a zoo name or a checkpoint) and prove each result in its real runtime.

    The exported model and the network see the same pairs; what differs, in px, EPE and D1, and the times of both stand
    in DIR/TARGET/manifest.json. Where a model falls short of the tolerance, it is marked so and the exit code is 1.
    `predict` and `evaluate` take DIR/TARGET as a model.

    With --check nothing is written: MODEL, which may be the name of a network without weights, is tried at a small
    size, and what keeps it from a target is named with the module's path and what to use instead; then the exit code
    is 1.
    """
    wanted = [target.strip() for target in targets.split(",") if target.strip()]
    if not wanted:
        raise UserError("--to names no target: give one or more, such as onnx")
    if size is not None and dynamic:
        raise UserError("--size and --dynamic exclude each other: give one of them")
    if output is None and not check:
        raise UserError("no place to write to: give -o DIR, or --check to see first what would go")
    if check and (dynamic or few_operations or data or no_verify or output):
        raise UserError("--check writes nothing: leave out -o, --dynamic, --few-operations, --verify and --no-verify")
    pixels = parse_size(size) if size else None

    from leadline.deploy import TARGETS, export
    from leadline.errors import unknown_name

    for target in wanted:
        if target not in TARGETS:
            raise unknown_name("target", target, list(TARGETS))
    if check:
        _check(model, wanted, pixels, as_json)
        return
    assert output is not None
    network = _load(model)
    artifacts: list[Artifact] = []
    failures = []
    for target in wanted:
        click.echo(f"{target}: converting ...", err=True)
        try:
            artifacts.append(
                export(
                    network, target, output, pixels, dynamic=dynamic, few_operations=few_operations, threads=threads,
                    verify_on=None if no_verify else data or "procedural",
                )
            )  # fmt: skip
        except UserError as error:
            if len(wanted) == 1:
                raise
            failures.append(f"{target}: {error}")
    if as_json:
        import json

        click.echo(json.dumps([artifact.manifest.to_dict() for artifact in artifacts], indent=2))
    else:
        _print_table(artifacts)
    for failure in failures:
        click.echo(f"not exported: {failure}", err=True)
    unproven = [a for a in artifacts if a.manifest.verification["status"] == "failed"]
    for artifact in unproven:
        click.echo(f"not verified: {artifact.folder}: {artifact.manifest.verification['reason']}", err=True)
    if failures or unproven:
        sys.exit(1)


def _check(model: str, targets: list[str], size: tuple[int, int] | None, as_json: bool) -> None:
    from leadline import models
    from leadline.deploy import check
    from leadline.zoo import known_names

    network = models.create(model) if model in models.names() and model not in known_names() else _load(model)
    verdicts: list[Verdict] = []
    for target in targets:
        click.echo(f"{target}: trying ...", err=True)
        verdicts += check(network, [target], size)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    else:
        _print_verdicts(verdicts)
    if not all(verdict.goes for verdict in verdicts):
        sys.exit(1)


def _print_verdicts(verdicts: list[Verdict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("target", "verdict", "where", "operation", "why", "instead", box=None, header_style="bold")
    for verdict in verdicts:
        if verdict.goes:
            table.add_row(verdict.target, verdict.status)
        for finding in verdict.findings:
            where = finding.module or ("forward" if finding.operation else "")
            table.add_row(
                verdict.target, verdict.status, where, finding.operation, finding.reason, finding.advice
            )  # fmt: skip
    console = Console()
    Console(width=None if console.is_terminal else max(console.width, 180)).print(table)


def _load(model: str) -> Any:
    from leadline.artifacts import is_artifact
    from leadline.predict import NetworkPredictor
    from leadline.zoo import load

    if is_artifact(model):
        raise UserError(f"{model}: is exported already: give the zoo name or the checkpoint that it was made of")
    predictor = load(model, "cpu")
    if not isinstance(predictor, NetworkPredictor):
        raise UserError(
            f"{model}: only networks can be exported, and neither OpenCV's algorithms nor what is made of several "
            "predictions (:careful, :x1.5): export the network, and put that behind the exported model's name"
        )
    return predictor.network


def _print_table(artifacts: list[Artifact]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("artifact", "size", "MB", "status", box=None, header_style="bold")
    for heading in ("mean diff", "max diff", "worse by", "ms", "PyTorch ms"):
        table.add_column(heading, justify="right")
    for artifact in artifacts:
        manifest, record = artifact.manifest, artifact.manifest.verification
        unit = f" {record['unit']}" if "unit" in record else ""
        table.add_row(
            str(artifact.folder),
            "free" if manifest.size is None else f"{manifest.size[0]}x{manifest.size[1]}",
            f"{manifest.bytes / 1e6:.2f}",
            record["status"],
            _cell(record.get("mean_difference"), ".2g", unit),
            _cell(record.get("max_difference"), ".2g", unit),
            ", ".join(f"{key} {value:+.4f}" for key, value in record.get("worse_by", {}).items()) or "–",
            _cell(record.get("milliseconds"), ".0f"),
            _cell(record.get("pytorch_milliseconds"), ".0f"),
        )
    console = Console()
    Console(width=max(console.width, 150) if not console.is_terminal else None).print(table)


def _cell(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else format(value, form) + unit
