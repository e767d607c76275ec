"""Following channels through a network: which of them meet, and which are counted by something.

The network runs once on small images. Every channel that a convolution or linear layer gives has a number, and each
operation says what becomes of the numbers: a sum makes those that meet one, a concatenation puts them side by side, a
depthwise convolution or BatchNorm passes them on. An operation that is not known here, or that looks at channels
together (a softmax over planes, a mean, a split), *fixes* them: they cannot be removed. So what is not understood costs
a smaller choice, never a wrong network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from leadline.models import Network
from leadline.surgeries.prune_channels import CUTTABLE, is_depthwise, widths

aten = torch.ops.aten
Numbers = np.ndarray  # of channels

# Operations on each value, or within each channel: the first argument's channels are the result's.
_PASS = {
    "relu", "relu_", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "elu", "elu_", "sigmoid", "sigmoid_", "tanh",
    "tanh_", "gelu", "silu", "silu_", "hardswish", "hardswish_", "hardsigmoid", "softplus", "mish", "neg", "exp", "abs",
    "clamp", "clamp_", "clamp_min", "clamp_max", "pow", "sqrt", "rsqrt", "clone", "detach", "alias", "_to_copy",
    "contiguous", "native_dropout", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d",
    "_adaptive_avg_pool2d", "reflection_pad2d", "replication_pad2d", "replication_pad3d", "upsample_nearest2d",
    "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d", "upsample_nearest3d", "grid_sampler_2d",
    "_upsample_nearest_exact2d",
}  # fmt: skip
_MEET = {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "maximum", "minimum", "where", "rsub"}
_NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm"}
_VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_alias"}


@dataclass(frozen=True)
class Meeting:
    """A layer and the channels on one of its sides ("out", "in", or "both" where they are the same)."""

    layer: str
    side: str
    numbers: Numbers


@dataclass
class _Channels:
    """Where a tensor's channels are, and which."""

    axis: int
    numbers: Numbers


