"""Every network × every target, by doing it: the table of docs/targets.md and benchmarks/results/targets.csv.

    python benchmarks/targets.py [--size 96x256] [--networks plummet-s ...] [--targets onnx ...] [--missing]

Each network is exported with `leadline.export` to each target, loaded into its runtime, and compared with PyTorch on
two rendered scenes. The networks that ship without weights are taken as they are created, with BatchNorm statistics
from one batch. What does not work stands in the table with its reason. The extras of all targets must be installed.
The table is written after each cell; cells that a call does not name stay as they were measured before, and --missing
does those alone that have not been measured at this size.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
from pathlib import Path

import torch

import leadline
from leadline.cli.options import parse_size
from leadline.deploy import TARGETS, export
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line
from leadline.models import Network, names
from leadline.models.network import OUTPUT
from leadline.predict import NetworkPredictor
from leadline.predict.predictor import VIEWS
from leadline.zoo import load

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "targets.csv"
PAGE = ROOT / "docs" / "targets.md"
REASON_LENGTH = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="96x256", metavar="HxW")
    parser.add_argument("--networks", nargs="+", default=names())
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--missing", action="store_true", help="only what the table does not have yet")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    size = parse_size(options.size)
    sizes = {name: leadline.create(name).padded_size(*size) for name in names()}  # the nearest that it takes
    rows = {
        (row["network"], row["target"]): row
        for row in measured()
        if row["network"] in sizes and parse_size(row["size"]) == sizes[row["network"]]
    }
    for name in options.networks:
        todo = [target for target in options.targets if not (options.missing and (name, target) in rows)]
        network = prepare(name, sizes[name]) if todo else None
        for target in todo:
            assert network is not None
            row = attempt(network, target, sizes[name]) | {key: str(value) for key, value in describe_machine().items()}
            rows[name, target] = row
            print(name, target, row["status"], row["mean_difference"], row["reason"], flush=True)
            if not options.dry:
                write(in_order(rows), options)


def measured() -> list[dict]:
    """What the table holds already."""
    if not CSV.is_file():
        return []
    with CSV.open(newline="") as file:
        return list(csv.DictReader(file))


def in_order(rows: dict[tuple[str, str], dict]) -> list[dict]:
    """Networks by name, targets as leadline lists them; without what is there no more."""
    return [rows[name, target] for name in names() for target in TARGETS if (name, target) in rows]


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The table as CSV and as a page."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(CSV, text.getvalue().encode())
    write_whole(PAGE, page(rows, options, one_line(describe_machine())).encode())


def prepare(name: str, size: tuple[int, int]) -> Network:
    """The shipped network, or one that has seen a batch of pairs, so that its BatchNorms are not trivial."""
    try:
        predictor = load(name, "cpu")
        assert isinstance(predictor, NetworkPredictor)
        return predictor.network
    except UserError:
        torch.manual_seed(0)
        network = leadline.create(name).train()
        images = torch.rand(len(VIEWS[network.task]), 2, 3, *size).unbind()
        with torch.no_grad():
            network(*images)
        return network.eval()


def attempt(network: Network, target: str, size: tuple[int, int]) -> dict[str, object]:
    """One cell of the table."""
    height, width = size
    row = {"network": network.name, "target": target, "size": f"{height}x{width}", "unit": OUTPUT[network.task][1]}
    empty = {"status": "", "mean_difference": None, "max_difference": None, "bytes": None, "reason": ""}
    pairs = f"procedural:2,seed=4242,size={height}x{width}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            artifact = export(network, target, folder, size, verify_on=pairs)
        except UserError as error:
            return {**row, **empty, "status": "refused", "reason": str(error)[:REASON_LENGTH]}
        record = artifact.manifest.verification
        return {
            **row,
            "status": record["status"],
            "mean_difference": _short(record.get("mean_difference")),
            "max_difference": _short(record.get("max_difference")),
            "bytes": artifact.manifest.bytes,
            "reason": record.get("reason", "")[:REASON_LENGTH],
        }


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def cell(row: dict | None) -> str:
    if row is None:
        return "–"
    return str(row["mean_difference"]) if row["status"] == "verified" else "✗"


def page(rows: list[dict], options: argparse.Namespace, machine: str) -> str:
    """docs/targets.md"""
    targets = [target for target in TARGETS if any(row["target"] == target for row in rows)]
    lines = [
        "# Networks and targets",
        "",
        "Written by `python benchmarks/targets.py`, which exports every network to every target, runs the result in",
        f"its runtime on two rendered scenes of {options.size}, and compares it with PyTorch. A number is the mean",
        "absolute difference of a model that was verified: px of disparity or flow, values of frames in [0, 1], or",
        "metres; ✗ is explained below, – has not been measured. Networks without shipped weights are untrained here.",
        "",
        "| network | " + " | ".join(targets) + " |",
        "| --- |" + " ---: |" * len(targets),
    ]
    for network in dict.fromkeys(row["network"] for row in rows):
        cells = {row["target"]: row for row in rows if row["network"] == network}
        shown = [cell(cells.get(target)) for target in targets]
        lines.append(f"| {network} | " + " | ".join(shown) + " |")
    failures = [row for row in rows if row["status"] != "verified"]
    if failures:
        lines += ["", "## What does not work, and why", ""]
        lines += [f"- **{row['network']} → {row['target']}** ({row['status']}): {row['reason']}" for row in failures]
    return "\n".join([*lines, "", f"Measured on: {machine}.", ""])


if __name__ == "__main__":
    main()
