"""The ladder from a teacher to a small int8 model: distil, prune by BatchNorm's scales, fine-tune, QAT, export.

    python benchmarks/ladder.py --data folder:/data/samples [--teacher plummet-s] [--student plummet-s --init plummet-s]
        [--latency 0.6 | --macs 0.5] [--steps DISTIL FINETUNE QAT] [--sitting 200] [--measure | --draw]

Every rung is a checkpoint in --folder (runs/ladder); one that is there is not made again, and a training goes on where
it stopped, so the same command may be given until it says that all is done, with --sitting for pieces of so many
steps. The recipes are recipes/ladder/*.yaml. At the end each rung is exported to every installed runtime and measured
beside the others: benchmarks/results/ladder.csv, and the table of docs/compression/ladder.md, which --draw writes from
the CSV alone. Run the measurement (--measure) on a quiet machine: latencies are taken in it. What is measured is kept
in measured-RUNG.json; delete these to measure anew.

The pairs of --data are evaluated on and serve nothing else.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import leadline
from leadline import checkpoint
from leadline.artifacts import is_artifact
from leadline.cli.options import parse_size
from leadline.compress import prune, quantize
from leadline.deploy import TARGETS
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line
from leadline.training.recipe import check_recipe, dump_recipe, load_recipe
from leadline.zoo import find_checkpoint

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes" / "ladder"
CSV = ROOT / "benchmarks" / "results" / "ladder.csv"
PAGE = ROOT / "docs" / "compression" / "ladder.md"
BEGIN, END = "<!-- table: written by benchmarks/ladder.py -->\n", "<!-- end of table -->"
RUNGS = ("teacher", "distilled", "pruned", "finetuned", "quantized")
HELD_OUT = "procedural:24,seed=78,size=256x512"


class Unfinished(Exception):
    """A sitting is over and its rung is not."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FORMAT:PATH", help="real pairs with truth, to evaluate on")
    parser.add_argument("--teacher", default="plummet-s")
    parser.add_argument("--student", default="plummet-s", help="a network's name")
    parser.add_argument("--init", help="checkpoint that the student starts from; default: the seed")
    parser.add_argument("--latency", type=float, help="of the pruned network, as a share of the distilled one's")
    parser.add_argument("--macs", type=float, help="likewise")
    parser.add_argument("--runtime", default="pytorch", help="in which --latency is measured")
    parser.add_argument("--steps", nargs=3, type=int, metavar=("DISTIL", "FINETUNE", "QAT"))
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="of all recipes"
    )
    parser.add_argument("--sitting", type=int, metavar="STEPS", help="ends a sitting after so many steps of training")
    parser.add_argument("--folder", type=Path, default=Path("runs") / "ladder")
    parser.add_argument("--size", default="384x1248", metavar="HxW", help="of the timed pair and the exported models")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS), metavar="TARGET")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--measure", action="store_true", help="only measure the rungs that are there")
    parser.add_argument("--draw", action="store_true", help="only write the table from the CSV")
    options = parser.parse_args()
    if not options.draw:
        if not options.measure:
            try:
                climb(options)
            except Unfinished as rung:
                print(f"{rung}: not done yet, the same command goes on")
                return
        measure(options)
    fill_table()


def climb(options: argparse.Namespace) -> None:
    """Makes the rungs that are missing, in order."""
    for number, rung in enumerate(RUNGS):
        path = place(options, rung)
        if not path.is_file():
            print(f"{rung} ...", file=sys.stderr)
            MAKERS[rung](options, place(options, RUNGS[max(number - 1, 0)]), path)


def place(options: argparse.Namespace, rung: str) -> Path:
    return options.folder / f"{rung}.safetensors"


def copy_teacher(options: argparse.Namespace, before: Path, path: Path) -> None:
    write_whole(path, find_checkpoint(options.teacher).read_bytes())


def distil(options: argparse.Namespace, teacher: Path, path: Path) -> None:
    train(options, "distilled", 0, {"name": options.student}, options.init, place(options, "teacher"), path)


def prune_channels(options: argparse.Namespace, before: Path, path: Path) -> None:
    how = {"macs": options.macs} if options.macs else {"latency": options.latency or 0.6}
    network = prune(
        checkpoint.load_network(before),
        granularity="filter",
        criterion="bn-scale",
        runtime=options.runtime,
        threads=options.threads,
        round_to=8,  # whole vectors, which every runtime's kernels are written for
        **how,
    )
    checkpoint.save(network, path, {"made_from": before.name, "pruned_to": how})


def finetune(options: argparse.Namespace, before: Path, path: Path) -> None:
    about = checkpoint.read_about(before)
    network = {"name": about["network"], **about["config"]}
    train(options, "finetuned", 1, network, str(before), place(options, "teacher"), path)


def quantize_aware(options: argparse.Namespace, before: Path, path: Path) -> None:
    start = options.folder / "quantized-start.safetensors"
    if not start.is_file():
        checkpoint.save(quantize(checkpoint.load_network(before), bits=8, mode="static"), start)
    about = checkpoint.read_about(start)
    train(options, "quantized", 2, {"name": about["network"], **about["config"]}, str(start), before, path)


MAKERS: dict[str, Callable[[argparse.Namespace, Path, Path], None]] = {
    "teacher": copy_teacher,
    "distilled": distil,
    "pruned": prune_channels,
    "finetuned": finetune,
    "quantized": quantize_aware,
}


