"""What quantisation costs and what it gives: the table of docs/quantization.md.

    python benchmarks/quantization.py --data folder:/data/samples [--models plummet-s ...] [--steps 300] [--latency]

Every model × {float, static int8 symmetric and asymmetric, dynamic int8, QAT int8, W4A8, W4A4, 1 bit} is made, and its
EPE and D1 measured on real and on procedural pairs, and its bytes on disk. With --latency every variant is exported to
ONNX, OpenVINO and TFLite as well, unless that was done before, and timed there, in turns. Rows are written as they are
done, and what stands in the table already is not made again: the same command goes on after an interruption. A model
without weights is left out. Writes benchmarks/results/quantization.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import leadline
from leadline.artifacts.artifact import Artifact, is_artifact, load_artifact
from leadline.cli.options import parse_size
from leadline.compress import quantize
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.machine import describe_machine
from leadline.models import Network
from leadline.predict import NetworkPredictor
from leadline.zoo import find_checkpoint

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "quantization.md"
BEGIN, END = (
    "<!-- quantization table: written by benchmarks/quantization.py -->",
    "<!-- end of quantization table -->",
)
CSV = ROOT / "benchmarks" / "results" / "quantization.csv"
PROCEDURAL = "procedural:8,seed=92000000,size=256x512"  # scenes that nothing else sees
RUNTIMES = ("onnx", "openvino", "tflite")

# plummet's 1x1 convolutions: 4 % of its weights, through which all features pass
ONE_BY_ONE = dict.fromkeys(("encoder.match_*", "encoder.down_*", "aggregation.[ej]*", "aggregation.up_*"), 8)
# MobileStereoNet-2D's volume computes a sum of absolute differences, which statistics of small batches would spoil.
VOLUME = ["conv3d*", "volume11*"]

VARIANTS: dict[str, dict[str, Any] | None] = {
    "float": None,
    "static int8 symmetric": {"scheme": "symmetric"},
    "static int8 asymmetric": {},
    "static int8, all outputs": {"outputs": "all"},
    "static int8, mse": {"observer": "mse"},
    "static int8, histogram": {"observer": "histogram"},
    "static int8, percentile": {"observer": "percentile"},
    "static int8, kl": {"observer": "kl"},
    "dynamic int8": {"mode": "dynamic"},
    "int8 weights only": {"weights_only": True},
    "QAT int8": {"mode": "qat"},
    "W4A8 nearest": {"bits": 4, "rounding": "nearest", "observer": "mse"},
    "W4A8": {"bits": 4, "observer": "mse"},
    "W4A8 QAT": {"bits": 4, "observer": "mse", "mode": "qat"},
    "W4A4": {"bits": 4, "activation_bits": 4, "observer": "mse"},
    "W4A4 QAT": {"bits": 4, "activation_bits": 4, "observer": "mse", "mode": "qat"},
    "1 bit": {"bits": 1, "observer": "mse", "mode": "qat"},
    "1 bit, 1x1 in 8, taught": {"bits": {"*": 1} | ONE_BY_ONE, "observer": "mse", "mode": "qat", "taught": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH", help="real pairs with ground truth")
    parser.add_argument("--models", nargs="+", default=["plummet-s", "plummet-m", "mobilestereonet-2d"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=300, help="of training, for those that are trained")
    parser.add_argument("--batch", type=int, default=8, help="pairs of a step; 2 where memory is short")
    parser.add_argument("--crop", default="160x320", metavar="HxW", help="of the pairs of a step")
    parser.add_argument("--limit", type=int, help="only so many real pairs")
    parser.add_argument("--size", default="384x1248", metavar="HxW", help="of the exported models and the timed pair")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--latency", action="store_true", help="export and time each variant too")
    parser.add_argument("--work", type=Path, default=Path("runs/quantization"), help="checkpoints, runs, artifacts")
    options = parser.parse_args()
    rows = read()
    for model in options.models:
        try:
            network = leadline.load(model, "cpu").network  # type: ignore[attr-defined]
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        for variant in options.variants:
            key = f"{model}/{variant}/{options.steps if is_trained(variant) else 0}"
            if key not in rows:
                print(key, file=sys.stderr, flush=True)
                rows[key] = measure(network, model, variant, options) | describe_machine()
                write(rows)
            if options.latency and not all(rows[key].get(f"{runtime}_ms") for runtime in RUNTIMES):
                rows[key] |= latencies(checkpoint(model, variant, options), options)
                write(rows)
    shown = table(rows)
    print(shown)
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    write_whole(PAGE, f"{before}{BEGIN}\n{shown}\n{END}{rest.split(END)[1]}".encode())


def is_trained(variant: str) -> bool:
    return (VARIANTS[variant] or {}).get("mode") == "qat"


def slug(text: str) -> str:
    return text.replace(" ", "-").replace(",", "")


def checkpoint(model: str, variant: str, options: argparse.Namespace) -> Path:
    if VARIANTS[variant] is None:
        return find_checkpoint(model)
    steps = f"-{options.steps}" if is_trained(variant) else ""
    return options.work / f"{slug(model)}-{slug(variant)}{steps}.safetensors"


def measure(network: Any, model: str, variant: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row: the variant is made where it is not there yet, and measured."""
    path, how = checkpoint(model, variant, options), VARIANTS[variant]
    has_volume = model.startswith("mobilestereonet-2d")
    if has_volume and how is not None and how.get("bits") == 1:
        how = how | {"bits": {"*": 1} | dict.fromkeys(VOLUME, 8)}
    if not path.is_file() and how is not None:
        training = {}
        if is_trained(variant):
            teacher = model if how.get("taught") else None
            told = recipe(how.get("bits", 8), teacher, options) | seen_before(network)
            if has_volume:
                told["freeze"] = VOLUME
            training = {"finetune": told, "folder": path.with_suffix("")}
        leadline.save(quantize(network, **{k: v for k, v in how.items() if k != "taught"}, **training), path)
    predictor = leadline.load(path, "cpu")
    assert isinstance(predictor, NetworkPredictor)
    if how is None:  # shipped weights may be stored in half
        path = leadline.save(network, options.work / f"{slug(model)}-float32.safetensors")
    row: dict[str, Any] = {
        "model": model, "variant": variant, "steps": options.steps if is_trained(variant) else 0,
        "bytes": path.stat().st_size,
    }  # fmt: skip
    for name, data, limit in (("real", options.data, options.limit), ("procedural", PROCEDURAL, None)):
        results = leadline.evaluate({"it": predictor}, data, limit=limit)
        mean = results.over_samples("it")
        row |= {f"{name}_epe_px": round(mean["epe"], 4), f"{name}_d1_percent": round(mean["d1"], 3)}
        row[f"{name}_samples"] = len(results.rows)
    return row | {f"{runtime}_{what}": "" for runtime in RUNTIMES for what in ("ms", "bytes", "status")}


