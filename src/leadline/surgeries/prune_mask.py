"""Pruned weights that stay zero: single ones, rows or columns of kernels, whole kernels.

The record says which layers are masked and in which units; the masks themselves are tensors of the checkpoint. On disk
a masked layer is a bitmap of its units and the values of those kept.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from leadline.models import Network
from leadline.surgeries.parametrised import Stored, layers_stored, make_plain, stored_in
from leadline.surgeries.registry import Record, Surgery, Tensors, add_surgery

KIND = "prune-mask"
UNITS = ("weight", "row", "column", "kernel")


class Mask(Stored):
    """weight -> weight where kept, else 0; also its gradient.

    Args:
        keep: one value per unit, in a shape that spreads over the weight's: (o, i, 1, 1) for kernels.
    """

    keep: Tensor

    def __init__(self, keep: Bool[Tensor, ...]):
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, weight: Float[Tensor, ...]) -> Float[Tensor, ...]:
        return torch.where(self.keep, weight, 0.0)


def unit_shape(shape: tuple[int, ...], unit: str) -> tuple[int, ...]:
    """The shape of a mask for a weight (o, i, *kernel); a matrix, like a 1x1 kernel, has single weights alone."""
    if len(shape) < 3 or unit == "weight":
        return shape
    if unit == "row":
        return (*shape[:-1], 1)
    if unit == "column":
        return (*shape[:-2], 1, shape[-1]) if len(shape) > 3 else shape
    return (*shape[:2], *(1 for _ in shape[2:]))


def install(module: nn.Module, keep: Bool[Tensor, ...]) -> None:
    """Masks a module's weight. What is not kept is set to 0 in what is stored too."""
    if stored_in(module, Mask) is not None:
        make_plain(module)
    with torch.no_grad():
        module.weight.masked_fill_(~keep, 0.0)  # type: ignore[operator]
    parametrize.register_parametrization(module, "weight", Mask(keep))


def masked_layers(network: nn.Module) -> dict[str, tuple[nn.Module, Mask]]:
    """The masked layers by name."""
    return {name: (module, step) for name, module, step in layers_stored(network, Mask)}  # type: ignore[misc]


def replay(network: Network, unit: str, layers: list[str], **about: object) -> Network:
    """Masks these layers; which units are kept comes with the tensors."""
    for name in layers:
        module = network.get_submodule(name)
        weight: Tensor = module.weight  # type: ignore[assignment]
        install(module, torch.ones(unit_shape(tuple(weight.shape), unit), dtype=torch.bool))
    return network


def pack(network: Network, record: Record, tensors: Tensors) -> Tensors:
    """Weight and mask become `NAME.weight.kept`, a bitmap, and `NAME.weight.values`."""
    packed = dict(tensors)
    for name in _still_masked(network, record, tensors):
        weight, keep = packed.pop(_weight_key(name)), packed.pop(_mask_key(name))
        bits = np.packbits(keep.flatten().numpy())
        packed[f"{name}.weight.kept"] = torch.from_numpy(bits)
        packed[f"{name}.weight.values"] = weight[keep.expand(weight.shape)].clone()
    return packed


def unpack(network: Network, record: Record, tensors: Tensors) -> Tensors:
    """Takes `pack` back."""
    whole = dict(tensors)
    for name in _still_masked(network, record, network.state_dict()):
        mask = stored_in(network.get_submodule(name), Mask)
        assert isinstance(mask, Mask)
        bits, values = whole.pop(f"{name}.weight.kept"), whole.pop(f"{name}.weight.values")
        count = mask.keep.numel()
        if bits.numel() != -(-count // 8):
            raise ValueError(f"{name}: a bitmap of {bits.numel()} bytes for {count} units")
        keep = torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(bool)).reshape(mask.keep.shape)
        weight = torch.zeros(network.get_submodule(name).weight.shape, dtype=values.dtype)  # type: ignore[arg-type]
        spread = keep.expand(weight.shape)
        if int(spread.sum()) != values.numel():
            raise ValueError(f"{name}: {values.numel()} values for {int(spread.sum())} places")
        weight[spread] = values
        whole[_weight_key(name)], whole[_mask_key(name)] = weight, keep
    return whole


def _still_masked(network: Network, record: Record, tensors: Tensors) -> list[str]:
    """The record's layers that no later surgery has taken over."""
    return [name for name in record["layers"] if _mask_key(name) in tensors]


def _weight_key(name: str) -> str:
    return f"{name}.parametrizations.weight.original"


def _mask_key(name: str) -> str:
    return f"{name}.parametrizations.weight.0.keep"


add_surgery(KIND, Surgery(replay, pack, unpack, bundle=True))
