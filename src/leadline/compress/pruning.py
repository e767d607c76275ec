"""`leadline.compress.prune`: fewer weights, at four granularities."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from leadline.compress import prune_filters, prune_masks
from leadline.compress.finetune import finetuned, fingerprint
from leadline.compress.latency import DeviceTable, relative_latency
from leadline.errors import UserError, unknown_name
from leadline.evaluation.runner import Samples
from leadline.models import Network
from leadline.surgeries import prune_channels, prune_mask
from leadline.surgeries import share as share_surgery

if TYPE_CHECKING:
    from leadline.training.recipe import Recipe

GRANULARITIES = ("weight", "vector", "kernel", "filter")
DEFAULT_CRITERION = {"weight": "lamp", "vector": "l2", "kernel": "l2", "filter": "group"}
SCHEDULES = ("one-shot", "cubic")
SIZE = (384, 1248)  # px at which latency is measured


def prune(
    network: Network,
    *,
    granularity: str = "filter",
    criterion: str | None = None,
    amount: float | None = None,
    macs: float | None = None,
    latency: float | None = None,
    vector: str = "row",
    pattern: str | None = None,
    scope: str = "global",
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    round_to: int = 1,
    runtime: str = "pytorch",
    size: tuple[int, int] = SIZE,
    threads: int | None = None,
    device_table: str | os.PathLike | None = None,
    data: Samples | str | None = None,
    schedule: str = "one-shot",
    finetune: Recipe | str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
) -> Network:
    """A pruned copy of a network.

    Args:
        granularity: "weight": single weights become 0; "vector": rows or columns of kernels; "kernel": the kernels
            between one input and one output channel; "filter": whole channels are removed with all that is coupled.
        criterion: what tells how much something is needed: l1, l2, lamp, taylor; for filters bn-scale, l1, l2, group,
            taylor, rank. None: lamp for weights, l2 for vectors and kernels, group for filters.
        amount: share of the weights (or of the removable channels) that goes, in (0, 1). Or, for filters, instead:
        macs: multiply-accumulates that may be left, as a share of now.
        latency: time that may be left, as a share of now.
        vector: "row" or "column".
        pattern: "n:m" (2:4): n of each m consecutive input channels are kept; the amount follows.
        scope: "global": the least needed of all layers; "layer": the same share of each.
        layers, exclude: paths of layers or of what holds them, or patterns.
        round_to: channels left of each layer are a multiple of this where it has so many.
        runtime: in which latency is measured: "pytorch", or a target of `leadline export`; with `threads`, for images
            of `size` (h, w).
        device_table: a file with the times of layers on a device, instead of measuring here.
        data: pairs with truth for taylor, pairs for rank. None: rendered ones.
        schedule: "one-shot", or "cubic": masks grow to `amount` while `finetune` trains.
        finetune: a recipe by which what is left is trained; masks stay.
        folder: of that run.

    Returns:
        A copy in eval mode; `.surgeries` says what was done.

    Raises:
        UserError: options that do not fit each other, an unknown layer, a layer that would be left empty, or a target
            that cannot be reached.
    """
    _check(granularity, amount, macs, latency, pattern, vector, scope, schedule, finetune, round_to)
    request = {
        "of": fingerprint(network), "granularity": granularity, "criterion": criterion, "amount": amount, "macs": macs,
        "latency": latency, "vector": vector, "pattern": pattern, "scope": scope, "layers": list(layers),
        "exclude": list(exclude), "round_to": round_to, "runtime": runtime, "size": size, "data": data,
        "device_table": device_table, "schedule": schedule,
    }  # fmt: skip
    network = copy.deepcopy(network).cpu().eval()
    network.surgeries = list(getattr(network, "surgeries", []))
    _check_order(network, granularity)
    criterion = criterion or DEFAULT_CRITERION[granularity]
    changes = None
    if granularity == "filter":
        reach: tuple[float, Callable[[Network], float]] | None = None
        if macs is not None:
            now = prune_filters.count_macs(network)
            reach = macs, lambda smaller: prune_filters.count_macs(smaller) / now
        if latency is not None:
            reach = latency, _relative(network, runtime, size, threads, device_table)
        network = prune_filters.prune_filters(
            network, criterion, amount=amount, reach=reach, scope=scope, round_to=round_to, only=layers,
            exclude=exclude, data=data,
        )  # fmt: skip
    else:
        grows = schedule == "cubic"
        unit = vector if granularity == "vector" else granularity
        share = _share_of(pattern) if pattern else amount
        assert share is not None
        if grows:
            grown_by = criterion if criterion in ("l1", "l2", "lamp") else "l2"
            changes = {"sparsify": {"amount": share, "criterion": grown_by, "scope": scope}}
        network = prune_masks.prune_masks(
            network, unit, criterion, share, pattern=pattern, scope=scope, only=layers, exclude=exclude, data=data,
            grows=grows,
        )  # fmt: skip
    return network if finetune is None else finetuned(network, finetune, folder, request, changes)


def _check(
    granularity: str,
    amount: float | None,
    macs: float | None,
    latency: float | None,
    pattern: str | None,
    vector: str,
    scope: str,
    schedule: str,
    finetune: object,
    round_to: int,
) -> None:
    for what, value, known in (
        ("granularity", granularity, GRANULARITIES),
        ("vector", vector, ("row", "column")),
        ("scope", scope, ("global", "layer")),
        ("schedule", schedule, SCHEDULES),
    ):
        if value not in known:
            raise unknown_name(what, value, list(known))
    given = {"amount": amount, "macs": macs, "latency": latency, "pattern": pattern}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        told = " and ".join(named) + " exclude each other" if named else "how much is to be pruned is missing"
        raise UserError(f"{told}: give one of amount, macs, latency, or for weights a pattern")
    for name in ("amount", "macs", "latency"):
        value = given[name]
        if isinstance(value, int | float) and not 0 < value < 1:
            raise UserError(
                f"{name} {value:g}: give a share between 0 and 1, such as 0.5 (0 and 1 leave all or nothing)"
            )
    if named[0] in ("macs", "latency") and granularity != "filter":
        raise UserError(f"zeros leave {named[0]} as it is: give an amount, or prune filters")
    if pattern is not None and granularity != "weight":
        raise UserError(f"a pattern is of single weights: leave it out, or granularity {granularity}")
    if schedule == "cubic" and (finetune is None or granularity == "filter" or pattern is not None):
        raise UserError(
            "schedule cubic grows masks to an amount while a recipe trains: it needs finetune, and no filters"
        )
    if round_to < 1:
        raise UserError(f"round_to {round_to}: give 1 or more channels")


def _check_order(network: Network, granularity: str) -> None:
    """Later surgeries stand on what is there: channels go first, then weights, then the rest."""
    before = (
        (prune_channels.KIND,)
        if granularity == "filter"
        else (prune_channels.KIND, prune_mask.KIND, share_surgery.KIND)
    )
    other = next((record["kind"] for record in network.surgeries if record["kind"] not in before), None)
    if other is not None:
        what = "filters" if granularity == "filter" else "weights"
        raise UserError(
            f"{network.name} has been through {other!r} already: prune {what} before it, from the checkpoint of then"
        )


def _relative(
    network: Network, runtime: str, size: tuple[int, int], threads: int | None, table: str | os.PathLike | None
) -> Callable[[Network], float]:
    if table is None:
        return relative_latency(network, runtime, size, threads)
    device = DeviceTable.read(table)
    now = device.milliseconds(network)
    return lambda smaller: device.milliseconds(smaller) / now


def _share_of(pattern: str) -> float:
    n, m = prune_masks.parse_pattern(pattern)
    return 1 - n / m