def train(
    options: argparse.Namespace,
    rung: str,
    number: int,
    network: dict[str, Any],
    init: str | None,
    teacher: Path,
    path: Path,
) -> None:
    """A rung's training, or the next piece of it."""
    content = dump_recipe(load_recipe(RECIPES / f"{rung}.yaml", options.changes))
    content |= {"network": network, "init": init}
    content["distill"]["teacher"] = str(teacher)
    if options.steps:
        content["steps"] = options.steps[number]
    done = leadline.train(check_recipe(content), options.folder / rung, stop_after=options.sitting)
    if done.name == "latest.safetensors":
        raise Unfinished(rung)
    write_whole(path, done.read_bytes())


def measure(options: argparse.Namespace) -> None:
    """Exports every rung, and writes accuracy, size and latency of all of it; a rung that is measured is not again."""
    rows = []
    for rung in RUNGS:
        kept = options.folder / f"measured-{rung}.json"
        if not kept.is_file() and place(options, rung).is_file():
            print(f"measuring {rung} ...", file=sys.stderr)
            write_whole(kept, json.dumps(measure_rung(options, rung), indent=1).encode())
        if kept.is_file():
            rows += json.loads(kept.read_text(encoding="utf-8"))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(max(rows, key=len)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(CSV, text.getvalue().encode())


def measure_rung(options: argparse.Namespace, rung: str) -> list[dict[str, Any]]:
    """A row for PyTorch and one for each runtime."""
    size, data = parse_size(options.size), absolute(options.data)
    procedural = epe_on_rendered(place(options, rung))
    home = Path.cwd()
    os.chdir(options.folder)  # so that the table names artifacts by their folders alone
    try:
        found = leadline.benchmark(
            [f"{rung}.safetensors", *exported(rung, size, options.targets)],
            data,
            size=size,
            threads=options.threads,
            rounds=options.rounds,
            progress=lambda line: print(line, file=sys.stderr),
        )
    finally:
        os.chdir(home)
    for problem in found.problems:
        print(f"left out: {problem}", file=sys.stderr)
    rows = []
    for row in (row.flat() for row in found.rows):
        runtime = "pytorch" if row["model"].endswith(".safetensors") else row["model"].rpartition("/")[2]
        told = {"rung": rung, "runtime": runtime, "procedural EPE px": procedural}
        rows.append(told | row | describe_machine())
    return rows


def absolute(data: str | None) -> str | None:
    kind, colon, path = (data or "").partition(":")
    return f"{kind}:{Path(path).resolve()}" if colon and Path(path).exists() else data


def exported(rung: str, size: tuple[int, int], targets: list[str]) -> list[str]:
    """A rung as an artifact of every target whose libraries are here."""
    network = checkpoint.load_network(f"{rung}.safetensors")
    folders = []
    for target in targets:
        folder = Path(rung) / "exported" / target
        try:
            if not is_artifact(folder):
                about = TARGETS[target]
                leadline.export(network, target, folder.parent, size, dynamic=about.dynamic, verify_on=None)
            folders.append(str(folder))
        except UserError as error:
            print(f"{rung} to {target}, left out: {error}", file=sys.stderr)
    return folders


def epe_on_rendered(path: Path) -> float:
    """The mean error on held-out rendered pairs, px."""
    from leadline.evaluation.metrics import StereoSums

    predictor, total = leadline.load(path), None
    for sample in leadline.open_data(HELD_OUT):
        sums = StereoSums.of(predictor.predict(*sample.images), sample.disparity, sample.valid)
        total = sums if total is None else total + sums
    assert total is not None
    return round(float(total.metrics()["epe"] or 0.0), 4)


def fill_table() -> None:
    """Writes the table of the page between its marks."""
    if not PAGE.is_file() or not CSV.is_file():
        return
    with CSV.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    machine = {key: rows[0][key] for key in ("cpu", "cores", "gpu", "torch", "python", "system", "load", "date")}
    lines = [*table(rows), "", f"Measured on: {one_line(machine)}; {rows[0]['threads']} thread(s), {rows[0]['size']}."]
    write_whole(PAGE, (before + BEGIN + "\n".join(lines) + "\n" + rest[rest.index(END) :]).encode())


def table(rows: list[dict[str, str]]) -> list[str]:
    """One line per rung: its accuracy and size in PyTorch, and the latency in each runtime ."""
    runtimes = list(dict.fromkeys(row["runtime"] for row in rows))
    accuracy = [key for key in rows[0] if key in ("epe_px", "d1_percent")]
    labels = {"epe_px": "EPE px", "d1_percent": "D1 %"}
    head = ["rung", "parameters", "GMAC", "checkpoint MB", "procedural EPE px", *(labels[key] for key in accuracy)]
    head += [f"{runtime} ms · {labels[accuracy[0]]}" if accuracy else f"{runtime} ms" for runtime in runtimes]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for rung in dict.fromkeys(row["rung"] for row in rows):
        of_rung = {row["runtime"]: row for row in rows if row["rung"] == rung}
        own = of_rung.get("pytorch", next(iter(of_rung.values())))
        cells = [rung, own["parameters"], number(own["gmac"], 2), number(own["file_mb"], 2)]
        cells += [number(own["procedural EPE px"], 3), *(number(own[key], 2) for key in accuracy)]
        for runtime in runtimes:
            row = of_rung.get(runtime)
            if row is None:
                cells.append("–")
            else:
                told = f" · {number(row[accuracy[0]], 2)}" if accuracy else ""
                cells.append(f"{number(row['median_ms'], 1)}{told}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def number(text: str, digits: int) -> str:
    return f"{float(text):.{digits}f}" if text else "–"


if __name__ == "__main__":
    main()