class ChannelFlow(TorchDispatchMode):
    """Watches one run; `meetings` and `groups` tell what was found."""

    def __init__(self, network: Network):
        super().__init__()
        self.meetings: list[Meeting] = []
        self._parents: list[int] = []
        self._fixed: set[int] = set()
        self._channels: dict[int, _Channels] = {}
        self._alive: list[Any] = []  # so that no address is used twice
        self._outputs: dict[str, Numbers] = {}
        self._layers: dict[int, tuple[str, nn.Module]] = {}
        for name, module in network.named_modules():
            if isinstance(module, CUTTABLE):
                for value in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                    if value.ndim:  # not the count of batches
                        self._layers[value.untyped_storage().data_ptr()] = name, module

    def groups(self) -> list[Numbers]:
        """The channels that go together, each list a set of numbers; those that are fixed are left out."""
        fixed = {self._find(number) for number in self._fixed}
        found: dict[int, list[int]] = {}
        for number in range(len(self._parents)):
            root = self._find(number)
            if root not in fixed:
                found.setdefault(root, []).append(number)
        return [np.array(numbers) for numbers in found.values()]

    def fix(self, *values: Any) -> None:
        """Keeps the channels of these tensors from being removed."""
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and id(value) in self._channels:
                self._fixed.update(self._channels[id(value)].numbers.tolist())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        self._alive.append((args, result))
        if "out" in (kwargs or {}):
            self.fix(args, kwargs)
        elif name == "convolution":
            self._convolution(result, *args)
        elif name in _NORMS:
            self._norm(result, args)
        elif name in ("_prelu_kernel", "prelu"):
            self._prelu(result, args)
        elif name in ("addmm", "mm"):
            self._linear(result, *args[-2:])
        elif name in _PASS:
            self._pass(result, args)
        elif name in _MEET:
            self._meet(result, args)
        elif name == "cat":
            self._cat(result, *args)
        elif name in _VIEWS:
            self._view(result, args[0])
        else:
            self._other(name, result, args, kwargs or {})
        return result

    # What each kind of operation does with channels.

    def _convolution(self, result: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> None:
        layer = self._layer_of(weight)
        if layer is None or (self._of(x, 1) is None and is_depthwise(layer[1])):
            self.fix(x, weight)
            return
        name, module = layer
        arriving = self._of(x, 1)
        if arriving is None:
            arriving = self._new_fixed(x.shape[1])
        if is_depthwise(module):
            self.meetings.append(Meeting(name, "both", arriving))
            self._set(result, 1, arriving)
            return
        groups = module.groups  # type: ignore[union-attr]
        self._tie(arriving, groups)  # type: ignore[arg-type]
        self.meetings.append(Meeting(name, "in", arriving))
        self._set(result, 1, self._given_by(name, module, groups))  # type: ignore[arg-type]

    def _linear(self, result: Tensor, x: Tensor, weight: Tensor) -> None:
        layer = self._layer_of(weight)
        arriving = self._of(x, x.ndim - 1)
        if layer is None or not isinstance(layer[1], nn.Linear):
            self.fix(x, weight)
            return
        if arriving is None:
            self.fix(x)
            arriving = self._new_fixed(x.shape[-1])
        self.meetings.append(Meeting(layer[0], "in", arriving))
        self._set(result, result.ndim - 1, self._given_by(*layer, 1))

    def _norm(self, result: Any, args: tuple) -> None:
        layer = next((found for a in args[1:5] if isinstance(a, Tensor) and (found := self._layer_of(a))), None)
        arriving = self._of(args[0], 1)
        if layer is None or arriving is None:
            self.fix(args[0])
            return
        self.meetings.append(Meeting(layer[0], "both", arriving))
        self._set(result[0], 1, arriving)

    def _prelu(self, result: Tensor, args: tuple) -> None:
        layer, arriving = self._layer_of(args[1]), self._of(args[0], 1)
        if arriving is None:
            self.fix(args[0])
            return
        if layer is not None and widths(layer[1])[0] > 1:
            self.meetings.append(Meeting(layer[0], "both", arriving))
        self._set(result, 1, arriving)

    def _pass(self, result: Any, args: tuple) -> None:
        known = self._channels.get(id(args[0]))
        first = result[0] if isinstance(result, tuple | list) else result
        if known is not None and first.ndim == args[0].ndim:
            self._set(first, known.axis, known.numbers)

    def _meet(self, result: Tensor, args: Sequence[Any]) -> None:
        """Values of channels that meet are one channel; a value without channels meets all in the same way."""
        tensors = [a for a in args if isinstance(a, Tensor)]
        known = [(a, self._channels[id(a)]) for a in tensors if id(a) in self._channels]
        if not known:
            return
        from_end = {channels.axis - a.ndim for a, channels in known if len(channels.numbers) > 1}
        if len(from_end) != 1:
            self.fix(tensors)
            return
        axis = from_end.pop()
        full = None
        for a in tensors:
            size = a.shape[axis] if a.ndim >= -axis else 1
            if size == 1:
                self.fix(a)
                continue
            channels = self._channels.get(id(a))
            if channels is None and self._is_bias(a):
                continue  # of a linear layer that is computed in two steps, and goes with its outputs
            if channels is None:  # numbers of something else, one for each channel
                self._fixed.update(self._channels[id(known[0][0])].numbers.tolist())
                self.fix(tensors)
                continue
            full = channels.numbers if full is None else self._join(full, channels.numbers)
        if full is not None:
            self._set(result, result.ndim + axis, full)

    def _cat(self, result: Tensor, tensors: Sequence[Tensor], axis: int = 0) -> None:
        axis %= result.ndim
        known = [self._channels.get(id(t)) for t in tensors]
        axes = {channels.axis for channels in known if channels is not None}
        if len(axes) != 1:
            self.fix(tensors)
            return
        where = axes.pop()
        if where == axis:
            parts = [
                self._new_fixed(t.shape[axis]) if c is None else c.numbers for t, c in zip(tensors, known, strict=True)
            ]
            self._set(result, axis, np.concatenate(parts))
        elif any(channels is None for channels in known):
            self.fix(tensors)
        else:
            joined = known[0].numbers  # type: ignore[union-attr]
            for channels in known[1:]:
                joined = self._join(joined, channels.numbers)  # type: ignore[union-attr]
            self._set(result, where, joined)

    def _view(self, result: Tensor, x: Tensor) -> None:
        """Channels stay where an axis has as many values, and as many lie behind it."""
        known = self._channels.get(id(x))
        if known is None:
            return
        behind = int(np.prod(x.shape[known.axis + 1 :]))
        for axis, size in enumerate(result.shape):
            if size == x.shape[known.axis] and int(np.prod(result.shape[axis + 1 :])) == behind:
                self._set(result, axis, known.numbers)
                return
        self.fix(x)

    def _other(self, name: str, result: Any, args: tuple, kwargs: dict) -> None:
        """What moves axes, or works along one; it says where the channels are then."""
        known = self._channels.get(id(args[0])) if args else None
        moved = None if known is None else _moved(name, args, known.axis)
        if known is None or moved is None:
            self.fix(args, kwargs)
            return
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, Tensor) and part.ndim > moved and part.shape[moved] == len(known.numbers):
                self._set(part, moved, known.numbers)

    # Channels and their numbers.

    def _layer_of(self, weight: Tensor) -> tuple[str, nn.Module] | None:
        found = self._layers.get(weight.untyped_storage().data_ptr())
        if found is None or not any(weight.numel() == value.numel() for value in found[1].state_dict().values()):
            return None
        return found

    def _is_bias(self, x: Tensor) -> bool:
        layer = self._layer_of(x)
        return layer is not None and isinstance(layer[1], nn.Linear) and x.ndim == 1

    def _of(self, x: Tensor, axis: int) -> Numbers | None:
        known = self._channels.get(id(x))
        if known is None:
            return None
        if known.axis != axis:
            self.fix(x)
            return None
        return known.numbers

    def _set(self, x: Tensor, axis: int, numbers: Numbers) -> None:
        self._channels[id(x)] = _Channels(axis, numbers)

    def _new(self, count: int) -> Numbers:
        numbers = np.arange(len(self._parents), len(self._parents) + count)
        self._parents.extend(numbers.tolist())
        return numbers

    def _new_fixed(self, count: int) -> Numbers:
        numbers = self._new(count)
        self._fixed.update(numbers.tolist())
        return numbers

    def _given_by(self, name: str, module: nn.Module, groups: int) -> Numbers:
        """The output channels of a layer: the same whenever it is called."""
        if name not in self._outputs:
            self._outputs[name] = self._new(widths(module)[0])
            self._tie(self._outputs[name], groups)
            self.meetings.append(Meeting(name, "out", self._outputs[name]))
        return self._outputs[name]

    def _tie(self, numbers: Numbers, groups: int) -> None:
        """Groups of a convolution stay equally large: the same places of each go together."""
        places = numbers.reshape(groups, -1)
        for other in places[1:]:
            self._join(places[0], other)

    def _join(self, one: Numbers, other: Numbers) -> Numbers:
        if len(one) != len(other):
            self._fixed.update(one.tolist(), other.tolist())
            return one
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self._parents[self._find(a)] = self._find(b)
        return one

    def _find(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number


def _moved(name: str, args: tuple, axis: int) -> int | None:
    """Where channels on `axis` are after an operation; None: it looks at them, or is not known."""
    x: Tensor = args[0]

    def at(index: int, default: int) -> int:
        return (args[index] if len(args) > index else default) % x.ndim

    if name in ("unsqueeze", "unsqueeze_"):
        return axis + (args[1] % (x.ndim + 1) <= axis)
    if name == "squeeze":
        gone = [args[1] % x.ndim] if len(args) > 1 and isinstance(args[1], int) else []
        return None if axis in gone or len(args) < 2 else axis - sum(g < axis for g in gone)
    if name in ("transpose", "t"):
        first, second = (0, 1) if name == "t" else (args[1] % x.ndim, args[2] % x.ndim)
        return second if axis == first else first if axis == second else axis
    if name == "permute":
        return [a % x.ndim for a in args[1]].index(axis)
    if name in ("slice", "select", "split", "split_with_sizes", "narrow", "unbind"):
        along = at(2, 0) if name in ("split", "split_with_sizes") else at(1, 0)
        if along == axis:
            return None
        return axis - (along < axis) if name in ("select", "unbind") else axis
    if name in ("mean", "sum", "amax", "amin"):
        along = [a % x.ndim for a in args[1]] if len(args) > 1 and args[1] else []
        keeps = len(args) > 2 and bool(args[2])
        if not along or axis in along:
            return None
        return axis if keeps else axis - sum(a < axis for a in along)
    if name in ("_softmax", "_log_softmax"):
        return None if args[1] % x.ndim == axis else axis
    if name == "constant_pad_nd":
        reached = len(args[1]) // 2 > x.ndim - 1 - axis and any(args[1][2 * (x.ndim - 1 - axis) :][:2])
        return None if reached else axis
    if name == "flip":
        return None if axis in [a % x.ndim for a in args[1]] else axis
    if name == "expand":
        return axis + len(args[1]) - x.ndim
    return None


def follow(network: Network, images: tuple[Tensor, ...], run: Callable[..., Any]) -> ChannelFlow:
    """Runs `run(*images)` once under watch; what it gives is fixed."""
    flow = ChannelFlow(network)
    with torch.no_grad(), flow:
        flow.fix(run(*images))
    return flow
