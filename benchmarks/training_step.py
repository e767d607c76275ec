"""Where the time of a training step goes: the network's passes, and rendering for it beside them.

    python benchmarks/training_step.py [RECIPE.yaml ...] [--steps 12] [--threads 1]

Each recipe's network, crop, batch and precision, from random weights. `network_ms` is forward pass and losses, backward
pass and optimizer on one batch, the median of --steps; `worker_ms` is what one worker process takes to render, crop and
augment the batches of that step, by its CPU time; workers keep the network busy when there are at least `workers` of
them. Writes benchmarks/results/training_step.csv and the table of docs/training.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from leadline.data.loading import BatchStream
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line, pin_threads
from leadline.training.fit import make_network, make_plan
from leadline.training.module import Training, run_network
from leadline.training.recipe import Recipe, load_recipe

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "training_step.csv"
PAGE = ROOT / "docs" / "training.md"
BEGIN, END = "<!-- table step: written by benchmarks/training_step.py -->\n", "<!-- end of table -->"
RECIPES = ("plummet-rooms", "plummet-rooms-finish", "plummet-w-rooms", "plumb-flow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=[ROOT / "recipes" / f"{name}.yaml" for name in RECIPES])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    pin_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = {**describe_machine(), "threads": options.threads}
    rows = []
    for path in options.recipes:
        recipe = load_recipe(path).model_copy(update={"init": None, "workers": 0})
        rows.append(measure(recipe, device, options.steps) | machine)
        print(
            "{recipe:24} {precision} {forward_ms:.1f} + {backward_ms:.1f} + {optimizer_ms:5.1f} = {network_ms:6.1f} ms"
            ", worker {worker_ms:7.1f} ms: {workers} at least".format(**rows[-1]),
            flush=True,
        )
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(CSV, text.getvalue().encode())
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    write_whole(PAGE, f"{before}{BEGIN}{table(rows)}\n{END}{rest.split(END, 1)[1]}".encode())


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| recipe | crop, pairs | forward ms | backward ms | step ms | pairs/s | rendering ms | workers |",
        "| --- | --- |" + " ---: |" * 6,
    ]
    for row in rows:
        lines.append(
            "| `{recipe}` | {crop}, {batch} | {forward_ms:.0f} | {backward_ms:.0f} | {network_ms:.0f} "
            "| {pairs_per_second:.1f} | {worker_ms:.0f} | {workers} |".format(**row)
        )
    first = rows[0]
    about = f"{first['device'].upper()}, {first['threads']} thread, {one_line(describe_machine())}"
    return "\n".join([*lines, "", f"Median steps in each recipe's precision; {about}."])


def measure(recipe: Recipe, device: torch.device, steps: int) -> dict[str, Any]:
    network = make_network(recipe)
    training = Training(network, recipe).to(device).train()
    optimizer = training.configure_optimizers()["optimizer"]
    count = max(recipe.reuse**2, 2)  # a block: the scenes of `reuse` batches, used `reuse` times
    stream = iter(BatchStream(make_plan(recipe, network.task)))
    # Another series first: what scenes are drawn from is made once per process.
    next(iter(BatchStream(make_plan(recipe.model_copy(update={"seed": recipe.seed + 1}), network.task))))
    start = time.process_time()
    batches = [next(stream) for _ in range(count)]
    worker = (time.process_time() - start) / count
    batches = [batch.to(device) for batch in batches]
    times = [step(training, optimizer, batches[i % count], device) for i in range(steps + 2)][2:]
    forward, backward, update = (median(column) for column in zip(*times, strict=True))
    total = median(sum(row) for row in times)
    first = batches[0].inputs(network.takes_time)[0]
    return {
        "recipe": recipe.name, "network": recipe.network.name, "crop": "{}x{}".format(*first.shape[-2:]),
        "batch": len(first), "precision": recipe.precision, "device": device.type,
        "forward_ms": round(1e3 * forward, 1), "backward_ms": round(1e3 * backward, 1),
        "optimizer_ms": round(1e3 * update, 1), "network_ms": round(1e3 * total, 1),
        "worker_ms": round(1e3 * worker, 1), "workers": math.ceil(worker / total),
        "pairs_per_second": round(len(first) / total, 2),
    }  # fmt: skip


def step(training: Training, optimizer: Any, batch: Any, device: torch.device) -> tuple[float, float, float]:
    """Seconds of forward pass and loss, of backward pass, of clipping and the optimizer."""
    marks = [now(device)]
    with torch.autocast(device.type, torch.bfloat16, enabled=training.recipe.precision == "bf16"):
        total, _ = training.loss(run_network(training.network, training.loss, batch), batch)
    marks.append(now(device))
    optimizer.zero_grad()
    total.backward()
    marks.append(now(device))
    nn.utils.clip_grad_norm_(training.network.parameters(), training.recipe.clip)
    optimizer.step()
    marks.append(now(device))
    return marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
