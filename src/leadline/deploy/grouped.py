"""Grouped 3-D convolutions as 2-D ones, for TFLite, which has none: litert-torch 0.10.0 even crashes on some."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from leadline.deploy.fold import keep_constant, value_of

aten = torch.ops.aten


def without_grouped_3d(module: fx.GraphModule) -> fx.GraphModule:
    """Each grouped 3-D convolution as the sum of one 2-D convolution per plane of its kernel, with the planes of the
    volume as a batch: the same multiplications."""
    for node in list(module.graph.nodes):
        if node.target is not aten.conv3d.default or len(node.args) < 7 or node.args[6] == 1:
            continue
        weight = value_of(module, node.args[1])
        if weight is None or node.meta["val"].shape[0] != 1:
            continue
        with module.graph.inserting_before(node):
            node.replace_all_uses_with(_by_planes(module, node, weight))
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _by_planes(module: fx.GraphModule, node: fx.Node, weight: torch.Tensor) -> fx.Node:
    call = module.graph.call_function
    arguments: Any = node.args
    source, _, bias, stride, padding, dilation, groups = arguments
    stride, padding, dilation = (sides * 3 if len(sides) == 1 else sides for sides in (stride, padding, dilation))
    planes = node.meta["val"].shape[2]
    padded = call(aten.pad.default, (source, [0, 0, 0, 0, padding[0], padding[0]]))
    batch = call(aten.permute.default, (call(aten.squeeze.dim, (padded, 0)), [1, 0, 2, 3]))  # (d, c, h, w)
    total = None
    for tap in range(weight.shape[2]):
        first = tap * dilation[0]
        last = first + stride[0] * (planes - 1) + 1
        seen = call(aten.slice.Tensor, (batch, 0, first, last, stride[0]))
        kernel = keep_constant(module, f"{node.name}_plane{tap}", weight[:, :, tap])
        asked = (seen, kernel, bias if tap == 0 else None, stride[1:], padding[1:], dilation[1:], groups)
        part = call(aten.conv2d.default, asked)
        total = part if total is None else call(aten.add.Tensor, (total, part))
    return call(aten.unsqueeze.default, (call(aten.permute.default, (total, [1, 0, 2, 3])), 0))
