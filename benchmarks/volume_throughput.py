"""How well MobileStereoNet-2D's cost volume uses the cores: its multiply-accumulate rate beside a large convolution's.

    python benchmarks/volume_throughput.py --threads 2

Three things take turns on the same threads (A B C A B C …), so that whatever else the machine does disturbs all of
them alike, and the fastest round of each counts:

  convolution   3x3, 128 -> 128 channels, at 1/4 of --size: what these cores reach when nothing is in the way
  volume        leadline's: chunks of planes, 2-D convolutions, BatchNorm folded
  loop          the plain algorithm: one disparity at a time, 3-D convolutions over interlaced channels

The volume's multiply-accumulates are those of its 2-D form, 55,312 per pixel and plane, for the columns that a plane
has (w - d of w): `gmac_per_s` and `of_convolution` count these alone. `full_width_of_convolution` counts all w columns
of all planes, as a form that convolves whole planes and masks would have to compute. One pass of the whole network
comes first, so that the memory allocator is in the state that it has in use.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from _machine import describe_machine, one_line, pin_threads

import leadline
from leadline.files import write_whole
from leadline.models._interlaced_volume import interlaced_volume
from leadline.models.mobilestereonet import PLANES, MobileStereoNet2D

CSV = Path(__file__).parent / "results" / "volume_throughput.csv"
MACS = 8 * 16 * 8 * 9 + 2 * 32 * 64 * 9 + 16 * 64 * 9 + 16  # per pixel and plane: three stages and the last 1x1
WIDE = 128  # channels of the convolution that is compared with


@torch.no_grad()
def main() -> None:
    options = parse_arguments()
    pin_threads(options.threads)
    height, width = options.size
    h, w = height // 4, width // 4
    torch.manual_seed(0)
    network = leadline.create("mobilestereonet-2d").eval()
    assert isinstance(network, MobileStereoNet2D)
    left, right = torch.randn(2, 1, 32, h, w)
    wide, kernel = torch.randn(1, WIDE, h, w), torch.randn(WIDE, WIDE, 3, 3)
    machine = describe_machine()
    network(*torch.rand(2, 1, 3, height, width))

    columns = sum(w - d for d in range(PLANES))
    tasks: dict[str, tuple[Callable[[], torch.Tensor], float]] = {
        "convolution": (lambda: F.conv2d(wide, kernel, padding=1), WIDE * WIDE * 9 * h * w),
        "volume": (
            lambda: interlaced_volume(left, right, PLANES, network.conv3d, network.volume11),
            MACS * h * columns,
        ),
        "loop": (lambda: loop_volume(left, right, network), MACS * h * columns),
    }
    difference = (tasks["volume"][0]() - tasks["loop"][0]()).abs().max().item()
    if difference > 1e-3:
        raise SystemExit(f"the two volumes differ by {difference:.2g}: nothing measured")
    seconds = fastest({name: task for name, (task, _) in tasks.items()}, options.rounds)

    reference = tasks["convolution"][1] / seconds["convolution"]
    rows = []
    for name, (_, macs) in tasks.items():
        rate = macs / seconds[name]
        full = rate / reference * (w * PLANES / columns if name != "convolution" else 1)
        rows.append(
            {
                "what": name,
                "size": f"{height}x{width}",
                "threads": options.threads,
                "ms": round(seconds[name] * 1000, 1),
                "gmac": round(macs / 1e9, 2),
                "gmac_per_s": round(rate / 1e9, 1),
                "of_convolution": round(rate / reference, 3),
                "full_width_of_convolution": round(full, 3),
            }
        )
    show(rows, one_line(machine))
    write(rows, machine, options.csv)


def loop_volume(left: torch.Tensor, right: torch.Tensor, network: MobileStereoNet2D) -> torch.Tensor:
    b, _, h, w = left.shape
    volume = left.new_zeros(b, PLANES, h, w)
    for d in range(PLANES):
        pairs = torch.stack([left[..., d:], right[..., : w - d]], 2).flatten(1, 2).unsqueeze(1)
        volume[:, d, :, d:] = network.volume11(network.conv3d(pairs).squeeze(2)).squeeze(1)
    return volume


def fastest(tasks: dict[str, Callable[[], torch.Tensor]], rounds: int) -> dict[str, float]:
    """Seconds of each task's fastest round."""
    seconds = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def show(rows: list[dict], machine: str) -> None:
    for row in rows:
        print(
            f"{row['what']:12s} {row['ms']:9.1f} ms {row['gmac_per_s']:7.1f} GMAC/s "
            f"{row['of_convolution']:6.1%} of the convolution's rate"
        )
    print(f"{rows[0]['size']}, {rows[0]['threads']} threads; {machine}")


def write(rows: list[dict], machine: dict[str, str | int], path: Path) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, [*rows[0], *machine], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | machine for row in rows)
    print(write_whole(path, table.getvalue().encode()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=(256, 512), metavar="HxW", help="of the image pair")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
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
