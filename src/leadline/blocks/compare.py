"""The same small stereo network with one kind of part after another, at about equal cost, trained alike."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from leadline.checkpoint import load_network
from leadline.errors import UserError, unknown_name
from leadline.evaluation import evaluate
from leadline.files import write_whole
from leadline.models import Network, create
from leadline.models.counting import counted
from leadline.nn.units.parts import KINDS
from leadline.predict.network import NetworkPredictor
from leadline.training.fit import train
from leadline.training.recipe import Recipe, check_recipe

# A plummet small enough to learn something in minutes on one core.
WIDTHS = {"stem": 16, "quarter": 24, "eighth": 32, "matching": 24, "hidden_quarter": 32, "hidden_eighth": 40,
          "hidden_sixteenth": 64}  # fmt: skip
FIXED = {"max_disparity": 96, "coarse_groups": 8, "fine": 0, "hidden_thirtysecond": 0}
STEP = 8  # widths are multiples of this, so that groups, heads and shuffles come out even
CROP, BATCH = (96, 192), 4
TESTED = "procedural:24,seed=1000003,size=192x384"  # scenes that no training sees
TIMED = (192, 384)
NEEDED = {"coding": {"neuron": "lif"}, "dropout": {"drop": 0.1}}  # what has to be so that a field matters
PROBED = 3  # forward and backward passes by which the time of a step is known


@dataclass(frozen=True)
class Row:
    """One variant."""

    family: str
    kind: str
    epe_px: float  # on unseen procedural scenes
    bad1_percent: float  # pixels with an error of more than 1 px
    milliseconds: float  # median of a prediction at 192x384 in PyTorch, all variants taking turns
    gmac: float  # at 192x384, convolutions and matrix products
    parameters: int
    width: float  # factor on all widths that makes the cost equal
    steps: int


def compare(
    family: str,
    seconds: float = 600.0,
    *,
    steps: int | None = None,
    kinds: Sequence[str] | None = None,
    folder: str | os.PathLike | None = None,
    threads: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Trains a variant for each kind of part of a family and measures all on the same unseen scenes.

    Args:
        family: a field of `leadline.nn.units.Parts`.
        seconds: what training all kinds may take together; each is trained for the same number of steps.
        steps: of each variant; then `seconds` is not used.
        kinds: only these, besides the first; None: all.
        folder: keeps the runs, so that an interrupted comparison goes on where it stopped; None: they are thrown away.
        threads: of PyTorch.
        seed: of weights and batches; batches are the same for all.

    Raises:
        UserError: an unknown family or kind, or a folder with runs of another number of steps.
    """
    if family not in KINDS:
        raise unknown_name("family of parts", family, list(KINDS))
    for kind in kinds or ():
        if kind not in KINDS[family]:
            raise unknown_name(f"kind of {family}", kind, list(KINDS[family]))
    chosen = [kind for kind in KINDS[family] if kinds is None or kind in kinds or kind == KINDS[family][0]]
    budget = _macs(_config(family, chosen[0], 1.0))
    widths = {kind: 1.0 if kind == chosen[0] else _width(family, kind, budget) for kind in chosen}
    configs = {kind: _config(family, kind, width) for kind, width in widths.items()}
    trained: list[tuple[str, float, Network]] = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary if folder is None else folder)
        if steps is None:
            steps = _steps(family, list(configs.values()), seconds, threads, place)
            progress(f"{family}: {steps} steps of each of {len(chosen)} kinds fit into {seconds:.0f} s")
        for kind, config in configs.items():
            path = train(_recipe(config, steps, threads, seed), place / f"{family}-{kind}")
            trained.append((kind, widths[kind], load_network(path)))
            progress(f"{family} {kind}: trained")
    latencies = _latencies([network for _, _, network in trained], threads)
    results = evaluate({kind: NetworkPredictor(network, "cpu") for kind, _, network in trained}, TESTED)
    rows = []
    for (kind, width, network), latency in zip(trained, latencies, strict=True):
        found = results.over_pixels(kind)
        rows.append(
            Row(
                family, kind, found["epe"] or 0.0, found["bad_1"] or 0.0, latency * 1000,
                _macs(_config(family, kind, width)) / 1e9, sum(p.numel() for p in network.parameters()), width, steps,
            )
        )  # fmt: skip
    return rows


def _config(family: str, kind: str, width: float) -> dict[str, Any]:
    widths = {name: max(STEP, STEP * round(channels * width / STEP)) for name, channels in WIDTHS.items()}
    return {**FIXED, **widths, **NEEDED.get(family, {}), family: kind}


