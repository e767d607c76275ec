"""Every network × every target, by doing it: the table of docs/targets.md and benchmarks/results/targets.csv.

    python benchmarks/targets.py [--size 96x256] [--networks plummet-s ...] [--targets onnx ...]

Each network is exported with `leadline.export` to each target, loaded into its runtime, and compared with PyTorch on
two rendered pairs. The networks that ship without weights are taken as they are created, with BatchNorm statistics
from one batch. What does not work stands in the table with its reason. The extras of all targets must be installed.
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
from leadline.predict import NetworkPredictor
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
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    size = parse_size(options.size)
    rows = []
    for name in options.networks:
        network = prepare(name, size)
        for target in options.targets:
            rows.append(attempt(network, target, size))
            print(name, target, rows[-1]["status"], rows[-1]["mean_difference_px"], rows[-1]["reason"], flush=True)
        if not options.dry:
            write(rows, options)  # after each network, as a run takes long


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The table as CSV and as a page."""
    machine = describe_machine()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*rows[0], *machine], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | machine for row in rows)
    write_whole(CSV, text.getvalue().encode())
    write_whole(PAGE, page(rows, options, one_line(machine)).encode())


def prepare(name: str, size: tuple[int, int]) -> Network:
    """The shipped network, or one that has seen a batch of pairs, so that its BatchNorms are not trivial."""
    try:
        predictor = load(name, "cpu")
        assert isinstance(predictor, NetworkPredictor)
        return predictor.network
    except UserError:
        torch.manual_seed(0)
        network = leadline.create(name).train()
        pair = torch.rand(2, 2, 3, *size).unbind()
        with torch.no_grad():
            network(*pair)
        return network.eval()


def attempt(network: Network, target: str, size: tuple[int, int]) -> dict[str, object]:
    """One cell of the table."""
    height, width = size
    row = {"network": network.name, "target": target, "size": f"{height}x{width}"}
    empty = {"status": "", "mean_difference_px": None, "max_difference_px": None, "bytes": None, "reason": ""}
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
            "mean_difference_px": _short(record.get("mean_difference")),
            "max_difference_px": _short(record.get("max_difference")),
            "bytes": artifact.manifest.bytes,
            "reason": record.get("reason", "")[:REASON_LENGTH],
        }


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def page(rows: list[dict], options: argparse.Namespace, machine: str) -> str:
    """docs/targets.md"""
    targets = list(dict.fromkeys(row["target"] for row in rows))
    lines = [
        "# Networks and targets",
        "",
        "Written by `python benchmarks/targets.py`, which exports every network to every target, runs the result in",
        f"its runtime on two rendered pairs of {options.size}, and compares it with PyTorch. A number is the mean",
        "absolute difference in px of a model that was verified; ✗ is explained below.",
        "",
        "| network | " + " | ".join(targets) + " |",
        "| --- |" + " ---: |" * len(targets),
    ]
    for network in dict.fromkeys(row["network"] for row in rows):
        cells = {row["target"]: row for row in rows if row["network"] == network}
        shown = [cells[t]["mean_difference_px"] if cells[t]["status"] == "verified" else "✗" for t in targets]
        lines.append(f"| {network} | " + " | ".join(str(cell) for cell in shown) + " |")
    failures = [row for row in rows if row["status"] != "verified"]
    if failures:
        lines += ["", "## What does not work, and why", ""]
        lines += [f"- **{row['network']} → {row['target']}** ({row['status']}): {row['reason']}" for row in failures]
    return "\n".join([*lines, "", f"Measured on: {machine}.", ""])


if __name__ == "__main__":
    main()
