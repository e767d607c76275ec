"""`leadline.compress.share`: few values per layer, and what a file of their indices needs."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from leadline.compress.choice import choose_layers
from leadline.compress.finetune import finetuned, fingerprint
from leadline.compress.kmeans import INITS, kmeans
from leadline.errors import UserError, unknown_name
from leadline.models import Network
from leadline.surgeries import share as surgery
from leadline.surgeries.prune_mask import masked_layers
from leadline.surgeries.share import LARGEST, install, shared_layers, values_in

if TYPE_CHECKING:
    from leadline.training.recipe import Recipe

PER = ("layer", "channel")
CODINGS = ("entropy", "plain")


def share(
    network: Network,
    *,
    clusters: int = 256,
    per: str = "layer",
    init: str = "linear",
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    coding: str = "entropy",
    rest: str = "float32",
    seed: int = 0,
    finetune: Recipe | str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
) -> Network:
    """A copy of a network whose weights are few values, found by k-means, each stored once.

    What was pruned stays 0: the zero is then one of the clusters. Layers with fewer weights than clusters are left as
    they are, unless they are named.

    Args:
        network: plain, or with masks from `prune`.
        clusters: values per codebook, 2 to 256, the zero of pruned weights included.
        per: a codebook for each "layer", or for each "channel" (output channel of it).
        init: of k-means: "linear", "density" or "random".
        layers, exclude: paths of layers or of what holds them, or patterns; all that have weights.
        coding: of the file: "entropy", or "plain": bit-packed indices as they are.
        rest: "float16" rounds biases and BatchNorms too, which are then stored in half the bytes.
        seed: of the random initialisation.
        finetune: a recipe by which codebooks, biases and norms are trained; the indices stay.
        folder: of that run.

    Raises:
        UserError: more clusters than weights, an unknown layer or option, or weights that are shared already.
    """
    _check(clusters, per, init, coding, rest)
    request = {
        "of": fingerprint(network), "clusters": clusters, "per": per, "init": init, "layers": list(layers),
        "exclude": list(exclude), "seed": seed,
    }  # fmt: skip
    network = copy.deepcopy(network).eval()
    network.surgeries = list(getattr(network, "surgeries", []))
    if shared_layers(network):
        raise UserError("its weights are shared already: take the network from before, or a checkpoint of it")
    chosen = _large_enough(choose_layers(network, layers, exclude), clusters, per, named=bool(layers))
    masks = masked_layers(network)
    zeros = [name for name in chosen if name in masks]
    for name, module in chosen.items():
        keep = masks[name][1].keep if name in masks else None
        codebook, index = cluster(_weight(module), keep, clusters, per, init, seed)
        install(module, codebook, index, name in zeros)
    record = {
        "kind": surgery.KIND, "clusters": clusters, "per": per, "layers": list(chosen), "zero": zeros, "init": init,
        "coding": coding,
    }  # fmt: skip
    network.surgeries.append(record)
    if finetune is not None:
        network = finetuned(network, finetune, folder, request)
    if rest == "float16":
        round_to_half(network)
    return network


def _check(clusters: int, per: str, init: str, coding: str, rest: str) -> None:
    if not isinstance(clusters, int) or not 2 <= clusters <= LARGEST:
        raise UserError(f"clusters {clusters}: a codebook has 2 to {LARGEST} values")
    for what, value, known in (
        ("codebooks per", per, PER),
        ("initialisation", init, INITS),
        ("coding", coding, CODINGS),
        ("type of the rest", rest, ("float32", "float16")),
    ):
        if value not in known:
            raise unknown_name(what, value, list(known))


def _large_enough(layers: dict[str, nn.Module], clusters: int, per: str, named: bool) -> dict[str, nn.Module]:
    """The layers with as many weights as clusters; a UserError where one that is named, or every one, has fewer."""
    counts = {
        name: _weight(m).numel() // (_weight(m).shape[0] if per == "channel" else 1) for name, m in layers.items()
    }
    small = [name for name, count in counts.items() if count < clusters]
    if small and (named or len(small) == len(layers)):
        of = f"{counts[small[0]]} weights" + (" per channel" if per == "channel" else "")
        raise UserError(
            f"{small[0]}: more clusters ({clusters}) than weights ({of}): take fewer clusters"
            + (", or codebooks per layer" if per == "channel" else ", or leave the layer out")
        )
    return {name: module for name, module in layers.items() if name not in small}


def cluster(
    weight: Tensor, keep: Tensor | None, clusters: int, per: str, init: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Codebooks (books, values) float32, rows padded with their last value, and indices (uint8) of a weight.

    Args:
        keep: the mask of a pruned weight; what it leaves out gets index 0, which stands for 0.
    """
    values = weight.detach().double().cpu().numpy()
    books = values.shape[0] if per == "channel" else 1
    rows = values.reshape(books, -1)
    kept = np.ones(rows.shape, bool) if keep is None else keep.expand(weight.shape).cpu().numpy().reshape(books, -1)
    size = values_in(clusters, keep is not None)
    codebook, index = np.zeros((books, size)), np.zeros(rows.shape, np.uint8)
    for book in range(books):
        if not kept[book].any():
            continue
        centroids, places = kmeans(rows[book][kept[book]], size, init, seed)
        codebook[book] = np.pad(centroids, (0, size - len(centroids)), mode="edge")
        index[book][kept[book]] = places + (keep is not None)
    return torch.from_numpy(codebook).float(), torch.from_numpy(index).reshape(weight.shape)


def round_to_half(network: Network) -> None:
    """Rounds every floating-point number of a network to half precision where that has its range, in place."""
    with torch.no_grad():
        for value in network.state_dict().values():  # what is made anew with the network stays as it is
            if value.is_floating_point() and bool((value.abs() < 65504).all()):
                value.copy_(value.half().to(value.dtype))


@dataclass(frozen=True)
class LayerBits:
    """What the indices of a layer need."""

    name: str
    weights: int
    zeros: float  # share
    values: int  # that occur
    packed_bits: int  # per weight, as they are packed
    entropy_bits: float  # per weight: no code of the single indices needs less
    error: float | None = None  # relative to the weights from before, root of summed squares


def describe(network: Network, before: Network | None = None) -> list[LayerBits]:
    """The shared layers of a network, and how far their weights are from those of `before`."""
    rows = []
    for name, (module, step) in shared_layers(network).items():
        index = step.index.cpu().numpy()
        books = module.parametrizations["weight"].original.shape[0]  # type: ignore[index]
        record = next(r for r in network.surgeries if r["kind"] == surgery.KIND and name in r["layers"])
        error = None
        if before is not None:
            old = _weight(before.get_submodule(name)).detach()
            error = float((_weight(module).detach() - old).norm() / old.norm())
        weight = _weight(module)
        rows.append(
            LayerBits(
                name=name,
                weights=weight.numel(),
                zeros=float((weight == 0).float().mean()),
                values=len(np.unique(index)) if books == 1 else int(record["clusters"]),
                packed_bits=surgery.bits_per_index(record["clusters"]),
                entropy_bits=entropy(index),
                error=error,
            )
        )
    return rows


def entropy(index: np.ndarray) -> float:
    """Bits per index of an ideal code that knows their frequencies."""
    _, counts = np.unique(index, return_counts=True)
    return float(-sum(count / index.size * log2(count / index.size) for count in counts))


def huffman(index: np.ndarray) -> float:
    """Mean bits per index of a Huffman code, which cannot spend less than one."""
    import heapq

    heap = [int(count) for count in np.unique(index, return_counts=True)[1]]
    if len(heap) == 1:
        return 1.0
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total / index.size


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
