"""Shared weights: every weight of a layer is one of a few values, its codebook, and stored as an index into it.

The record says which layers and how many values; codebooks and indices are tensors of the checkpoint. On disk indices
are bit-packed, and the whole is entropy-coded unless the record says otherwise.
Source: S. Han, H. Mao, W. Dally, "Deep Compression", ICLR 2016.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils import parametrize

from leadline.models import Network
from leadline.surgeries.parametrised import Stored, layers_stored, make_plain, stored_in
from leadline.surgeries.registry import Record, Surgery, Tensors, add_surgery

KIND = "share"
LARGEST = 256  # values of a codebook: an index is a byte


class Shared(Stored):
    """codebook -> weight. The gradient of a value is the sum of those of the weights that have it.

    Args:
        index: of each weight; per channel it counts in the codebook of the weight's first axis.
        has_zero: index 0 stands for 0, which is in no codebook and is not trained: what was pruned stays so.
    """

    index: Tensor

    def __init__(self, index: UInt8[Tensor, ...], has_zero: bool):
        super().__init__()
        self.register_buffer("index", index)
        self.has_zero = has_zero

    def forward(self, codebook: Float[Tensor, "books values"]) -> Float[Tensor, ...]:
        if self.has_zero:
            codebook = torch.cat([codebook.new_zeros(codebook.shape[0], 1), codebook], 1)
        places = self.index.long().reshape(codebook.shape[0], -1)
        return codebook.gather(1, places).reshape(self.index.shape)


def install(module: nn.Module, codebook: Float[Tensor, "books values"], index: UInt8[Tensor, ...], zero: bool) -> None:
    """Replaces a module's weight, masked or plain, by a codebook and indices."""
    if parametrize.is_parametrized(module, "weight"):
        make_plain(module)
    # What is stored becomes the codebook, whose shape is not the weight's: hence unsafe.
    parametrize.register_parametrization(module, "weight", Shared(index, zero), unsafe=True)
    module.parametrizations["weight"].original = nn.Parameter(codebook)  # type: ignore[index]


def shared_layers(network: nn.Module) -> dict[str, tuple[nn.Module, Shared]]:
    """The layers with a codebook by name."""
    return {name: (module, step) for name, module, step in layers_stored(network, Shared)}  # type: ignore[misc]


def values_in(clusters: int, zero: bool) -> int:
    """How many values a codebook of so many clusters stores; the zero is none of them."""
    return clusters - 1 if zero else clusters


def replay(network: Network, clusters: int, per: str, layers: list[str], zero: list[str], **about: object) -> Network:
    """Gives these layers empty codebooks; values and indices come with the tensors."""
    for name in layers:
        module = network.get_submodule(name)
        weight: Tensor = module.weight  # type: ignore[assignment]
        books = weight.shape[0] if per == "channel" else 1
        index = torch.zeros(weight.shape, dtype=torch.uint8)
        install(module, torch.zeros(books, values_in(clusters, name in zero)), index, name in zero)
    return network


def pack(network: Network, record: Record, tensors: Tensors) -> Tensors:
    """Codebook and index become `NAME.weight.codebook` and `NAME.weight.index`, several to a byte."""
    packed = dict(tensors)
    for name in _still_shared(record, tensors):
        packed[f"{name}.weight.codebook"] = packed.pop(_codebook_key(name))
        index = packed.pop(_index_key(name))
        packed[f"{name}.weight.index"] = torch.from_numpy(pack_bits(index.numpy(), record["clusters"]))
    return packed


def unpack(network: Network, record: Record, tensors: Tensors) -> Tensors:
    """Takes `pack` back."""
    whole = dict(tensors)
    for name in _still_shared(record, network.state_dict()):
        step = stored_in(network.get_submodule(name), Shared)
        assert isinstance(step, Shared)
        whole[_codebook_key(name)] = whole.pop(f"{name}.weight.codebook")
        bits = whole.pop(f"{name}.weight.index").numpy()
        index = unpack_bits(bits, record["clusters"], step.index.numel())
        if index.size and int(index.max()) >= record["clusters"]:
            raise ValueError(f"{name}: an index beyond its codebook")
        whole[_index_key(name)] = torch.from_numpy(index).reshape(step.index.shape)
    return whole


def bits_per_index(clusters: int) -> int:
    """1, 2, 4 or 8, so that no index lies across two bytes, which would hide its frequency from the entropy coder."""
    return next(bits for bits in (1, 2, 4, 8) if clusters <= 1 << bits)


def pack_bits(index: np.ndarray, clusters: int) -> np.ndarray:
    """Indices (uint8, any shape) as bytes that hold several each."""
    bits = bits_per_index(clusters)
    flat, each = index.reshape(-1), 8 // bits
    padded = np.zeros(-(-flat.size // each) * each, np.uint8)
    padded[: flat.size] = flat
    shifts = np.arange(each, dtype=np.uint8)[::-1] * bits
    return np.bitwise_or.reduce(padded.reshape(-1, each) << shifts, axis=1).astype(np.uint8)


def unpack_bits(packed: np.ndarray, clusters: int, count: int) -> np.ndarray:
    """Takes `pack_bits` back. Raises ValueError for another number of bytes than `count` indices take."""
    bits = bits_per_index(clusters)
    each = 8 // bits
    if packed.size != -(-count // each):
        raise ValueError(f"{packed.size} bytes for {count} indices of {bits} bits")
    shifts = np.arange(each, dtype=np.uint8)[::-1] * bits
    return ((packed[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count].astype(np.uint8)


def _still_shared(record: Record, tensors: Tensors) -> list[str]:
    """The record's layers that no later surgery has taken over."""
    return [name for name in record["layers"] if _index_key(name) in tensors]


def _codebook_key(name: str) -> str:
    return f"{name}.parametrizations.weight.original"


def _index_key(name: str) -> str:
    return f"{name}.parametrizations.weight.0.index"


add_surgery(KIND, Surgery(replay, pack, unpack, bundle=True))
