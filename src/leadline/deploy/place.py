"""Where in a network a node of its graph comes from."""

from __future__ import annotations

from torch.fx import Node


def module_of(node: Node) -> str:
    """The path of the module whose forward it stands in; "" for the network's own."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.removeprefix("L['self'].").removeprefix("L['self']")


def operation_of(node: Node) -> str:
    """What ATen calls it: "topk", "max.dim"."""
    return str(node.target).removeprefix("aten.").removesuffix(".default")
