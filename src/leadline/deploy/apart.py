"""Integers that more than one layer reads, as litert-torch 0.10.0 gets them right, for TFLite.

It quantises what comes out of a concatenation before it goes in, and gives the layer that made it the
concatenation's scale. Where another layer reads the same integers, that one's bias still stands on the scale of before:
plummet-s with planes every 2 px was seen to be off by a pixel in the mean. And where readers of the same dequantised
values want channels first and last, it loses track of which is which, and MobileStereoNet-2D did not convert.
"""

from __future__ import annotations

import torch
from torch import fx

from leadline.deploy.fold import keep_constant

aten = torch.ops.aten
# What moves values and leaves them as they are; quantising before or after is the same to the converter.
MOVES = {
    *(aten.slice.Tensor, aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default),
    *(
        aten.permute.default,
        aten.transpose.int,
        aten.reshape.default,
        aten.view.default,
        aten.relu.default,
        aten.relu_.default,
    ),
}
NOTHING = 1e-30  # vanishes beside any step of a scale; zeros alone would be folded away


def scales_apart(module: fx.GraphModule) -> fx.GraphModule:
    """Adds nothing, in floats, to what a concatenation shares with others: no scale travels back through a sum."""
    for cat in list(module.graph.nodes):
        if cat.target is not aten.cat.default:
            continue
        parts = list(cat.args[0])  # type: ignore[arg-type]
        for i, part in enumerate(parts):
            if isinstance(part, fx.Node) and _shares_integers(part):
                parts[i] = _plus_nothing(module, part, cat)
        cat.args = (parts, *cat.args[1:])
    module.recompile()
    return module


def one_reader_each(module: fx.GraphModule) -> fx.GraphModule:
    """Gives every reader of dequantised values a dequantisation of its own, from the same integers."""
    for node in list(module.graph.nodes):
        if "dequantize_per_tensor" not in str(node.target):
            continue
        for reader in list(node.users)[1:]:
            with module.graph.inserting_after(node):
                reader.replace_input_with(node, module.graph.node_copy(node))
    module.recompile()
    return module


def _shares_integers(node: fx.Node) -> bool:
    """Whether the node's values are a layer's integers that something else reads, too."""
    shared = False
    while True:
        shared = shared or len(node.users) > 1
        if "dequantize_per_tensor" in str(node.target):
            return shared
        if node.target not in MOVES and "getitem" not in str(node.target):
            return False
        node = node.args[0]  # type: ignore[assignment]


def _plus_nothing(module: fx.GraphModule, part: fx.Node, before: fx.Node) -> fx.Node:
    width = part.meta["val"].shape[-1]
    almost = torch.zeros(1, 1, 1, width)
    almost[..., ::2] = NOTHING
    with module.graph.inserting_before(before):
        constant = keep_constant(module, f"{part.name}_nothing", almost)
        total = module.graph.call_function(aten.add.Tensor, (part, constant))
    total.meta["val"] = part.meta["val"]
    return total
