"""Batches as training sees them: one kind per task, all with the same few verbs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

B = TypeVar("B", bound="Batch")


class Batch:
    """Tensors of one size on one device, the first dimension being the batch. Images are RGB in [0, 1].

    A subclass is a dataclass with a field per tensor, among them `valid` (b, 1, h, w), and says which of them a
    network sees (`images`) and which it is to predict (`truth`, 0 where not valid).
    """

    valid: Bool[Tensor, "b 1 h w"]

    @property
    def images(self) -> tuple[Tensor, ...]:
        """What the network's forward takes, in its order."""
        raise NotImplementedError

    @property
    def truth(self) -> Float[Tensor, "b c h w"]:
        raise NotImplementedError

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every field, in the order of the constructor."""
        return tuple(getattr(self, field.name) for field in fields(self))  # pyright: ignore[reportArgumentType]

    def to(self: B, device: torch.device | str) -> B:
        return type(self)(*(tensor.to(device, non_blocking=True) for tensor in self.tensors))

    def take(self: B, indices: Sequence[int] | slice) -> B:
        """Some items of the batch."""
        return type(self)(*(tensor[indices] for tensor in self.tensors))

    def split(self: B, size: int) -> Iterator[B]:
        """Cuts joined batches apart again."""
        for begin in range(0, len(self), size):
            yield self.take(slice(begin, begin + size))

    def __len__(self) -> int:
        return self.valid.shape[0]

    @classmethod
    def cat(cls: type[B], batches: Sequence[B]) -> B:
        return type(batches[0])(*(torch.cat(parts) for parts in zip(*(b.tensors for b in batches), strict=True)))


@dataclass
class StereoBatch(Batch):
    """Pairs of rectified views; disparity in px, positive, left reference."""

    left: Float[Tensor, "b 3 h w"]
    right: Float[Tensor, "b 3 h w"]
    disparity: Float[Tensor, "b 1 h w"]  # 0 where not valid
    valid: Bool[Tensor, "b 1 h w"]
    occluded: Bool[Tensor, "b 1 h w"]  # all False where the data set does not tell

    @property
    def images(self) -> tuple[Tensor, ...]:
        return self.left, self.right

    @property
    def truth(self) -> Float[Tensor, "b 1 h w"]:
        return self.disparity


@dataclass
class FlowBatch(Batch):
    """Two frames and the motion from the first to the second, px, (u, v)."""

    frame0: Float[Tensor, "b 3 h w"]
    frame1: Float[Tensor, "b 3 h w"]
    flow: Float[Tensor, "b 2 h w"]  # 0 where not valid
    valid: Bool[Tensor, "b 1 h w"]
    occluded: Bool[Tensor, "b 1 h w"]  # not seen in frame1; all False where the data set does not tell

    @property
    def images(self) -> tuple[Tensor, ...]:
        return self.frame0, self.frame1

    @property
    def truth(self) -> Float[Tensor, "b 2 h w"]:
        return self.flow


@dataclass
class TripletBatch(Batch):
    """Two frames and a true one between them, at `time` (0: frame0, 1: frame1)."""

    frame0: Float[Tensor, "b 3 h w"]
    frame1: Float[Tensor, "b 3 h w"]
    frame: Float[Tensor, "b 3 h w"]
    time: Float[Tensor, "b 1 1 1"]
    valid: Bool[Tensor, "b 1 h w"]

    @property
    def images(self) -> tuple[Tensor, ...]:
        return self.frame0, self.frame1

    @property
    def truth(self) -> Float[Tensor, "b 3 h w"]:
        return self.frame


@dataclass
class MonoBatch(Batch):
    """Images and their depth, m."""

    image: Float[Tensor, "b 3 h w"]
    depth: Float[Tensor, "b 1 h w"]  # 0 where not valid
    valid: Bool[Tensor, "b 1 h w"]

    @property
    def images(self) -> tuple[Tensor, ...]:
        return (self.image,)

    @property
    def truth(self) -> Float[Tensor, "b 1 h w"]:
        return self.depth
