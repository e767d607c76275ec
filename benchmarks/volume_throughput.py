"""How well MobileStereoNet-2D's cost volume uses the cores: its multiply-accumulate rate beside a large convolution's.

    python benchmarks/volume_throughput.py --threads 1 2 --size 256x512 384x1248

Three things take turns on the same threads (A B C A B C …), so that whatever else the machine does disturbs all of
them alike, and the fastest round of each counts:

  convolution   3x3, 128 -> 128 channels, at 1/4 of --size: what these cores reach when nothing is in the way
  volume        leadline's: the first convolution once per view, then chunks of planes, 2-D, BatchNorm folded
  loop          the plain algorithm: one disparity at a time, 3-D convolutions over interlaced channels

`gmac` are the multiply-accumulates of the algorithm, in the 2-D form: 55,312 per pixel and plane, for the columns that
a plane has (w - d of w). The volume gets on with fewer, as it does not repeat the first convolution at every
disparity: `gmac_done` are those that PyTorch counts in its convolutions. The rates beside the convolution's:

  of_convolution        gmac per second
  done_of_convolution   gmac_done per second
  ..._cpu               the same per second of processor time: what other processes take away is not in it

One pass of the whole network comes first, so that the memory allocator is in the state that it has in use.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import leadline
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line, pin_threads
from leadline.models._interlaced_volume import interlaced_volume
from leadline.models.mobilestereonet import PLANES, MobileStereoNet2D

CSV = Path(__file__).parent / "results" / "volume_throughput.csv"
MACS = 8 * 16 * 8 * 9 + 2 * 32 * 64 * 9 + 16 * 64 * 9 + 16  # per pixel and plane: three stages and the last 1x1
WIDE = 128  # channels of the convolution that is compared with


@dataclass
class Task:
    run: Callable[[], torch.Tensor]
    macs: float
    seconds: float = float("inf")  # of the fastest round
    cpu_seconds: float = float("inf")


@torch.no_grad()
def main() -> None:
    options = parse_arguments()
    machine = describe_machine()
    network = leadline.create("mobilestereonet-2d").eval()
    assert isinstance(network, MobileStereoNet2D)
    rows = []
    for size in options.size:
        for threads in options.threads:
            pin_threads(threads)
            tasks = make_tasks(network, *size)
            measure(tasks, options.rounds)
            rows += compare(tasks, size, threads)
    show(rows, one_line(machine))
    write(rows, machine, options.csv)


def make_tasks(network: MobileStereoNet2D, height: int, width: int) -> dict[str, Task]:
    torch.manual_seed(0)
    h, w = height // 4, width // 4
    left, right = torch.randn(2, 1, 32, h, w)
    wide, kernel = torch.randn(1, WIDE, h, w), torch.randn(WIDE, WIDE, 3, 3)
    macs = MACS * h * sum(w - d for d in range(PLANES))
    tasks = {
        "convolution": Task(lambda: F.conv2d(wide, kernel, padding=1), WIDE * WIDE * 9 * h * w),
        "volume": Task(lambda: interlaced_volume(left, right, PLANES, network.conv3d, network.volume11), macs),
        "loop": Task(lambda: loop_volume(left, right, network), macs),
    }
    difference = (tasks["volume"].run() - tasks["loop"].run()).abs().max().item()
    if difference > 1e-3:
        raise SystemExit(f"the two volumes differ by {difference:.2g}: nothing measured")
    network(*torch.rand(2, 1, 3, height, width))
    return tasks


def measure(tasks: dict[str, Task], rounds: int) -> None:
    for _ in range(rounds):
        for task in tasks.values():
            start, cpu_start = time.perf_counter(), time.process_time()
            task.run()
            task.seconds = min(task.seconds, time.perf_counter() - start)
            task.cpu_seconds = min(task.cpu_seconds, time.process_time() - cpu_start)


def compare(tasks: dict[str, Task], size: tuple[int, int], threads: int) -> list[dict]:
    reference = tasks["convolution"]
    rate, cpu_rate = reference.macs / reference.seconds, reference.macs / reference.cpu_seconds
    rows = []
    for name, task in tasks.items():
        done = count_macs(task.run)
        rows.append(
            {
                "what": name,
                "size": f"{size[0]}x{size[1]}",
                "threads": threads,
                "ms": round(task.seconds * 1000, 1),
                "gmac": round(task.macs / 1e9, 2),
                "gmac_done": round(done / 1e9, 2),
                "gmac_per_s": round(task.macs / task.seconds / 1e9, 1),
                "of_convolution": round(task.macs / task.seconds / rate, 3),
                "done_of_convolution": round(done / task.seconds / rate, 3),
                "of_convolution_cpu": round(task.macs / task.cpu_seconds / cpu_rate, 3),
                "done_of_convolution_cpu": round(done / task.cpu_seconds / cpu_rate, 3),
            }
        )
    return rows


def count_macs(run: Callable[[], torch.Tensor]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 2


def loop_volume(left: torch.Tensor, right: torch.Tensor, network: MobileStereoNet2D) -> torch.Tensor:
    b, _, h, w = left.shape
    volume = left.new_zeros(b, PLANES, h, w)
    for d in range(PLANES):
        pairs = torch.stack([left[..., d:], right[..., : w - d]], 2).flatten(1, 2).unsqueeze(1)
        volume[:, d, :, d:] = network.volume11(network.conv3d(pairs).squeeze(2)).squeeze(1)
    return volume


def show(rows: list[dict], machine: str) -> None:
    for row in rows:
        print(
            f"{row['size']:>9s} {row['threads']:2d} threads  {row['what']:12s} {row['ms']:9.1f} ms "
            f"{row['gmac_per_s']:7.1f} GMAC/s  {row['of_convolution']:6.1%} of the convolution's rate "
            f"({row['of_convolution_cpu']:.1%} by processor time)"
        )
    print(machine)


def write(rows: list[dict], machine: dict[str, str | int], path: Path) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, [*rows[0], *machine], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | machine for row in rows)
    print(write_whole(path, table.getvalue().encode()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", type=parse_size, nargs="+", default=[(256, 512)], metavar="HxW", help="of the image pair"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=CSV)
    return parser.parse_args()


def parse_size(text: str) -> tuple[int, int]:
    height, width = (int(part) for part in text.split("x"))
    if height % 16 or width % 16 or width < 192:
        raise argparse.ArgumentTypeError("multiples of 16, at least 192 wide")
    return height, width


if __name__ == "__main__":
    main()
