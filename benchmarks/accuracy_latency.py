"""Accuracy against latency of what ships, beside what else there is: the table and the picture of docs/deploy.md.

    python benchmarks/accuracy_latency.py --data folder:/data/samples [--threads 2] [--folder out/latency] [MODEL ...]

`leadline benchmark` for a fixed list: plummet-s, plummet-m and plummet-r in PyTorch and, exported first, in every
installed runtime (the larger two in the fastest ones), and in 8 bits in OpenVINO, with float32 and with bfloat16
between them; the classical algorithms; and MobileStereoNet-2D, whose weights do not ship, for its latency alone. All
models at once would need more than 24 GB: a network takes turns with its artifacts, one network after the other. With
--folder the artifacts stay, and those that are there are taken as they are. Writes
benchmarks/results/accuracy_latency.csv and docs/images/accuracy_latency.png.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import leadline
import leadline.compress
from leadline.artifacts.artifact import is_artifact
from leadline.cli.benchmark import print_table
from leadline.cli.options import parse_size
from leadline.deploy import TARGETS
from leadline.errors import UserError
from leadline.models.network import Network

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "accuracy_latency.csv"
PICTURE = ROOT / "docs" / "images" / "accuracy_latency.png"
FASTEST = ("onnx", "openvino", "openvino-bfloat16", "tflite")
# plummet-r in tflite-int8: its calibration at full size needs more than 24 GB. plummet-m in TFLite: slow, as plummet-r.
EXPORTED = {"plummet-s": tuple(TARGETS), "plummet-m": FASTEST[:3], "plummet-r": FASTEST}
IN_INTEGERS = ("openvino", "openvino-bfloat16")
CLASSICAL = ["sgbm", "sgbm-padded", "bm"]
UNTRAINED = ("mobilestereonet-2d",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="instead of the list above: names, checkpoints, artifacts")
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH", help="pairs with ground truth")
    parser.add_argument("--size", default="384x1248", metavar="HxW", help="of the timed pair and the exported models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="for the artifacts [a temporary one]")
    parser.add_argument("--export-only", action="store_true", help="measure nothing; for --folder")
    options = parser.parse_args()
    if options.export_only and not options.folder:
        parser.error("--export-only needs --folder")
    size = parse_size(options.size)
    kind, _, path = options.data.partition(":")
    data = f"{kind}:{Path(path).resolve()}" if Path(path).exists() else options.data
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        groups, untrained = [options.models], ()
        if not options.models:
            os.chdir(folder)  # so that the table names artifacts by their folders alone
            groups, untrained = [*([name, *exported(name, size)] for name in EXPORTED), CLASSICAL], UNTRAINED
        if options.export_only:
            return
        parts = [
            leadline.benchmark(
                group,
                data,
                size=size,
                threads=options.threads,
                rounds=options.rounds,
                untrained=untrained if group is groups[-1] else (),
                progress=lambda line: print(line, file=sys.stderr),
            )
            for group in groups
        ]
    found = parts[0]
    for part in parts[1:]:
        found.rows += part.rows
        found.problems += [problem for problem in part.problems if problem not in found.problems]
    print_table(found)
    print(found.to_csv(CSV))
    print(found.draw(PICTURE))


def exported(name: str, size: tuple[int, int]) -> list[str]:
    """A network as an artifact of each of its targets whose libraries are here, of free size where one may choose."""
    network = leadline.load(name, "cpu").network  # type: ignore[attr-defined]
    in_integers = leadline.compress.quantize(network)
    folders = [one(network, target, name, size, dynamic=TARGETS[target].dynamic) for target in EXPORTED[name]]
    folders += [one(in_integers, target, f"{name}-int8", size) for target in IN_INTEGERS]
    return [folder for folder in folders if folder]


def one(network: Network, target: str, name: str, size: tuple[int, int], dynamic: bool = False) -> str | None:
    """The folder of an artifact, made where it is not there yet; None where it cannot be."""
    folder = Path(name) / target
    if is_artifact(folder):
        return str(folder)
    print(f"exporting {name} to {target}", file=sys.stderr)
    try:
        leadline.export(network, target, name, size, dynamic=dynamic, verify_on=None)
    except UserError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    return str(folder)


if __name__ == "__main__":
    main()
