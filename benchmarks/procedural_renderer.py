"""How fast procedural scenes are rendered: pairs per second per core and, where there is one, per GPU.

    python benchmarks/procedural_renderer.py [--size 160x320 ...]

CPU figures are per second of CPU time of one thread, so that other work on the machine does not count. Writes
benchmarks/results/procedural_renderer.csv.
"""

import argparse
import csv
import io
import time
from pathlib import Path

import torch

from leadline.data.procedural import render_motion, render_stereo
from leadline.files import write_whole
from leadline.machine import describe_machine, pin_threads

CSV = Path(__file__).parent / "results" / "procedural_renderer.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["160x320", "224x448", "384x768"], metavar="HxW")
    parser.add_argument("--pairs", type=int, default=24)
    options = parser.parse_args()
    pin_threads(1)
    machine = describe_machine()
    rows = []
    for text in options.size:
        height, width = (int(n) for n in text.split("x"))
        for kind, render in (("stereo", render_stereo), ("flow", render_motion)):
            rows.append(
                {"what": kind, "size": text, "on": "one CPU core", **cpu_rate(render, (height, width), options.pairs)}
            )
            if torch.cuda.is_available():
                rows.append(
                    {"what": kind, "size": text, "on": "GPU", **gpu_rate(render, (height, width), options.pairs)}
                )
    for row in rows:
        print(
            "{what:7} {size:9} {on:13} {pairs_per_second:8.1f} pairs/s {megapixels_per_second:7.2f} Mpx/s".format(**row)
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0], *machine], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | machine for row in rows)
    write_whole(CSV, text.getvalue().encode())


def cpu_rate(render, size: tuple[int, int], pairs: int) -> dict[str, float]:
    render(0, [0], size)  # the bank of shapes and textures is drawn once per process
    start = time.process_time()
    render(1, range(pairs), size)
    return rates(pairs, size, time.process_time() - start)


def gpu_rate(render, size: tuple[int, int], pairs: int) -> dict[str, float]:
    render(0, range(pairs), size, device="cuda")
    torch.cuda.synchronize()
    start = time.perf_counter()
    for i in range(4):
        render(1 + i, range(pairs), size, device="cuda")
    torch.cuda.synchronize()
    return rates(4 * pairs, size, time.perf_counter() - start)


def rates(pairs: int, size: tuple[int, int], seconds: float) -> dict[str, float]:
    return {
        "pairs_per_second": round(pairs / seconds, 2),
        "megapixels_per_second": round(pairs * size[0] * size[1] / seconds / 1e6, 3),
    }


if __name__ == "__main__":
    main()
