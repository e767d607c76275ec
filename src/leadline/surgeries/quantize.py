"""Quantisation as a surgery: BatchNorms folded into the convolutions before them, layers of 8, 4 and 1 bit.

Its record says, by the layers' names, how each tensor is quantised; scales and zero points are tensors of the
checkpoint. Weights are stored as they are computed with: a byte each, two to a byte at 4 bit, eight to a byte at 1 bit.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from leadline.models import Network
from leadline.nn.quantize.affine import from_codes, to_codes
from leadline.nn.quantize.binary import BinaryConv2d
from leadline.nn.quantize.layers import Numbers, QuantizedLayer, quantized
from leadline.nn.quantize.pack import pack_bits, pack_nibbles, unpack_bits, unpack_nibbles
from leadline.surgeries.parametrised import make_plain, stored_in
from leadline.surgeries.registry import Record, Surgery, Tensors, add_surgery

KIND = "quantize"
QUANTIZER_TENSORS = ("scale", "zero_point", "stretch")
# Every tensor of a file has a line in its header: small ones go together, in the record's order.
SCALES, ZERO_POINTS = "quantizers.scale", "quantizers.zero_point"  # of tensors with one each
CHANNEL_SCALES, BIASES = "quantizers.channel_scale", "quantizers.bias"  # of symmetric weights; of their layers


def layer_record(weight: Numbers, input: Numbers | None, output: Numbers | None) -> dict[str, Any]:
    """How one layer is quantised, as plain values.

    "input_as" may stand beside them: the tensor ("LAYER.input" or "LAYER.output") that the input is, whose scale it
    therefore shares; and "sparse": the weight was pruned, and its zeros stay.
    """
    parts = {"weight": weight, "input": input, "output": output}
    return {name: _told(numbers) for name, numbers in parts.items() if numbers is not None}


def _told(numbers: Numbers) -> dict[str, Any]:
    """What is not the default."""
    return {f.name: value for f in fields(numbers) if (value := getattr(numbers, f.name)) != f.default}


def quantize_layers(
    network: Network, layers: Record, folded: list[list[str]], binary: Record | None = None, **about: Any
) -> Network:
    """Gives the network the structure of the record, in place; weights go along.

    Args:
        layers: name -> `layer_record`.
        folded: [convolution, BatchNorm after it], by name.
        binary: name -> {"shortcut": bool}, of the layers of 1 bit.
        about: what else stands in the record, for people.

    Raises:
        AttributeError, KeyError, ValueError: the record does not fit.
    """
    for name in {*(conv for conv, _ in folded), *layers, *(binary or {})}:
        if stored_in(network.get_submodule(name)) is not None:  # masked or shared before: taken over as it is
            make_plain(network.get_submodule(name))
    for conv, norm in folded:
        fold_batchnorm(network, conv, norm)
    for name, how in layers.items():
        numbers = {part: Numbers(**how[part]) if part in how else None for part in ("weight", "input", "output")}
        assert numbers["weight"] is not None
        new = quantized(network.get_submodule(name), numbers["weight"], numbers["input"], numbers["output"])
        new.keeps_zeros = bool(how.get("sparse"))
        replace_module(network, name, new)
    for name, how in layers.items():
        if "input_as" in how:
            _layer(network, name).borrow_input(network.get_submodule(f"{how['input_as']}_quantizer"))  # type: ignore[arg-type]
    for name, how in (binary or {}).items():
        replace_module(network, name, _binary(network.get_submodule(name), **how))
    return network


def fold_batchnorm(network: nn.Module, conv: str, norm: str) -> None:
    """The BatchNorm becomes part of the convolution; in its place is an Identity."""
    layer, batchnorm = network.get_submodule(conv), network.get_submodule(norm)
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, batchnorm.running_mean, batchnorm.running_var, batchnorm.eps,  # type: ignore[arg-type]
        batchnorm.weight, batchnorm.bias, transposed,  # type: ignore[arg-type]
    )  # fmt: skip
    layer.weight, layer.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    replace_module(network, norm, nn.Identity())


def _binary(layer: nn.Module, shortcut: bool) -> BinaryConv2d:
    if type(layer) is not nn.Conv2d:
        raise ValueError(f"a {type(layer).__name__} has no form of 1 bit")
    new = BinaryConv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,  # type: ignore[arg-type]
        layer.groups, layer.bias is not None, shortcut,
    )  # fmt: skip
    with torch.no_grad():
        new.weight.copy_(layer.weight)
        if layer.bias is not None and new.bias is not None:
            new.bias.copy_(layer.bias)
        new.fit_scale()
    return new.to(layer.weight.device)


def replace_module(network: nn.Module, name: str, new: nn.Module) -> None:
    """Puts a module in the place, or places, of another."""
    old = network.get_submodule(name)
    for place, module in list(network.named_modules(remove_duplicate=False)):
        if module is old:
            parent, _, child = place.rpartition(".")
            setattr(network.get_submodule(parent), child, new)


def quantized_layers(network: nn.Module) -> dict[str, QuantizedLayer]:
    """The quantised layers by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, QuantizedLayer)}