def _width(family: str, kind: str, budget: float) -> float:
    """The factor on the widths that brings the cost nearest to the budget."""
    low, high = 0.25, 8.0
    for _ in range(8):  # cost grows with the width
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _macs(_config(family, kind, middle)) < budget else (low, middle)
    return min((1.0, low, high), key=lambda width: abs(_macs(_config(family, kind, width)) - budget))


def _macs(config: dict[str, Any]) -> float:
    return _counted(tuple(sorted(config.items())))


@lru_cache(maxsize=256)
def _counted(config: tuple[tuple[str, Any], ...]) -> float:
    """Multiply-accumulates of convolutions and matrix products at the size that is timed."""
    network = create("plummet-s", **dict(config)).eval()
    image = torch.zeros(1, 3, *TIMED)
    with (
        warnings.catch_warnings(action="ignore"),  # of other hardware, where a backend is switched off
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False),  # its LSTM is one operator that the counter does not know
        counted() as counter,
    ):
        network(image, image)
    return counter.get_total_flops() / 2


def _recipe(config: dict[str, Any], steps: int, threads: int, seed: int) -> Recipe:
    return check_recipe(
        {
            "name": "variant",
            "network": {"name": "plummet-s", **config},
            "data": [{"source": "procedural", "scenes": {"max_disparity": FIXED["max_disparity"] - 4}}],
            "crop": list(CROP),
            "batch": BATCH,
            "reuse": 3,
            "steps": steps,
            "seed": seed,
            "losses": [
                {"name": "smooth_l1", "weight": 0.5, "scale_weights": [0.3, 0.5, 1.0]},
                {"name": "disparity_cross_entropy", "weight": 1.0},
            ],
            "optimizer": {"name": "adamw", "lr": 2e-3},
            "schedule": {"name": "cosine", "warmup": min(50, max(steps // 10, 1))},
            "ema": 0.98 if steps >= 200 else 0.9,
            "threads": threads,
            "workers": 1,
            "checkpoint": {"every": 50},
            "log": {"every": max(steps // 5, 1), "images_every": 0},
        },
        "leadline blocks compare",
    )


def _steps(family: str, configs: Sequence[dict[str, Any]], seconds: float, threads: int, place: Path) -> int:
    """How many steps of all variants fit into a time on this machine; kept for when the comparison is taken up again.

    Scenes are rendered beside it, and what the optimizer takes is a few percent of a step.
    """
    kept = place / f"{family}-steps.txt"
    if kept.is_file():
        return int(kept.read_text())
    before, images = torch.get_num_threads(), torch.rand(2, BATCH, 3, *CROP).unbind()
    torch.set_num_threads(threads)
    together = 0.0
    try:
        for config in configs:
            network, taken = create("plummet-s", **config).train(), []
            for _ in range(PROBED):
                begun = time.perf_counter()
                network(*images).mean().backward()
                taken.append(time.perf_counter() - begun)
            together += min(taken)
    finally:
        torch.set_num_threads(before)
    steps = max(1, round(seconds / together))
    write_whole(kept, f"{steps}\n".encode())
    return steps


def _latencies(networks: Sequence[Network], threads: int, rounds: int = 9) -> list[float]:
    """Median seconds of a prediction, the networks taking turns."""
    before, image = torch.get_num_threads(), torch.rand(1, 3, *TIMED)
    torch.set_num_threads(threads)
    seconds: list[list[float]] = [[] for _ in networks]
    try:
        with torch.inference_mode():
            for turn in range(rounds + 1):
                for network, found in zip(networks, seconds, strict=True):
                    begun = time.perf_counter()
                    network.eval()(image, image)
                    if turn:  # the first is a warm-up
                        found.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(before)
    return [median(found) for found in seconds]


def write_rows(path: str | os.PathLike, rows: Sequence[Row]) -> Path:
    """Writes the rows as CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in asdict(row).items()})
    write_whole(Path(path), text.getvalue().encode())
    return Path(path)


def read_rows(path: str | os.PathLike) -> list[Row]:
    """The rows of a CSV that `write_rows` made. Raises UserError where it is none."""
    kinds = {"str": str, "int": int, "float": float}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return [
                Row(**{field.name: kinds[str(field.type)](row[field.name]) for field in dataclasses.fields(Row)})
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not a comparison of parts ({error}): make it with `leadline blocks compare`"
        ) from error
