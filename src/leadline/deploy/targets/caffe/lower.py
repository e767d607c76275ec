"""Walks a network's ATen graph and turns every node into Caffe layers by the table of lowerings."""

from __future__ import annotations

import operator
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from leadline.deploy.place import module_of, operation_of
from leadline.deploy.targets.caffe import arithmetic, convolutions, resizing, shapes
from leadline.deploy.targets.caffe.advice import advice_for
from leadline.deploy.targets.caffe.layers import Blob, Layers
from leadline.deploy.targets.caffe.refusal import CannotLower
from leadline.errors import UserError
from leadline.models.network import Network
from leadline.nn.forms import few_operations

LOWERINGS = {**arithmetic.LOWERINGS, **convolutions.LOWERINGS, **resizing.LOWERINGS, **shapes.LOWERINGS}
# What the graph keeps whole: Caffe says these in fewer layers than what they would be broken into.
_WHOLE = (
    "replication_pad2d", "pixel_shuffle", "pixel_unshuffle", "upsample_nearest2d.vec", "upsample_bilinear2d.vec",
    "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "elu", "leaky_relu", "prelu", "upsample_trilinear3d.vec",
    "grid_sampler_2d", "layer_norm", "group_norm", "instance_norm",
)  # fmt: skip


@dataclass(frozen=True)
class Unsupported:
    """A place of a network that has no Caffe layers."""

    module: str  # path within the network
    operation: str  # as ATen calls it
    reason: str
    advice: str  # what to use in its stead

    def __str__(self) -> str:
        return f"{self.module or 'forward'}: {self.operation}: {self.reason}; {self.advice}"


def trace(network: Network, images: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """The network as a graph of ATen operations. Raises UserError where PyTorch cannot tell."""
    table = torch.export.default_decompositions()
    for name in _WHOLE:
        packet, _, overload = name.partition(".")
        table.pop(getattr(getattr(torch.ops.aten, packet), overload or "default"), None)
    try:
        with warnings.catch_warnings(), torch.no_grad(), few_operations():
            warnings.simplefilter("ignore")
            return torch.export.export(network.eval(), images, strict=False).run_decompositions(table)
    except UserError:
        raise
    except Exception as error:  # torch.export raises whatever it met
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{network.name}: torch.export cannot follow the network: {line}") from error


def lower(program: torch.export.ExportedProgram, names: list[str]) -> tuple[Layers, Blob | None, list[Unsupported]]:
    """Layers, the blob that is the output, and every place that could not be lowered (then the rest is useless)."""
    layers, failed = Layers(), []
    values = _inputs(program, names, layers)
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        arguments = torch.fx.map_arg((node.args, node.kwargs), lambda n: values[n])
        layers.place = module_of(node).replace("/", ".")
        try:
            values[node] = _value(layers, node, *arguments)
        except _REFUSALS as error:
            operation = operation_of(node)
            failed.append(Unsupported(module_of(node), operation, _reason(error), advice_for(operation)))
            values[node] = _stand_in(node.meta.get("val"), node.name)
    returned: Any = program.graph.output_node().args[0]
    result = values[returned[0]]
    if not failed and not isinstance(result, Blob):
        failed.append(Unsupported("", "output", "does not depend on the images", "return what is predicted from them"))
    return layers, result if isinstance(result, Blob) else None, failed


def _inputs(program: torch.export.ExportedProgram, names: list[str], layers: Layers) -> dict[Node, Any]:
    """The images as Input layers, parameters and buffers as tensors."""
    signature = program.graph_signature
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    stored.update(signature.inputs_to_lifted_tensor_constants)
    images = iter(names)
    values: dict[Node, Any] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in stored:
            name = stored[node.name]
            tensor: Any = program.state_dict[name] if name in program.state_dict else program.constants[name]
            values[node] = tensor.detach()
        else:
            name, shape = layers.unique(next(images)), tuple(node.meta["val"].shape)
            values[node] = layers.input(name, shape)
    return values


def _value(layers: Layers, node: Node, arguments: tuple, options: dict[str, Any]) -> Any:
    """Computed right away where nothing depends on the images, else lowered."""
    if node.target is operator.getitem:
        return arguments[0][arguments[1]]
    if not _blobs((arguments, options)):
        return node.target(*arguments, **options)  # type: ignore[operator]
    name = str(node.target).removeprefix("aten.")
    if name in _SHAPE_ALONE:
        like = arguments[0]
        return _SHAPE_ALONE[name](torch.empty(like.shape), *arguments[1:])
    lowering = LOWERINGS.get(name) or LOWERINGS.get(name.partition(".")[0])
    if lowering is None:
        raise CannotLower("Caffe has no layer for it")
    if any(not isinstance(blob, Blob) for blob in _blobs((arguments, options))):
        raise CannotLower("complex value")
    return lowering(layers, *arguments, **{key: value for key, value in options.items() if key not in _IGNORED})


# A lowering that was not written for these arguments refuses them just as well.
_REFUSALS = (CannotLower, AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError)
_IGNORED = ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking")
# What is asked of a tensor's shape alone is a constant, whatever the tensor holds.
_SHAPE_ALONE = {
    "full_like.default": lambda like, value: torch.full(like.shape, float(value)),
    "zeros_like.default": lambda like: torch.zeros(like.shape),
    "ones_like.default": lambda like: torch.ones(like.shape),
    "new_zeros.default": lambda like, size: torch.zeros(size),
    "new_ones.default": lambda like, size: torch.ones(size),
    "new_full.default": lambda like, size, value: torch.full(size, float(value)),
    "_assert_tensor_metadata.default": lambda *_: None,
}


def _blobs(arguments: Any) -> list[Blob]:
    if isinstance(arguments, Blob):
        return [arguments]
    if isinstance(arguments, dict):
        arguments = arguments.values()
    elif not isinstance(arguments, list | tuple):
        return []
    return [blob for argument in arguments for blob in _blobs(argument)]


def _stand_in(value: Any, name: str) -> Any:
    """Of the shape that the node would give, so that what follows can be looked at too."""
    if isinstance(value, list | tuple):
        return [_stand_in(entry, f"{name}.{index}") for index, entry in enumerate(value)]
    return Blob(name, tuple(value.shape)) if isinstance(value, Tensor) else value


def _reason(error: Exception) -> str:
    if isinstance(error, CannotLower):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"not in this form ({lines[0] if lines else type(error).__name__})"
