"""ONNX with integers: how quantise and dequantise nodes are translated, and what is tidied afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from leadline.artifacts.runtimes import need
from leadline.models.network import Network
from leadline.nn.quantize.pack import pack_bits, pack_nibbles
from leadline.surgeries.quantize import binary_layers, quantized_layers

OPSET = 21  # the first with INT4


def translations() -> dict[Any, Callable[..., Any]]:
    """torch.onnx's `custom_translation_table` for `quantized_decomposed`."""
    need("onnxscript", "onnx")
    import torch.ao.quantization.fx._decomposed  # registers the operators
    from onnx import TensorProto
    from onnxscript import opset21

    op: Any = opset21  # its types know nothing of values in a graph

    def zero(zero_point, low, high, stored=False):
        if high - low < 16:
            return op.Cast(op.Constant(value_int=zero_point), to=TensorProto.INT4)
        if stored:
            return op.Cast(op.Constant(value_int=zero_point), to=TensorProto.INT8)
        # Codes of activations as 0 .. 255, which is the same by another name: on x86, ONNX Runtime's kernels want
        # them so, and its own conversion of int8 makes models of opset 21 invalid (seen in 1.32).
        return op.Cast(op.Constant(value_int=zero_point + 128), to=TensorProto.UINT8)

    def quantize(x, scale: float, zero_point: int, low: int, high: int, dtype: int):
        return op.QuantizeLinear(x, op.Constant(value_float=scale), zero(zero_point, low, high))

    def dequantize(x, scale: float, zero_point: int, low: int, high: int, dtype: int):
        stored = low == -127  # weights, which have no -128
        return op.DequantizeLinear(x, op.Constant(value_float=scale), zero(zero_point, low, high, stored))

    def dequantize_channels(x, scales, zero_points, axis: int, low: int, high: int, dtype: int):
        return op.DequantizeLinear(x, scales, op.Cast(zero_points, to=TensorProto.INT8), axis=axis)

    ops = torch.ops.quantized_decomposed
    return {
        ops.quantize_per_tensor.default: quantize,
        ops.dequantize_per_tensor.default: dequantize,
        ops.dequantize_per_channel.default: dequantize_channels,
    }


def tidy(model: Any, network: Network) -> None:
    """Brings an exported model into the form in which it is small and ONNX Runtime finds its integer kernels.

    - weights of 4 bits become INT4, of 1 bit a byte for eight, which the graph unpacks;
    - a ReLU is left out where the codes before it end at 0 already, as it changes nothing there;
    - a tensor that was just dequantised is not quantised a second time with the same scale.
    """
    held = _initializers(model.graph)  # not of layers that serve training alone
    for name, layer in quantized_layers(network).items():
        if layer.numbers.bits == 4 and not layer.grouped and f"{name}.codes" in held:
            _store_int4(model.graph, f"{name}.codes")
    for name in binary_layers(network):
        _store_bits(model.graph, f"{name}.codes")
    tidy_graph(model.graph)


def tidy_graph(graph: Any) -> None:
    """What needs no knowledge of the network."""
    _drop_idle_relus(graph)
    _drop_second_rounding(graph)
    _drop_unused(graph)


def _initializers(graph: Any) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in graph.initializer}


def _store_int4(graph: Any, name: str) -> None:
    from onnx import TensorProto, numpy_helper

    tensors = _initializers(graph)
    tensor = tensors[name]
    tensor.raw_data = _nibbles(numpy_helper.to_array(tensor))
    tensor.data_type = TensorProto.INT4
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] == name and len(node.input) > 2:
            zero_point = numpy_helper.to_array(tensors[node.input.pop()])
            if zero_point.any():
                own = graph.initializer.add(name=f"{name}.zero_point", data_type=TensorProto.INT4)
                own.dims.extend(zero_point.shape)
                own.raw_data = _nibbles(zero_point)
                node.input.append(own.name)


def _nibbles(codes: np.ndarray) -> bytes:
    return pack_nibbles(torch.from_numpy(codes.astype(np.int8))).numpy().tobytes()


