"""Channels that were removed: layers with fewer outputs and inputs than their network was created with.

The record is the resulting width of each layer that changed, so that replaying it needs no pruning library: layers are
cut to that width, and the weights come from the checkpoint.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from leadline.models import Network
from leadline.surgeries.registry import Surgery, add_surgery

KIND = "prune-channels"
Indices = Int[Tensor, " _"] | None  # None: all
CUTTABLE = (_ConvNd, nn.Linear, _BatchNorm, nn.PReLU)


def replay(network: Network, modules: dict[str, list[int]], **about: object) -> Network:
    """Cuts each layer to `[outputs, inputs]`."""
    for name, (outputs, inputs) in modules.items():
        module = network.get_submodule(name)
        if not isinstance(module, CUTTABLE) or any(
            new > old for new, old in zip((outputs, inputs), widths(module), strict=True)
        ):
            raise ValueError(f"{name} cannot be cut to {outputs} outputs and {inputs} inputs")
        keep_channels(module, torch.arange(outputs), torch.arange(inputs))
    return network


def widths(module: nn.Module) -> tuple[int, int]:
    """Outputs and inputs of a layer."""
    if isinstance(module, _ConvNd):
        return module.out_channels, module.in_channels
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    if isinstance(module, _BatchNorm):
        return module.num_features, module.num_features
    assert isinstance(module, nn.PReLU)
    return module.num_parameters, module.num_parameters


def is_depthwise(module: nn.Module) -> bool:
    """Whether each output channel has an input channel of its own, and the two go together."""
    return isinstance(module, _ConvNd) and module.groups == module.out_channels == module.in_channels > 1


def keep_channels(module: nn.Module, outputs: Indices, inputs: Indices) -> None:
    """Keeps these outputs and inputs of a layer, in this order; in place.

    A depthwise convolution, BatchNorm or PReLU keeps what `outputs` says. In a grouped convolution every group has to
    keep as many, and of its inputs the same places in each group.
    """
    if isinstance(module, _ConvNd):
        _keep_of_convolution(module, outputs, inputs)
    elif isinstance(module, nn.Linear):
        _cut(module, "weight", 0, outputs)
        _cut(module, "weight", 1, inputs)
        _cut(module, "bias", 0, outputs)
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _BatchNorm):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _cut(module, name, 0, outputs)
        module.num_features = module.num_features if outputs is None else len(outputs)
    elif isinstance(module, nn.PReLU):
        if module.num_parameters > 1:
            _cut(module, "weight", 0, outputs)
            module.num_parameters = len(module.weight)
    else:
        raise ValueError(f"a {type(module).__name__} has no channels that could be cut")


def _keep_of_convolution(module: _ConvNd, outputs: Indices, inputs: Indices) -> None:
    transposed = isinstance(module, _ConvTransposeNd)
    if is_depthwise(module):
        _cut(module, "weight", 0, outputs)
        _cut(module, "bias", 0, outputs)
        if outputs is not None:
            module.groups = module.in_channels = module.out_channels = len(outputs)
        return
    of_axis_0, of_axis_1 = (inputs, outputs) if transposed else (outputs, inputs)
    _cut(module, "weight", 0, of_axis_0)
    _cut(module, "weight", 1, _within_group(of_axis_1, module.groups))
    _cut(module, "bias", 0, outputs)
    if outputs is not None:
        module.out_channels = len(outputs)
    if inputs is not None:
        module.in_channels = len(inputs)


def _within_group(indices: Indices, groups: int) -> Indices:
    """The places in the first group, which are those in every group."""
    return indices if indices is None or groups == 1 else indices[: len(indices) // groups]


def _cut(module: nn.Module, name: str, axis: int, indices: Indices) -> None:
    value = getattr(module, name)
    if value is None or indices is None:
        return
    kept = value.detach().index_select(axis, indices.to(value.device)).clone()
    if isinstance(value, nn.Parameter):
        setattr(module, name, nn.Parameter(kept, requires_grad=value.requires_grad))
    else:
        setattr(module, name, kept)  # a buffer stays one


add_surgery(KIND, Surgery(replay))
