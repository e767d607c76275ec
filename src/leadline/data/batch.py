"""Batches as training sees them: one kind per task, all with the same few verbs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
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

    def inputs(self, takes_time: bool) -> tuple[Tensor, ...]:
        """`images`, and for a network that takes it the time of the frame between them."""
        return self.images

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

    def with_truth(self: B, truth: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b 1 h w"]) -> B:
        """The same images with another truth, such as a teacher's."""
        old, known = self.truth, self.valid
        return type(self)(*(truth if x is old else valid if x is known else x for x in self.tensors))

    def after_crop(self: B, top: int, left: int) -> B:
        """What a window that begins at (top, left) px changes beside its maps: a camera's principal point."""
        return self

    def __len__(self) -> int:
        return self.valid.shape[0]

    @classmethod
    def cat(cls: type[B], batches: Sequence[B]) -> B:
        kind = type(batches[0])
        return kind(*(torch.cat(parts) for parts in zip(*(b.tensors for b in kind.alike(batches)), strict=True)))

    @classmethod
    def alike(cls: type[B], batches: Sequence[B]) -> Sequence[B]:
        """The batches with tensors that can be joined."""
        return batches


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
    flow: Float[Tensor, "b 4 h w"]  # px, (u, v) from the true frame to frame0, then to frame1; 0 where not known
    flow_valid: Bool[Tensor, "b 1 h w"]  # rendered scenes alone know their flow

    @property
    def images(self) -> tuple[Tensor, ...]:
        return self.frame0, self.frame1

    @property
    def truth(self) -> Float[Tensor, "b 3 h w"]:
        return self.frame

    def inputs(self, takes_time: bool) -> tuple[Tensor, ...]:
        return (*self.images, self.time) if takes_time else self.images


@dataclass
class MonoBatch(Batch):
    """Images and their depth, m; and n further frames of the same camera, for losses without truth and for video."""

    image: Float[Tensor, "b 3 h w"]
    depth: Float[Tensor, "b 1 h w"]  # 0 where not valid
    valid: Bool[Tensor, "b 1 h w"]
    intrinsics: Float[Tensor, "b 4"]  # fx, fy, cx, cy, px; NaN where unknown
    frames: Float[Tensor, "b n 3 h w"]  # before, after, before that, after that, ...; or the right view alone
    poses: Float[Tensor, "b n 4 4"]  # take points of the image's camera to each frame's, m; NaN where unknown
    present: Bool[Tensor, "b n"]  # False: an item of fewer frames than others in its batch

    @property
    def images(self) -> tuple[Tensor, ...]:
        return (self.image,)

    @property
    def truth(self) -> Float[Tensor, "b 1 h w"]:
        return self.depth

    @property
    def video(self) -> list[Tensor]:
        """The frames before the image that every item has, in the order of time, and the image."""
        before = [self.frames[:, i] for i in range(0, self.frames.shape[1], 2) if bool(self.present[:, i].all())]
        return [*reversed(before), self.image]

    def after_crop(self, top: int, left: int) -> MonoBatch:
        shift = self.intrinsics.new_tensor([0.0, 0.0, left, top])
        return replace(self, intrinsics=self.intrinsics - shift)

    @classmethod
    def alike(cls, batches: Sequence[MonoBatch]) -> Sequence[MonoBatch]:
        """Items of fewer frames than others get absent ones."""
        n = max(batch.frames.shape[1] for batch in batches)
        return [batch._with_frames(n) for batch in batches]

    def _with_frames(self, n: int) -> MonoBatch:
        missing = n - self.frames.shape[1]
        if not missing:
            return self
        count = len(self)
        return replace(
            self,
            frames=torch.cat([self.frames, self.frames.new_zeros(count, missing, *self.image.shape[1:])], 1),
            poses=torch.cat([self.poses, self.poses.new_full((count, missing, 4, 4), torch.nan)], 1),
            present=torch.cat([self.present, self.present.new_zeros(count, missing)], 1),
        )
