"""The layers of a network: parameters, multiply-accumulates at a size, bits, and bytes as they are stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from leadline.compress.flow import LAYERS
from leadline.compress.sensitivities import stage_of
from leadline.models import Network
from leadline.models.counting import countable, counted
from leadline.nn.quantize.binary import BinaryConv2d
from leadline.nn.quantize.layers import QuantizedLayer
from leadline.predict.predictor import VIEWS


@dataclass(frozen=True)
class LayerRow:
    """One layer."""

    layer: str
    stage: str
    kind: str
    parameters: int
    macs: int  # multiply-accumulates, of one prediction at the size
    output: str  # shape, CxHxW
    bits: int  # of the weights
    bytes: int  # of the weights as stored


def layer_table(network: Network, size: tuple[int, int]) -> list[LayerRow]:
    """The convolutions and linear layers that a prediction uses, in the order in which they are called.

    Args:
        size: (h, w) px, one that the network accepts.
    """
    network = countable(network)
    found: dict[str, list] = {}
    with counted() as counter:
        for name, module in network.named_modules():
            if isinstance(module, LAYERS):

                def before(_: nn.Module, __, name: str = name) -> None:
                    found.setdefault(name, [0, None, 0])[2] = counter.get_total_flops()

                def after(_: nn.Module, __, out: torch.Tensor, name: str = name) -> None:
                    row = found[name]
                    row[0] += (counter.get_total_flops() - row[2]) // 2
                    row[1] = tuple(out.shape[1:])

                module.register_forward_pre_hook(before)
                module.register_forward_hook(after)
        network(*(torch.zeros(1, 3, *size) for _ in VIEWS[network.task]))
    return [_row(name, network.get_submodule(name), macs, shape) for name, (macs, shape, _) in found.items()]


def _row(name: str, layer: nn.Module, macs: int, shape: tuple[int, ...]) -> LayerRow:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    bits, kind = 32, type(layer).__name__
    if isinstance(layer, QuantizedLayer):
        bits, kind = layer.numbers.bits, kind.removeprefix("Quantized")
    elif isinstance(layer, BinaryConv2d):
        bits, kind = 1, kind.removeprefix("Binary")
    count = sum(parameter.numel() for parameter in (weight, layer.bias) if isinstance(parameter, torch.Tensor))
    return LayerRow(
        name, stage_of(name), kind, count, macs, "x".join(map(str, shape)), bits, -(-weight.numel() * bits // 8)
    )
