"""How much each layer suffers from pruning, at each granularity: a table and a picture."""

from __future__ import annotations

import copy
import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from leadline.compress.choice import choose_layers
from leadline.compress.coupling import find_sets, remove
from leadline.compress.examples import error_of, read_samples
from leadline.compress.prune_filters import choose, score_sets
from leadline.compress.prune_masks import prune_masks
from leadline.compress.pruning import DEFAULT_CRITERION, GRANULARITIES
from leadline.data.batch import Batch
from leadline.errors import UserError, unknown_name
from leadline.evaluation.runner import Samples
from leadline.files import write_whole
from leadline.models import Network

AMOUNTS = (0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Row:
    """One layer (of filters: with all that is coupled) pruned alone."""

    granularity: str
    layer: str
    weights: int  # of the layer
    amount: float
    epe_px: float
    epe_change_px: float


@dataclass(frozen=True)
class Sensitivity:
    """What `sensitivity` returns; the rows are in the order of the network."""

    rows: list[Row]
    epe_px: float  # of the network as it is

    def to_csv(self, path: str | os.PathLike) -> Path:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(row), "epe_px": round(row.epe_px, 4), "epe_change_px": round(row.epe_change_px, 4)}
                         for row in self.rows)  # fmt: skip
        return write_whole(path, text.getvalue().encode())

    def draw(self, path: str | os.PathLike) -> Path:
        """Layers down, amounts across, one panel per granularity: the rise of the error, on a logarithmic scale."""
        import numpy as np
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure

        kinds = list(dict.fromkeys(row.granularity for row in self.rows))
        layers = list(dict.fromkeys(row.layer for row in self.rows))
        amounts = sorted({row.amount for row in self.rows})
        figure = Figure(figsize=(3.2 + 1.5 * len(kinds), 1.4 + 0.2 * len(layers)), layout="constrained")
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        image = None
        for panel, kind in zip(panels, kinds, strict=True):
            values = np.full((len(layers), len(amounts)), np.nan)
            for row in self.rows:
                if row.granularity == kind:
                    values[layers.index(row.layer), amounts.index(row.amount)] = max(row.epe_change_px, 1e-3)
            image = panel.imshow(values, aspect="auto", cmap="viridis", norm=LogNorm(1e-2, 10))
            panel.set_xticks(range(len(amounts)), [f"{100 * a:.0f}" for a in amounts], fontsize=7)
            panel.set_yticks(range(len(layers)), layers, fontsize=6)
            panel.set_title(kind, fontsize=9)
            panel.set_xlabel("pruned [%]", fontsize=8)
        bar = figure.colorbar(image, ax=panels, shrink=0.6)  # type: ignore[arg-type]
        bar.set_label("EPE rises by [px]", fontsize=8)
        figure.suptitle(
            f"One layer pruned at a time; EPE as it is: {self.epe_px:.2f} px (white: no such units)", fontsize=9
        )
        content = io.BytesIO()
        figure.savefig(content, dpi=130, format="png")
        return write_whole(path, content.getvalue())


def sensitivity(
    network: Network,
    data: Samples | str | None = None,
    *,
    granularities: Sequence[str] = GRANULARITIES,
    amounts: Sequence[float] = AMOUNTS,
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    limit: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Prunes each layer alone, without training, and measures the end-point error.

    Args:
        network: with plain weights.
        data: pairs with truth, cut to at most 256x512 px; None: rendered ones.
        granularities: of GRANULARITIES; vectors are rows.
        amounts: shares to be pruned.
        layers, exclude: as for `prune`.
        limit: pairs that are looked at.
        progress: called with (done, in all).

    Raises:
        UserError: an unknown granularity or layer, or pairs without truth.
    """
    for granularity in granularities:
        if granularity not in GRANULARITIES:
            raise unknown_name("granularity", granularity, list(GRANULARITIES))
    if not all(0 < amount < 1 for amount in amounts):
        raise UserError("amounts of a sensitivity analysis are shares between 0 and 1")
    network = copy.deepcopy(network).cpu().eval()
    network.surgeries = list(getattr(network, "surgeries", []))
    pairs = read_samples(data, network, limit)
    base = _mean_error(network, pairs)
    jobs = [job for granularity in granularities for job in _jobs(network, granularity, layers, exclude, data)]
    rows = []
    for done, (granularity, layer, weights, prune) in enumerate(jobs):
        for amount in amounts:
            try:
                error = _mean_error(prune(amount), pairs)
            except UserError:  # it would leave the layer empty
                continue
            rows.append(Row(granularity, layer, weights, amount, error, error - base))
        if progress is not None:
            progress(done + 1, len(jobs))
    return Sensitivity(rows, base)


Job = tuple[str, str, int, Callable[[float], Network]]


def _jobs(
    network: Network, granularity: str, only: Sequence[str], exclude: Sequence[str], data: Samples | str | None
) -> Iterator[Job]:
    """What is pruned one after the other, and how."""
    criterion = DEFAULT_CRITERION[granularity]
    chosen = choose_layers(network, only, exclude)
    if granularity == "filter":
        sets = [one for one in find_sets(network)[0] if one.name in chosen]
        scores = score_sets(network, sets, criterion, data) if sets else {}
        for one in sets:

            def cut(amount: float, one=one) -> Network:
                smaller = copy.deepcopy(network)
                remove(smaller, [one], choose({one.name: scores[one.name]}, amount))
                return smaller

            yield granularity, one.name, chosen[one.name].weight.numel(), cut  # type: ignore[operator]
        return
    unit = "row" if granularity == "vector" else granularity
    for layer, module in chosen.items():
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        if unit != "weight" and weight[0, 0].numel() == 1:
            continue  # 1x1 kernels have no parts

        def mask(amount: float, layer=layer) -> Network:
            return prune_masks(copy.deepcopy(network), unit, criterion, amount, only=[layer])

        yield granularity, layer, weight.numel(), mask


@torch.inference_mode()
def _mean_error(network: Network, pairs: list[Batch]) -> float:
    return float(torch.stack([error_of(network, pair) for pair in pairs]).mean())
