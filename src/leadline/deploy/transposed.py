"""Transposed convolutions in other words, for converters that get them wrong or runtimes that lack them."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from leadline.deploy.fold import keep_constant, value_of

aten = torch.ops.aten
_DIMS: dict[object, int] = {aten.conv_transpose2d.input: 2, aten.conv_transpose3d.input: 3}


def without_output_padding(module: fx.GraphModule) -> fx.GraphModule:
    """Kernels grow by zeros at their far end, which adds what `output_padding` would: the same function.

    Without this, litert-torch 0.10.0 lowers such a convolution to another one, silently for TensorFlow.
    """
    for node in [node for node in module.graph.nodes if node.target in _DIMS]:
        stored = _stored_weight(node)
        weight = value_of(module, stored)
        _, _, _, stride, padding, extra, groups, dilation = _arguments(node)
        if weight is None or not any(extra):
            continue
        if any(step != 1 for step in dilation):
            continue  # zeros at the end would have to be more than the padding asked for
        far = [amount for side in reversed(extra) for amount in (0, side)]
        reader = next(user for user in stored.users if user is node or "quantize_per" in str(user.target))
        with module.graph.inserting_before(reader):
            longer = keep_constant(module, f"{node.name}_longer", F.pad(weight, far))
        reader.replace_input_with(stored, longer)
        node.args = (*node.args[:3], stride, padding, [0] * len(stride), groups, dilation)
    module.recompile()
    return module


def without_transposed_3d(module: fx.GraphModule) -> fx.GraphModule:
    """Each transposed 3-D convolution as one small convolution per phase of its stride, interleaved afterwards.

    Output voxel `stride * q + r` sees the input voxels round q through every stride-th tap of the kernel, from tap
    (r + padding) % stride on; so the multiplications are those of the transposed convolution, none with zeros.
    """
    for node in _transposed(module, {aten.conv_transpose3d.input}):
        _, weight, bias, stride, padding, _, groups, dilation = _arguments(node)
        if any(step != 1 for step in dilation) or any(k < s for k, s in zip(weight.shape[2:], stride, strict=True)):
            continue  # not written in phases here: left for the converter to take or refuse
        source = node.args[0]
        assert isinstance(source, fx.Node)
        size = tuple(node.meta["val"].shape[2:])
        with module.graph.inserting_before(node):
            result = _by_phases(module, node, source, weight, bias, stride, padding, groups, size)
        node.replace_all_uses_with(result)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _by_phases(
    module: fx.GraphModule,
    node: fx.Node,
    source: fx.Node,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    groups: int,
    size: tuple[int, ...],
) -> fx.Node:
    """Nodes for the phases and their interleaving, before the node that they replace."""
    graph = module.graph
    input_size = tuple(source.meta["val"].shape[2:])
    # (in, out / g, ...) as transposed convolutions have it -> (out, in / g, ...)
    forward = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    constant_bias = None if bias is None else keep_constant(module, f"{node.name}_bias", bias)
    rows = [-(-side // step) for side, step in zip(size, stride, strict=True)]  # of each phase
    phases = {}
    for phase in product(*(range(step) for step in stride)):
        taps, pads = forward, []
        for axis, r in enumerate(phase):
            s, p = stride[axis], padding[axis]
            first = (r + p) % s
            taps = taps.movedim(axis + 2, 0)[first::s].flip(0).movedim(0, axis + 2)
            reach, ahead = taps.shape[axis + 2] - 1, (r + p) // s
            pads = [reach - ahead, rows[axis] - 1 + ahead - (input_size[axis] - 1), *pads]  # negative ones crop
        kernel = keep_constant(module, f"{node.name}_phase{''.join(map(str, phase))}", taps)
        padded = graph.call_function(aten.pad.default, (source, pads))
        ones = [1] * len(size)
        arguments = (padded, kernel, constant_bias, ones, [0] * len(size), ones, groups)
        phases[phase] = graph.call_function(aten.conv3d.default, arguments)
    for axis in reversed(range(len(size))):  # the last axis first; what is left of a phase's name are the axes before
        leading = sorted({phase[:axis] for phase in phases})
        merged = {}
        for name in leading:
            neighbours = [phases[(*name, r)] for r in range(stride[axis])]
            stacked = graph.call_function(aten.stack.default, (neighbours, axis + 3))
            merged[name] = graph.call_function(aten.flatten.using_ints, (stacked, axis + 2, axis + 3))
        phases = merged
    result = phases[()]
    for axis, side in enumerate(size):
        if side != rows[axis] * stride[axis]:
            result = graph.call_function(aten.slice.Tensor, (result, axis + 2, 0, side))
    return result


def _stored_weight(node: fx.Node) -> fx.Node:
    """The weight before it is quantised and dequantised, where it is: 0 stays 0 through both."""
    stored = node.args[1]
    while isinstance(stored, fx.Node) and "quantize_per" in str(stored.target):
        stored = stored.args[0]
    assert isinstance(stored, fx.Node)
    return stored


def _transposed(module: fx.GraphModule, kinds: set | dict) -> list[fx.Node]:
    """The nodes of these kinds whose weights are constants."""
    nodes = [node for node in module.graph.nodes if node.target in kinds]
    return [node for node in nodes if value_of(module, node.args[1]) is not None]


def _arguments(node: fx.Node) -> tuple:
    """Input, weight, bias, stride, padding, output padding, groups, dilation; all tensors of constants as values."""
    module = node.graph.owning_module
    assert module is not None
    dims = _DIMS[node.target]
    defaults = (None, [1] * dims, [0] * dims, [0] * dims, 1, [1] * dims)
    arguments = [*node.args, *defaults[len(node.args) - 2 :]]
    for place in (3, 4, 5, 7):
        sides = list(arguments[place])
        arguments[place] = sides * dims if len(sides) == 1 else sides
    return (arguments[0], value_of(module, arguments[1]), value_of(module, arguments[2]), *arguments[3:])
