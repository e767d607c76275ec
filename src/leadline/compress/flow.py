"""How values flow between the layers of a network: what quantisation needs to know, found by watching one forward.

Nothing is assumed about how a network is written: each call of a torch function is seen, and each tensor carries with
it which layers' outputs it was computed from.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from leadline.models import Network
from leadline.predict.predictor import VIEWS

LAYERS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RELUS = {"relu": math.inf, "relu_": math.inf, "relu6": 6.0, "relu6_": 6.0}
# These give values that they were given, or 0: what was on a layer's grid stays on it.
KEEPING = {
    *RELUS, "reshape", "view", "flatten", "unflatten", "permute", "transpose", "contiguous", "chunk", "split", "pad",
    "__getitem__", "max_pool2d", "pixel_shuffle", "squeeze", "unsqueeze", "movedim", "narrow", "detach", "clone",
}  # fmt: skip
SIZE = (64, 128)  # px of the images that are watched


@dataclass(frozen=True)
class _Value:
    """Where a tensor comes from."""

    upstream: frozenset[str] = frozenset()  # layers whose outputs reached it without passing another layer
    grid: str | None = None  # the layer on whose output's values it lies
    stage: int | None = None  # 0: that output itself, 1: the BatchNorm's after it; None: something made of it


@dataclass
class Flow:
    """What was seen."""

    folded: list[tuple[str, str]] = field(default_factory=list)  # (convolution, its BatchNorm)
    order: list[str] = field(default_factory=list)  # layers as they were called first
    first: set[str] = field(default_factory=set)  # that see the images with no layer before
    last: set[str] = field(default_factory=set)  # that reach the prediction with no layer after
    relu: dict[str, float] = field(default_factory=dict)  # whose output only a ReLU sees -> its upper end
    source: dict[str, str] = field(default_factory=dict)  # layer -> the one on whose output's values its input lies
    reads: dict[str, set[str]] = field(default_factory=dict)  # layer -> layers before it
    same_input: dict[str, str] = field(default_factory=dict)  # layer -> the first one that was given the same tensors
    idle: set[str] = field(default_factory=set)  # whose weights no function was given: they serve training alone


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[int, _Value] = {}
        self.kept: list[Tensor] = []  # so that no identity is used twice
        self.uses: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.given: set[int] = set()  # identities of all tensors that functions were given

    def put(self, tensor: Tensor, value: _Value) -> None:
        self.values[id(tensor)] = value
        self.kept.append(tensor)

    def get(self, tensor: Tensor) -> _Value:
        return self.values.get(id(tensor), _Value())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self.given.update(map(id, tensors))
        seen = [self.get(x) for x in tensors]  # before: it may be in place
        out = func(*args, **(kwargs or {}))
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if not made:
            return out
        name = _name(func, args, kwargs or {})
        for value in seen:
            if value.stage is not None and value.grid is not None:
                self.uses[value.grid, value.stage].append(name)
        upstream = frozenset().union(*(value.upstream for value in seen))
        grid = seen[0].grid if seen and name in KEEPING else None
        for x in made:
            self.put(x, _Value(upstream, grid))
        return out


def _name(func: Any, args: Any, kwargs: dict[str, Any]) -> str:
    name = getattr(func, "__name__", "")
    if name in ("hardtanh", "hardtanh_"):  # what nn.ReLU6 calls
        limits = kwargs.get("min_val", *args[1:2]), kwargs.get("max_val", *args[2:3])
        return "relu6" if limits == (0.0, 6.0) else name
    return name


@torch.no_grad()
def watch(network: Network) -> Flow:
    """Runs the network once on noise and tells how its layers are connected."""
    network = network.eval()
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    size = network.padded_size(*SIZE)
    images = [torch.rand(1, 3, *size, generator=generator).to(device) for _ in VIEWS[network.task]]
    mode, flow = _Watch(), Flow()
    inputs: dict[str, list[_Value]] = defaultdict(list)
    given: dict[str, tuple[int, ...]] = defaultdict(tuple)
    norm_inputs: dict[str, list[_Value]] = defaultdict(list)
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, LAYERS):

            def before(_: nn.Module, arguments: Any, name: str = name) -> None:  # pyright: ignore[reportRedeclaration]
                inputs[name].append(mode.get(arguments[0]))
                given[name] += (id(arguments[0]),)
                mode.kept.append(arguments[0])

            def after(_: nn.Module, __: Any, out: Tensor, name: str = name) -> None:  # pyright: ignore[reportRedeclaration]
                mode.put(out, _Value(frozenset([name]), name, 0))

        elif isinstance(module, NORMS):

            def before(_: nn.Module, arguments: Any, name: str = name) -> None:  # pyright: ignore[reportRedeclaration]
                norm_inputs[name].append(mode.get(arguments[0]))

            def after(_: nn.Module, __: Any, out: Tensor, name: str = name) -> None:  # pyright: ignore[reportRedeclaration]
                value = norm_inputs[name][-1]
                if value.stage == 0:
                    mode.put(out, _Value(value.upstream, value.grid, 1))

        else:
            continue
        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with mode:
            prediction = network(*images)
    finally:
        for hook in hooks:
            hook.remove()

    for norm, values in norm_inputs.items():
        conv = values[0].grid
        if conv is None or any((value.grid, value.stage) != (conv, 0) for value in values):
            continue
        if set(mode.uses[conv, 0]) == {"batch_norm"} and len(values) == len(inputs[conv]):
            flow.folded.append((conv, norm))
    folded = {conv for conv, _ in flow.folded}
    flow.order = list(inputs)
    layers = ((name, module) for name, module in network.named_modules() if isinstance(module, LAYERS))
    flow.idle = {name for name, module in layers if not any(id(p) in mode.given for p in module.parameters())}
    flow.last = set(mode.get(prediction).upstream)
    for name, values in inputs.items():
        flow.reads[name] = set().union(*(value.upstream for value in values))
        if not flow.reads[name]:
            flow.first.add(name)
        grids = {value.grid for value in values}
        (grid,) = grids if len(grids) == 1 else (None,)
        if grid is not None:
            flow.source[name] = grid
        first = next(other for other in inputs if given[other] == given[name])
        if first != name:
            flow.same_input[name] = first
        uses = set(mode.uses[name, int(name in folded)])
        if uses and uses <= set(RELUS):
            flow.relu[name] = max(RELUS[use] for use in uses)
    return flow
