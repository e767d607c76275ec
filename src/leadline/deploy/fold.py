"""What converters need not compute: BatchNorm in the convolution before it, and constants made of constants."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

aten = torch.ops.aten
LARGEST_CONSTANT = 1 << 22  # elements: what is larger is better made when it is needed
CONVOLUTIONS: dict[object, bool] = {
    aten.conv1d.default: False,
    aten.conv2d.default: False,
    aten.conv3d.default: False,
    aten.conv_transpose2d.input: True,
    aten.conv_transpose3d.input: True,
}  # whether it is transposed; weight and bias are arguments 1 and 2 of all of them


def fold_batchnorm(network: nn.Module, example: tuple[Tensor, ...]) -> fx.GraphModule:
    """The network as a graph for images of the example's size, in which convolutions have taken up their BatchNorms.

    A BatchNorm is left as it is where its input is not a convolution's output, or is used elsewhere too.
    """
    with torch.no_grad():
        module = torch.export.export(network.eval(), example).module()
        assert isinstance(module, fx.GraphModule)
        for node in list(module.graph.nodes):
            if node.target is aten.batch_norm.default:
                _fold(module, node)
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
    return module


def fold_constants(module: fx.GraphModule) -> fx.GraphModule:
    """Whatever does not depend on the images is computed once: ranges, masks, weights made of weights.

    Integer weights stay integer: the nodes that quantise and dequantise are for the target's runtime.
    """
    values: dict[fx.Node, Tensor] = {}
    with torch.no_grad():
        for node in list(module.graph.nodes):
            if node.op == "get_attr" and (constant := value_of(module, node)) is not None:
                values[node] = constant
            if node.op != "call_function" or not all(source in values for source in node.all_input_nodes):
                continue
            if getattr(node.target, "namespace", None) == "quantized_decomposed":
                continue
            found = node.target(*fx.map_arg(node.args, values.get), **fx.map_arg(node.kwargs, values.get))
            if isinstance(found, Tensor) and found.numel() <= LARGEST_CONSTANT:
                values[node] = found
        for node in [node for node in values if node.op == "call_function"]:
            if all(user in values for user in node.users):
                continue  # read by what is folded too
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(keep_constant(module, f"{node.name}_folded", values[node]))
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
    return module


def _fold(module: fx.GraphModule, norm: fx.Node) -> None:
    conv = norm.args[0]
    if not isinstance(conv, fx.Node) or conv.target not in CONVOLUTIONS or len(conv.users) > 1:
        return
    is_transposed = CONVOLUTIONS[conv.target]
    arguments = [*conv.args, None][: max(3, len(conv.args))]
    if is_transposed and len(arguments) > 6 and arguments[6] != 1:
        return  # the output channels of a grouped one are spread over two axes of the weight
    weight, bias = value_of(module, arguments[1]), value_of(module, arguments[2])
    gamma, beta, mean, variance = (value_of(module, argument) for argument in norm.args[1:5])
    if weight is None or mean is None or variance is None:
        return
    eps = norm.args[7]
    assert isinstance(eps, float)
    folded_weight, folded_bias = fuse_conv_bn_weights(
        nn.Parameter(weight), None if bias is None else nn.Parameter(bias), mean, variance, eps,
        None if gamma is None else nn.Parameter(gamma), None if beta is None else nn.Parameter(beta), is_transposed,
    )  # fmt: skip
    with module.graph.inserting_before(conv):
        arguments[1] = keep_constant(module, f"{conv.name}_weight", folded_weight)
        arguments[2] = keep_constant(module, f"{conv.name}_bias", folded_bias)
    conv.args = tuple(arguments)
    norm.replace_all_uses_with(conv)
    module.graph.erase_node(norm)


def value_of(module: fx.GraphModule, node: object) -> Tensor | None:
    """The constant that an argument stands for; None where it is absent or computed."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: object = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    assert isinstance(value, Tensor)
    return value.detach()


def keep_constant(module: fx.GraphModule, name: str, value: Tensor) -> fx.Node:
    """A node for a constant that the graph did not have, where the graph is being inserted to."""
    module.register_buffer(name, value.detach().contiguous())
    return module.graph.get_attr(name)
