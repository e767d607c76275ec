"""How near each runtime comes to what the machine allows: benchmarks/results/roofline.csv and its picture.

    python benchmarks/roofline.py [--networks plummet-s ...] [--size 384x1248] [--threads 2] [--rounds 7]

First the ceilings: multiply-accumulates per second of the best large matrix product, in fp32 and in int8, and bytes per
second of a copy that no cache holds. Then the floor of a network: of each operation of its graph, BatchNorm folded, the
longer of its multiply-accumulates at the ceiling and of its bytes (what it reads, writes, and its weights) at the
bandwidth; what works pixel by pixel (ReLU, sums) counts as done on the way, and so do views. A tensor that stays in a
cache is faster than that, so that a runtime could beat the floor of a small image. At last the runtimes, in turns, each
with its share of the floor: 100 % would be a machine that never waits.

The first row is PyTorch as one calls it, channels first and without gradients (of MobileStereoNet-2D: with its volume
in a plain loop over disparities, as its authors publish it), and the others say how much faster they are than that.
Untrained networks are timed as they are created. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

import leadline
from leadline.cli.options import parse_size
from leadline.deploy.fold import fold_batchnorm
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line, pin_threads
from leadline.models import Network
from leadline.nn.forms import few_operations
from leadline.predict.predictor import VIEWS
from leadline.zoo import WEIGHTS

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "roofline.csv"
PICTURE = ROOT / "docs" / "images" / "roofline.png"
NETWORKS = ("plummet-s", "plummet-m", "mobilestereonet-2d")
TARGETS = ("onnx", "openvino", "tflite", "tflite-int8")


@dataclass(frozen=True)
class Ceilings:
    """Of this machine, with the threads that were asked for."""

    float32: float  # multiply-accumulates per second
    int8: float
    bandwidth: float  # bytes per second


@dataclass
class Operation:
    name: str
    macs: int
    elements: int  # read and written, weights included


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--size", default="384x1248", metavar="HxW")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    size = parse_size(options.size)
    machine = describe_machine()
    pin_threads(options.threads)
    ceilings = measure_ceilings()
    print(
        f"{ceilings.float32 / 1e9:.0f} GMAC/s fp32, {ceilings.int8 / 1e9:.0f} int8, {ceilings.bandwidth / 1e9:.1f} GB/s"
    )
    rows = [row for row in measured() if row["network"] not in options.networks]
    for name in options.networks:
        rows += [row | machine for row in network_rows(name, size, options.threads, options.rounds, ceilings)]
        write(rows)
    draw(rows)
    print(one_line(machine))


def measure_ceilings() -> Ceilings:
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    small = [torch.randint(-128, 127, (2048, 2048), dtype=torch.int8) for _ in range(2)]
    big = torch.zeros(64 << 20)  # 256 MB
    other = torch.empty_like(big)
    macs = 2048**3
    return Ceilings(
        macs / fastest(lambda: a @ b),
        macs / fastest(lambda: torch._int_mm(*small)),
        2 * big.nbytes / fastest(lambda: other.copy_(big)),
    )


def fastest(run: Callable[[], Any], rounds: int = 15) -> float:
    """Seconds of the fastest round."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


