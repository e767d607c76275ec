"""Quantised networks on their way to a target: which targets take them, and the form that graphs are traced in."""

from __future__ import annotations

import copy

from leadline.errors import UserError
from leadline.models.network import Network
from leadline.surgeries.quantize import KIND, binary_layers, quantized_layers

TAKING = ("onnx", "openvino", "tflite")  # targets that keep the integers


def is_quantized(network: Network) -> bool:
    """Whether the network was quantised; one that was built of binary blocks is a float network like any other."""
    return any(record.get("kind") == KIND for record in getattr(network, "surgeries", []))


def frozen(network: Network, stored: bool = True) -> Network:
    """A copy whose quantised layers can be traced; the network itself where none is quantised.

    Args:
        stored: whether the graph holds the weights' integers, or the floats that they stand for and quantises them.
    """
    if not is_quantized(network):
        return network
    copied = copy.deepcopy(network).eval()
    for parameter in copied.parameters():
        # litert-torch 0.10.0 remembers constants by their address. It copies what is not contiguous, and when the copy
        # is gone its address may be another's: layers of one shape were seen to get each other's weights.
        parameter.data = parameter.data.contiguous()
    for layer in quantized_layers(copied).values():
        layer.freeze(stored)
    for layer in binary_layers(copied).values():
        layer.freeze()
    return copied


def precision(network: Network) -> str | None:
    """ "int8", "int4" or "int1", after the fewest bits of a weight; None where none is quantised."""
    if not is_quantized(network):
        return None
    bits = [layer.numbers.bits for layer in quantized_layers(network).values()]
    bits += [1 for _ in binary_layers(network)]
    return f"int{min(bits)}" if bits else None  # all layers skipped


def check_target(network: Network, target: str) -> None:
    """Raises UserError where the target cannot hold what the network's layers are."""
    if not is_quantized(network):
        return
    if target not in (*TAKING, "openvino-bfloat16"):
        if target.partition("-")[0] in TAKING:
            raise UserError(
                f"{target}: is for float networks: export the quantised network to {target.partition('-')[0]}"
            )
        raise UserError(
            f"{target}: takes no quantised network: its integers would become floats again; export to "
            f"{', '.join(TAKING[:-1])} or {TAKING[-1]}, or the float network that it was made of"
        )
    if target == "tflite":
        _check_tflite(network)
    if target.startswith("openvino") and precision(network) in ("int4", "int1"):
        raise UserError(f"{target}: layers of less than 8 bits would be computed in float there: export to onnx")


def _check_tflite(network: Network) -> None:
    binary = binary_layers(network)
    if binary:
        raise UserError(f"tflite: LiteRT has no convolution of 1 bit ({next(iter(binary))}): export to onnx")
    for name, layer in quantized_layers(network).items():
        if layer.grouped:
            raise UserError(f"tflite: {name}: LiteRT's convolutions know no scales per group: quantise per channel")
        if not layer.weight_quantizer.grid.symmetric:
            raise UserError(f"tflite: {name}: LiteRT's weights are symmetric: quantise with --scheme symmetric")
        if layer.input_quantizer is not None and layer.input_quantizer.grid.bits == 4:
            raise UserError(f"tflite: {name}: LiteRT has no activations of 4 bits: keep them at 8")
