"""A network run without a batch: for runtimes whose tensors have channels, rows and columns alone.

Networks put both views, or the planes of a volume, into one batch. Here such a batch becomes so many tensors, and what
was done to it is done to each. Tracing the result gives a graph in which no tensor has more than one sample.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from leadline.deploy.place import module_of

aten = torch.ops.aten
_RESHAPES = {aten.reshape.default, aten.view.default, aten.flatten.using_ints, aten.unflatten.int}
_SPLITS = {aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default}
_EACH = {  # besides what is done element by element: what looks at one sample at a time
    aten.conv2d.default, aten.conv2d.padding, aten.conv_transpose2d.input, aten.batch_norm.default,
    aten.upsample_bilinear2d.vec, aten.upsample_nearest2d.vec, aten.max_pool2d.default, aten.avg_pool2d.default,
    aten.adaptive_avg_pool2d.default, aten.pad.default, aten.pixel_shuffle.default, aten.pixel_unshuffle.default,
    aten.zeros_like.default, aten.ones_like.default, aten.contiguous.default, aten.clone.default,
    aten.group_norm.default, aten.instance_norm.default, aten.grid_sampler.default,
}  # fmt: skip
_ALONG = {  # the same unless it goes along the batch; its dimensions are argument 1
    aten.softmax.int, aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.amin.default, aten.slice.Tensor,
    aten.flip.default,
}  # fmt: skip


class CannotUnbatch(Exception):
    """Something mixes the samples of a batch; the message says what."""


@dataclass(frozen=True)
class Batch:
    """A tensor (n, ...) as n tensors (1, ...); or what each of them was split into."""

    parts: tuple[Any, ...]


class Unbatched(nn.Module):
    """The same function of images (1, 3, h, w), with no tensor between that has more than one sample.

    Args:
        module: a graph of ATen's operations, as `torch.export` makes it.

    Raises, when called:
        CannotUnbatch: an operation goes along the batch other than by concatenating, splitting or reshaping.
    """

    def __init__(self, module: fx.GraphModule):
        super().__init__()
        self.module = module

    def forward(self, *images: Tensor) -> Tensor:
        return _Interpreter(self.module).run(*images)


class _Interpreter(fx.Interpreter):
    """Runs the graph on tensors and on Batches."""

    def run_node(self, n: fx.Node) -> Any:
        try:
            return super().run_node(n)
        except CannotUnbatch as error:
            raise CannotUnbatch(f"{module_of(n) or 'forward'}: {str(error).splitlines()[0]}") from None

    def call_function(self, target: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if target is aten._assert_tensor_metadata.default:
            return None
        if target is aten.alias.default:  # the whole of something, which pnnx would keep
            return args[0]
        if target is operator.getitem:
            if isinstance(args[0], Batch):  # each sample was split
                return Batch(tuple(part[args[1]] for part in args[0].parts))
            return args[0][args[1]]
        if target is aten.cat.default and (args[1] if len(args) > 1 else 0) == 0:
            return Batch(tuple(part for value in args[0] for part in _parts(value)))
        if target in _SPLITS and isinstance(args[0], Batch) and (args[2] if len(args) > 2 else 0) == 0:
            return _split(target, args[0], args[1])
        if target in _RESHAPES:
            return _reshape(super().call_function, target, args, kwargs)
        batches = _batches(args)
        if not batches:
            return super().call_function(target, args, kwargs)
        _check_each(target, args, batches)
        count = len(batches[0].parts)
        results = [super(_Interpreter, self).call_function(target, _take(args, i), kwargs) for i in range(count)]
        return Batch(tuple(results))


def _parts(value: Tensor | Batch) -> tuple[Tensor, ...]:
    if isinstance(value, Batch):
        return value.parts
    return (value,) if value.shape[0] == 1 else value.split(1)


def _batches(arguments: Any) -> list[Batch]:
    if isinstance(arguments, Batch):
        return [arguments]
    return [found for one in arguments for found in _batches(one)] if isinstance(arguments, list | tuple) else []


def _take(arguments: Any, index: int) -> Any:
    """The arguments with each Batch replaced by its part."""
    if isinstance(arguments, Batch):
        return arguments.parts[index]
    if isinstance(arguments, list | tuple):
        return type(arguments)(_take(one, index) for one in arguments)
    return arguments


def _check_each(target: Any, args: tuple, batches: list[Batch]) -> None:
    if len({len(batch.parts) for batch in batches}) > 1:
        raise CannotUnbatch(f"{target} of batches of different sizes")
    if target in _ALONG:
        dims = args[1] if len(args) > 1 else 0
        if 0 not in (dims if isinstance(dims, list | tuple) else [dims]):
            return
    elif target in _EACH or torch.Tag.pointwise in target.tags or target in _SPLITS or target is aten.cat.default:
        return
    raise CannotUnbatch(f"{target} goes along the batch")


def _split(target: Any, batch: Batch, how: int | list[int]) -> list[Batch | Tensor]:
    """chunk, split and split_with_sizes along the batch."""
    indices = target(torch.arange(len(batch.parts)), how)
    return [_whole([batch.parts[i] for i in chunk.tolist()]) for chunk in indices]


def _whole(parts: list[Tensor]) -> Batch | Tensor:
    return parts[0] if len(parts) == 1 else Batch(tuple(parts))


def _reshape(run: Any, target: Any, args: tuple, kwargs: dict[str, Any]) -> Batch | Tensor:
    """To another shape; samples may become channels, and channels samples, where they do so whole."""
    value = args[0]
    parts = _parts(value) if isinstance(value, Batch) or value.shape[:1] == (1,) else None
    if parts is None:  # a constant
        return run(target, args, kwargs)
    before = (len(parts), *(int(side) for side in parts[0].shape[1:]))  # int: a trace has tensors there
    after = tuple(int(side) for side in target(torch.empty(before, device="meta"), *args[1:]).shape)
    if after[0] == before[0]:
        return _whole([part.reshape(1, *after[1:]) for part in parts])
    if before[0] > 1:  # to channels: as many of them as each sample has
        if after[0] != 1 or len(after) < 2 or after[1] % before[0]:
            raise CannotUnbatch(f"reshape from {before} to {after}")
        each = [part.reshape(1, after[1] // before[0], *after[2:]) for part in parts]
        return torch.cat(each, 1)
    count = after[0]
    if before[1] % count:
        raise CannotUnbatch(f"reshape from {before} to {after}")
    rows = before[1] // count
    assert prod(before) == prod(after)
    return Batch(tuple(parts[0][:, i * rows : (i + 1) * rows].reshape(1, *after[1:]) for i in range(count)))