def binary_layers(network: nn.Module) -> dict[str, BinaryConv2d]:
    """The layers of 1 bit by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, BinaryConv2d)}


def _quantizers(record: Record) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{name}.{part}_quantizer", how[part])
        for name, how in record["layers"].items()
        for part in ("weight", "input", "output")
        if part in how and not how[part].get("dynamic") and not (part == "input" and "input_as" in how)
    ]


def _borrowed(record: Record) -> list[tuple[str, str]]:
    """(name of a quantiser, name of the same one at its owner)"""
    return [
        (f"{name}.input_quantizer", f"{how['input_as']}_quantizer")
        for name, how in record["layers"].items()
        if "input_as" in how
    ]


def _pack(network: Network, record: Record, tensors: Tensors) -> Tensors:
    tensors = dict(tensors)
    for borrowed, _ in _borrowed(record):
        for part in QUANTIZER_TENSORS:
            del tensors[f"{borrowed}.{part}"]
    for quantizer, _ in _quantizers(record):
        tensors[f"{quantizer}.scale"] = tensors[f"{quantizer}.scale"] * torch.exp2(tensors.pop(f"{quantizer}.stretch"))
    for name in record["layers"]:
        layer, key = _layer(network, name), f"{name}.weight"
        scale, zero_point = _scales(layer, tensors, name)
        codes = to_codes(tensors[key], scale, zero_point, layer.weight_quantizer.grid).to(torch.int8)
        tensors[key] = pack_nibbles(codes) if layer.numbers.bits == 4 else codes
    scales, zero_points, of_channels = [], [], []
    for quantizer, how in _quantizers(record):
        scale, zero_point = tensors.pop(f"{quantizer}.scale"), tensors.pop(f"{quantizer}.zero_point").to(torch.int8)
        if scale.numel() == 1:
            scales.append(scale.flatten())
            zero_points.append(zero_point.flatten())
            continue
        if how["symmetric"]:
            of_channels.append(scale.flatten())
        else:
            tensors[f"{quantizer}.scale"], tensors[f"{quantizer}.zero_point"] = scale, zero_point
    biases = [tensors.pop(bias) for name in record["layers"] if (bias := f"{name}.bias") in tensors]
    for key, parts in ((SCALES, scales), (ZERO_POINTS, zero_points), (CHANNEL_SCALES, of_channels), (BIASES, biases)):
        if parts:
            tensors[key] = torch.cat(parts)
    for name in record.get("binary") or {}:
        tensors[f"{name}.weight"] = pack_bits(tensors[f"{name}.weight"] >= 0)
    return tensors


def _unpack(network: Network, record: Record, tensors: Tensors) -> Tensors:
    tensors = dict(tensors)
    joined = {key: _Joined(tensors.pop(key, torch.empty(0))) for key in (SCALES, ZERO_POINTS, CHANNEL_SCALES, BIASES)}
    for quantizer, how in _quantizers(record):
        held = network.get_submodule(quantizer).scale
        assert isinstance(held, torch.Tensor)
        shape, key = held.shape, f"{quantizer}.scale"
        if shape.numel() == 1:
            scale, zero_point = joined[SCALES].take(shape), joined[ZERO_POINTS].take(shape)
        else:
            scale = tensors[key] if key in tensors else joined[CHANNEL_SCALES].take(shape)  # before 0.9: one by one
            zero_point = torch.zeros_like(scale) if how["symmetric"] else tensors[f"{quantizer}.zero_point"]
        tensors[key], tensors[f"{quantizer}.zero_point"] = scale.clone(), zero_point.to(torch.int32)
        tensors[f"{quantizer}.stretch"] = torch.zeros_like(scale)
    for name in record["layers"]:
        bias, key = _layer(network, name).bias, f"{name}.bias"
        if bias is not None and key not in tensors:
            tensors[key] = joined[BIASES].take(bias.shape).clone()
    for borrowed, owner in _borrowed(record):
        for part in QUANTIZER_TENSORS:
            tensors[f"{borrowed}.{part}"] = tensors[f"{owner}.{part}"]
    for name in record["layers"]:
        layer, key = _layer(network, name), f"{name}.weight"
        shape = tuple(layer.weight.shape)
        codes = unpack_nibbles(tensors[key], shape) if layer.numbers.bits == 4 else tensors[key]
        tensors[key] = from_codes(codes.float(), *_scales(layer, tensors, name))
    for name in record.get("binary") or {}:
        shape = tuple(network.get_submodule(name).weight.shape)  # type: ignore[union-attr]
        signs = unpack_bits(tensors[f"{name}.weight"], shape).float() * 2 - 1
        # Only the sign is used; its size is what training on needs to be able to change it.
        size = tensors[f"{name}.scale"].abs().clamp(1e-3, 1)
        tensors[f"{name}.weight"] = signs * size.view(-1, 1, 1, 1)
    return tensors


class _Joined:
    """Tensors that were put into one, taken out again one after the other."""

    def __init__(self, values: Tensor):
        self.values, self.taken = values, 0

    def take(self, shape: torch.Size) -> Tensor:
        begin, self.taken = self.taken, self.taken + shape.numel()
        return self.values[begin : self.taken].reshape(shape)


def _layer(network: Network, name: str) -> QuantizedLayer:
    layer = network.get_submodule(name)
    assert isinstance(layer, QuantizedLayer)
    return layer


def _scales(layer: QuantizedLayer, tensors: Tensors, name: str) -> tuple[Tensor, Tensor]:
    scale = tensors[f"{name}.weight_quantizer.scale"]
    zero_point = tensors.get(f"{name}.weight_quantizer.zero_point")
    zero_point = torch.zeros_like(scale) if zero_point is None else zero_point.to(scale.dtype)
    return layer.spread(scale), layer.spread(zero_point)


add_surgery(KIND, Surgery(quantize_layers, _pack, _unpack))
