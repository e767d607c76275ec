"""Where a network's time goes in float and in int8, kernel by kernel: benchmarks/results/int8_time.csv.

    python benchmarks/int8_time.py [--network plummet-s] [--size 384x1248] [--threads 2]

The network and its static int8 form are exported to OpenVINO, which tells how long each kernel took. Convolutions gain
what integers give; the rest (the correlation, soft-argmin, upsampling, tensors put into another order) stays, and
bounds the whole: with a share r of the float time outside of convolutions, no int8 is faster than 1 / r.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import openvino
from _slim import Table

import leadline
from leadline.cli.options import parse_size
from leadline.compress import quantize
from leadline.models import Network
from leadline.predict.predictor import VIEWS

CSV = Path(__file__).parent / "results" / "int8_time.csv"
ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="plummet-s")
    parser.add_argument("--size", default="384x1248", metavar="HxW")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    size = parse_size(options.size)
    network: Network = leadline.load(options.network, "cpu").network  # type: ignore[attr-defined]
    variants = {"float32": network, "int8": quantize(network), "int8, all outputs": quantize(network, outputs="all")}
    CSV.unlink(missing_ok=True)
    table = Table(CSV, keys=("network", "variant", "kind"))
    for variant, made in variants.items():
        times = milliseconds_by_kind(made, size, options.threads)
        for kind, milliseconds in [*times.most_common(), ("in all", sum(times.values()))]:
            table.add(
                network=options.network,
                variant=variant,
                kind=kind,
                ms=round(milliseconds, 2),
                size=options.size,
                threads=options.threads,
            )


def milliseconds_by_kind(network: Network, size: tuple[int, int], threads: int) -> Counter[str]:
    """Median milliseconds of each kind of kernel, of one prediction."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = leadline.export(network, "openvino", folder, size, verify_on=None)
        settings = {
            "PERF_COUNT": True,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = openvino.Core().compile_model(str(artifact.folder / "model.xml"), "CPU", settings)
    request = compiled.create_infer_request()
    images = [np.random.default_rng(i).random((1, 3, *size), np.float32) for i in range(len(VIEWS[network.task]))]
    rounds: list[Counter[str]] = []
    for _ in range(ROUNDS + 2):
        request.infer(images)
        kinds: Counter[str] = Counter()
        for row in request.get_profiling_info():
            kinds[row.node_type] += row.real_time.total_seconds() * 1000
        rounds.append(kinds)
    names = {kind for kinds in rounds for kind in kinds}
    medians = {kind: float(np.median([kinds[kind] for kinds in rounds[2:]])) for kind in names}
    return Counter({kind: time for kind, time in medians.items() if time > 0.05})


if __name__ == "__main__":
    main()
