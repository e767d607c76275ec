"""One value for a whole map, spread as a product, for TFLite.

litert-torch 0.10.0 moves channels to the end where it sees convolutions, and forgets the shape that a BROADCAST_TO
before one was given: what comes out is wrong (the mean of the map in an ASPP was seen to be).
"""

from __future__ import annotations

import torch
from torch import fx

from leadline.deploy.fold import keep_constant

aten = torch.ops.aten


def without_spreading(module: fx.GraphModule) -> fx.GraphModule:
    """Each (b, c, 1, 1) that is expanded to (b, c, h, w) is multiplied by a map of ones instead."""
    for node in list(module.graph.nodes):
        if node.target is not aten.expand.default or not isinstance(node.args[0], fx.Node):
            continue
        before, after = node.args[0].meta["val"].shape, node.meta["val"].shape
        if len(before) != 4 or before[:2] != after[:2] or tuple(before[2:]) != (1, 1) or before == after:
            continue
        with module.graph.inserting_before(node):
            ones = keep_constant(module, f"{node.name}_ones", torch.ones(1, 1, *after[2:]))
            product = module.graph.call_function(aten.mul.Tensor, (node.args[0], ones))
            product.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(product)
        module.graph.erase_node(node)
    module.recompile()
    return module
