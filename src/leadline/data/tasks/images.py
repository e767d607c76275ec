"""A Sample's arrays as tensors."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leadline.data.sample import Sample
from leadline.errors import UserError


def image_tensor(image: np.ndarray) -> Float[Tensor, "1 3 h w"]:
    """uint8 or uint16, grey or RGB, as RGB in [0, 1]."""
    largest = 65535.0 if image.dtype.itemsize == 2 else 255.0
    tensor = torch.from_numpy(image.astype("float32") / largest)
    tensor = tensor[None].expand(3, -1, -1) if tensor.ndim == 2 else tensor.permute(2, 0, 1)
    return tensor[None].contiguous()


def image_tensors(sample: Sample, count: int) -> list[Float[Tensor, "1 3 h w"]]:
    """The images of a sample.

    Raises:
        UserError: not `count` images of one size.
    """
    if len(sample.images) != count or len({image.shape[:2] for image in sample.images}) > 1:
        raise UserError(f"{sample.name}: not {count} image(s) of one size: take it out of the training data")
    return [image_tensor(image) for image in sample.images]


def mask_tensor(mask: np.ndarray | None, sample: Sample) -> Bool[Tensor, "1 1 h w"]:
    """A mask of the sample; all False where it has none."""
    if mask is None:
        return torch.zeros(1, 1, *sample.size, dtype=torch.bool)
    return torch.from_numpy(mask.copy())[None, None]