class Ledger(fx.Interpreter):
    """Runs a graph and notes what each operation computes, reads and writes."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self.operations: list[Operation] = []

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        if n.op == "call_function" and isinstance(n.target, torch._ops.OpOverload):
            tags = n.target.tags
            is_view = n.target.is_view or any(a.alias_info is not None for a in n.target._schema.returns)
            if not is_view and torch.Tag.pointwise not in tags:
                inputs = [self.env[node] for node in n.all_input_nodes]
                tensors = [t for t in (*inputs, result) if isinstance(t, Tensor)]
                macs = counter.get_total_flops() // 2
                self.operations.append(Operation(n.target.name(), macs, sum(t.numel() for t in tensors)))
        return result


@torch.no_grad()
def ledger(network: Network, size: tuple[int, int]) -> list[Operation]:
    images = tuple(torch.rand(1, 3, *size) for _ in VIEWS[network.task])
    with few_operations():
        book = Ledger(fold_batchnorm(network, images))
    book.run(*images)
    return book.operations


def floor_seconds(operations: list[Operation], ceilings: Ceilings, kind: str = "float32") -> float:
    rate, width = (ceilings.int8, 1) if kind == "int8" else (ceilings.float32, 4)
    return sum(max(op.macs / rate, op.elements * width / ceilings.bandwidth) for op in operations)


def network_rows(name: str, size: tuple[int, int], threads: int, rounds: int, ceilings: Ceilings) -> list[dict]:
    trained = (WEIGHTS / f"{name}.safetensors").is_file()
    network: Network = leadline.load(name, "cpu").network if trained else leadline.create(name).eval()  # type: ignore[attr-defined]
    operations = ledger(network, size)
    floors = {kind: floor_seconds(operations, ceilings, kind) * 1000 for kind in ("float32", "int8")}
    about = {
        "network": name,
        "size": f"{size[0]}x{size[1]}",
        "threads": threads,
        "gmac": round(sum(op.macs for op in operations) / 1e9, 2),
        "gigabytes_fp32": round(sum(op.elements for op in operations) * 4 / 1e9, 3),
        "ceiling_gmac_fp32": round(ceilings.float32 / 1e9, 1),
        "ceiling_gmac_int8": round(ceilings.int8 / 1e9, 1),
        "ceiling_gb": round(ceilings.bandwidth / 1e9, 1),
    }
    how, measure = ("plain loop", naive_ms) if name == "mobilestereonet-2d" else ("plain", forward_ms)
    plain = measure(network, size, rounds)
    rows = [about | {"runtime": f"pytorch, {how}", "kind": "float32", "ms": plain}]
    for runtime, milliseconds in runtime_ms(network, size, threads, rounds).items():
        kind = "int8" if "int8" in runtime else "float32"
        rows.append(about | {"runtime": runtime, "kind": kind, "ms": milliseconds})
    for row in rows:
        row["floor_ms"] = round(floors[row["kind"]], 1)
        row["of_floor"] = round(floors[row["kind"]] / row["ms"], 3)
        row["faster_than_plain"] = round(plain / row["ms"], 2)
        print(
            f"{name} {row['runtime']}: {row['ms']:.1f} ms, floor {row['floor_ms']} ms, {row['of_floor']:.0%}",
            flush=True,
        )
    return rows


def runtime_ms(network: Network, size: tuple[int, int], threads: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of `predict` in each runtime, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        saved = str(leadline.save(network, Path(folder) / "pytorch.safetensors"))
        models = {saved: "pytorch"}
        for target in TARGETS:
            if export_apart(saved, target, folder, size):
                models[f"{folder}/{target}"] = target
        quantized = f"{folder}/int8.safetensors"
        if apart("compress", "quantize", saved, "--bits", "8", "-o", quantized) and export_apart(
            quantized, "openvino", f"{folder}/int8", size
        ):
            models[f"{folder}/int8/openvino"] = "openvino, int8"
        found = leadline.benchmark(list(models), size=size, threads=threads, rounds=rounds)
    return {models[row.model]: row.median_ms for row in found.rows}


def export_apart(checkpoint: str, target: str, folder: str, size: tuple[int, int]) -> bool:
    return apart("export", checkpoint, "--to", target, "--size", f"{size[0]}x{size[1]}", "--no-verify", "-o", folder)


def apart(*command: str) -> bool:
    """A command of leadline in a process of its own, as converters keep gigabytes; whether that worked."""
    done = subprocess.run([sys.executable, "-m", "leadline", *command], capture_output=True, text=True)
    if done.returncode:
        told = "killed" if done.returncode < 0 else (done.stderr.splitlines() or ["no word"])[-1]
        print(f"left out: {' '.join(command)}: {told}")
    return done.returncode == 0


@torch.no_grad()
def forward_ms(network: Network, size: tuple[int, int], rounds: int) -> float:
    """Median of a forward in PyTorch, channels first."""
    images = [torch.rand(1, 3, *size) for _ in VIEWS[network.task]]
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    network(*images)
    taken = sorted(fastest(lambda: network(*images), 1) for _ in range(rounds))
    return round(taken[len(taken) // 2] * 1000, 1)


@torch.no_grad()
def naive_ms(network: Network, size: tuple[int, int], rounds: int) -> float:
    """Of MobileStereoNet-2D with its volume computed one disparity at a time, the way its authors publish it."""
    from volume_throughput import loop_volume

    from leadline.models import mobilestereonet

    left, right = (torch.rand(1, 3, *size) for _ in range(2))
    ours = network(left, right)
    kept = mobilestereonet.interlaced_volume
    mobilestereonet.interlaced_volume = lambda left, right, *_: loop_volume(left, right, network)  # type: ignore[arg-type,assignment]
    try:
        off = (network(left, right) - ours).abs().max().item()
        if off > 1e-2:
            raise SystemExit(f"the plain loop differs by {off:.2g} px: nothing measured")
        return forward_ms(network, size, rounds)
    finally:
        mobilestereonet.interlaced_volume = kept


def measured() -> list[dict]:
    """The rows of networks that were measured before; a call's networks replace their own."""
    if not CSV.is_file():
        return []
    with CSV.open(newline="") as file:
        rows: list[dict] = list(csv.DictReader(file))
    return [row | {key: float(row[key]) for key in ("gmac", "ms", "floor_ms", "of_floor")} for row in rows]


def write(rows: list[dict]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    print(write_whole(CSV, text.getvalue().encode()))


def draw(rows: list[dict]) -> None:
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(4 * len(names), 3.4), layout="constrained")
    for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        of_it = [row for row in rows if row["network"] == name]
        panel.barh([row["runtime"] for row in of_it], [row["ms"] for row in of_it], color="C0", label="measured")
        panel.barh([row["runtime"] for row in of_it], [row["floor_ms"] for row in of_it], color="C1", label="floor")
        for place, row in enumerate(of_it):
            panel.text(row["ms"], place, f" {row['of_floor']:.0%}", va="center", fontsize=8)
        panel.margins(x=0.18)
        panel.invert_yaxis()
        panel.set(title=f"{name}, {of_it[0]['gmac']:.1f} GMAC", xlabel=f"ms, {of_it[0]['size']}")
    figure.axes[0].legend(frameon=False, fontsize=8)
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="png")
    print(write_whole(PICTURE, image.getvalue()))


if __name__ == "__main__":
    main()
