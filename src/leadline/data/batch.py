"""A batch of stereo pairs as training sees it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass
class StereoBatch:
    """Tensors of one size on one device. Images are RGB in [0, 1]; disparity in px, positive, left reference."""

    left: Float[Tensor, "b 3 h w"]
    right: Float[Tensor, "b 3 h w"]
    disparity: Float[Tensor, "b 1 h w"]  # 0 where not valid
    valid: Bool[Tensor, "b 1 h w"]
    occluded: Bool[Tensor, "b 1 h w"]  # all False where the data set does not tell

    def to(self, device: torch.device | str) -> StereoBatch:
        return StereoBatch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    def __len__(self) -> int:
        return self.left.shape[0]

    @staticmethod
    def cat(batches: list[StereoBatch]) -> StereoBatch:
        return StereoBatch(*(torch.cat([getattr(b, field.name) for b in batches]) for field in fields(StereoBatch)))