def recipe(bits: int | dict[str, int], teacher: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """Training on procedural scenes; the fewer the bits, the larger the steps. A teacher shows its scores, too."""
    crop = parse_size(options.crop)
    rate = {8: 5e-5, 4: 2e-4, 1: 1e-3}[bits["*"] if isinstance(bits, dict) else bits]
    taught = {"distill": {"teacher": teacher, "losses": [{"name": "distribution"}, {"name": "target", "weight": 0.5}]}}
    return {
        "name": "quantized",
        "network": {"name": "filled-in"},
        "data": [{"source": "procedural", "scenes": {"max_disparity": 188}}],
        "crop": list(crop),
        "render_size": [side * 7 // 5 for side in crop],
        "batch": options.batch,
        "reuse": 3,
        "steps": options.steps,
        "seed": 21,
        "augment": {"brightness": 0.1, "contrast": 0.15, "saturation": 0.2, "asymmetric": 0.3, "occluders": 0.2},
        "losses": [
            {"name": "smooth_l1", "weight": 0.5, "over": "all"},
            {"name": "disparity_cross_entropy", "weight": 1.0, "diversity": 0.5},
        ],
        "optimizer": {"name": "adamw", "lr": rate, "weight_decay": 1e-4},
        "schedule": {"name": "cosine", "warmup": min(30, options.steps // 5)},
        "precision": "bf16",
        "ema": 0.99,
        "clip": 1.0,
        "threads": 1,
        "workers": 1,
        "checkpoint": {"every": 50},
        "log": {"every": 20, "images_every": 0},
    } | (taught if teacher else {})


def seen_before(network: Network) -> dict[str, Any]:
    """The scenes and the augmentation that the weights were trained with: other ones would move their error as well."""
    before = network.provenance.get("recipe", {})
    return {key: before[key] for key in ("data", "augment") if key in before}


def latencies(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds in each runtime, whole prediction, median; what a target refuses stands there with its status."""
    size, found = parse_size(options.size), {}
    network = leadline.load(path, "cpu").network  # type: ignore[attr-defined]
    folders = {}
    for runtime in RUNTIMES:
        try:
            artifact = exported(network, runtime, options.work / path.stem, size)
        except UserError as error:
            found |= {f"{runtime}_ms": "–", f"{runtime}_bytes": "", f"{runtime}_status": str(error)[:120]}
            continue
        found |= {
            f"{runtime}_bytes": artifact.manifest.bytes,
            f"{runtime}_status": artifact.manifest.verification["status"],
        }
        folders[runtime] = str(artifact.folder)
    timed = leadline.benchmark(list(folders.values()), size=size, threads=options.threads, rounds=options.rounds)
    for runtime, row in zip(folders, timed.rows, strict=True):
        found[f"{runtime}_ms"] = row.median_ms
    return found


def exported(network: Network, runtime: str, folder: Path, size: tuple[int, int]) -> Artifact:
    """The network in a runtime, from an earlier call if it is of this size and was verified."""
    if is_artifact(folder / runtime):
        artifact = load_artifact(folder / runtime)
        if tuple(artifact.manifest.size or ()) == size and artifact.manifest.verification.get("status"):
            return artifact
    return leadline.export(network, runtime, folder, size)


def read() -> dict[str, dict[str, Any]]:
    if not CSV.is_file():
        return {}
    with CSV.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {f"{row['model']}/{row['variant']}/{row['steps']}": row for row in rows}


def write(rows: dict[str, dict[str, Any]]) -> None:
    machine = list(describe_machine())
    columns = [name for name in next(iter(rows.values())) if not name.startswith(RUNTIMES) and name not in machine]
    columns += [f"{runtime}_{what}" for runtime in RUNTIMES for what in ("ms", "bytes", "status")]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*columns, *machine], lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows.values())
    write_whole(CSV, text.getvalue().encode())


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The table as the page shows it; losses are relative to the model's float row."""
    lines = [
        "| model | variant | steps | kB | smaller | EPE real | loss | D1 real | EPE procedural | loss "
        "| ONNX ms | OpenVINO ms | TFLite ms |",
        "| --- | --- |" + " ---: |" * 11,
    ]
    for row in rows.values():
        base = rows.get(f"{row['model']}/float/0", row)
        losses = [f"{100 * (float(row[k]) / float(base[k]) - 1):+.1f} %" for k in ("real_epe_px", "procedural_epe_px")]
        lines.append(
            f"| {row['model']} | {row['variant']} | {row['steps']} | {int(row['bytes']) / 1e3:.0f} | "
            f"{int(base['bytes']) / int(row['bytes']):.1f} × | {float(row['real_epe_px']):.3f} | {losses[0]} | "
            f"{float(row['real_d1_percent']):.2f} | {float(row['procedural_epe_px']):.3f} | {losses[1]} | "
            f"{row.get('onnx_ms') or ''} | {row.get('openvino_ms') or ''} | {row.get('tflite_ms') or ''} |"
        )
    days = sorted({row["date"] for row in rows.values()})
    machines = sorted({f"{row['cpu']} ({row['cores']} cores)" for row in rows.values()})
    about = f"Rows from {days[0]} to {days[-1]}, on {' and '.join(machines)}; the CSV says which."
    return "\n".join([*lines, "", about])


if __name__ == "__main__":
    main()