def _store_bits(graph: Any, name: str) -> None:
    """The signs of `name` packed, and the nodes that unpack them, before all others."""
    from onnx import TensorProto, helper, numpy_helper

    tensor = _initializers(graph)[name]
    signs = numpy_helper.to_array(tensor)
    graph.initializer.remove(tensor)
    packed = pack_bits(torch.from_numpy(signs > 0)).numpy()
    constants = {
        "packed": packed[:, None], "shifts": np.arange(8, dtype=np.uint8)[None], "one": np.array([1], np.uint8),
        "flat": np.array([-1]), "start": np.array([0]), "end": np.array([signs.size]), "axis": np.array([0]),
        "shape": np.array(signs.shape), "two": np.array([2], np.int8), "minus_one": np.array([-1], np.int8),
    }  # fmt: skip
    for key, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{name}.{key}"))
    steps = [
        ("BitShift", ("packed", "shifts"), "shifted", {"direction": "RIGHT"}),
        ("BitwiseAnd", ("shifted", "one"), "bits", {}),
        ("Reshape", ("bits", "flat"), "row", {}),
        ("Slice", ("row", "start", "end", "axis"), "cut", {}),
        ("Reshape", ("cut", "shape"), "shaped", {}),
        ("Cast", ("shaped",), "signed", {"to": TensorProto.INT8}),
        ("Mul", ("signed", "two"), "doubled", {}),
        ("Add", ("doubled", "minus_one"), "", {}),
    ]
    nodes = [
        helper.make_node(
            kind, [f"{name}.{given}" for given in takes], [f"{name}.{gives}" if gives else name],
            name=f"{name}/{kind}_{i}", **attributes,
        )
        for i, (kind, takes, gives, attributes) in enumerate(steps)
    ]  # fmt: skip
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes + rest)


def _parameters(graph: Any, node: Any) -> tuple[float, int, int] | None:
    """Scale, zero point and its type, of a (de)quantise node with one of each."""
    from onnx import numpy_helper

    tensors = _initializers(graph)
    if len(node.input) < 3 or any(name not in tensors for name in node.input[1:]):
        return None
    scale, zero_point = (numpy_helper.to_array(tensors[name]) for name in node.input[1:3])
    if scale.size != 1:
        return None
    return float(scale.item()), int(zero_point.item()), tensors[node.input[2]].data_type


def _drop_idle_relus(graph: Any) -> None:
    from onnx import TensorProto

    lowest = {TensorProto.UINT8: 0, TensorProto.INT4: -8}
    made_by = {name: node for node in graph.node for name in node.output}
    for node in list(graph.node):
        before = made_by.get(node.input[0]) if node.op_type == "Relu" else None
        if before is None or before.op_type != "DequantizeLinear":
            continue
        found = _parameters(graph, before)
        if found is not None and found[1] == lowest.get(found[2]):  # pyright: ignore[reportArgumentType]
            _bypass(graph, node, node.input[0])


def _drop_second_rounding(graph: Any) -> None:
    made_by = {name: node for node in graph.node for name in node.output}
    for node in list(graph.node):
        before = made_by.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if before is None or before.op_type != "DequantizeLinear" or before.input[0] not in made_by:
            continue
        mine = _parameters(graph, node)
        if mine is not None and mine == _parameters(graph, before):
            _bypass(graph, node, before.input[0])


def _bypass(graph: Any, node: Any, instead: str) -> None:
    """Everything that read the node's output reads `instead`."""
    gone = node.output[0]
    for other in graph.node:
        for i, name in enumerate(other.input):
            if name == gone:
                other.input[i] = instead
    graph.node.remove(node)


def _drop_unused(graph: Any) -> None:
    """Nodes and tensors that nothing reads."""
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        idle = [node for node in graph.node if not read & set(node.output)]
        for node in idle:
            graph.node.remove(node)
        if not idle:
            break
    for tensor in list(graph.initializer):
        if tensor.name not in read:
            graph.initializer.remove(tensor)
    made = {name for node in graph.node for name in node.output}
    for value in list(graph.value_info):
        if value.name not in made:
            graph.value_info.remove(value)
