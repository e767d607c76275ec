"""Stereo pairs for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leadline.data import crop as crops
from leadline.data.augment import AugmentConfig, add_noise, chance, occlude, shared_colour, sharpen, shift_rows, signed
from leadline.data.batch import StereoBatch
from leadline.data.sample import Sample
from leadline.data.tasks.images import image_tensors, mask_tensor

Size = tuple[int, int]


def render(seed: int, numbers: Sequence[int], size: Size, scenes: Any, device: torch.device | str) -> StereoBatch:
    """Procedural pairs."""
    from leadline.data import procedural

    return procedural.render_stereo(seed, numbers, size, scenes, device)


def from_sample(sample: Sample) -> StereoBatch:
    """A Sample as a batch of one: RGB in [0, 1]; without a truth nothing is valid.

    Raises:
        UserError: the sample is not a pair of views of one size.
    """
    left, right = image_tensors(sample, 2)
    disparity: Float[Tensor, "1 1 h w"] = torch.zeros(1, 1, *sample.size)
    valid: Bool[Tensor, "1 1 h w"] = mask_tensor(None, sample)
    if sample.disparity is not None and sample.valid is not None:
        disparity = torch.from_numpy(sample.disparity.copy())[None, None]
        valid = mask_tensor(sample.valid, sample)
    return StereoBatch(left, right, disparity, valid, mask_tensor(sample.occluded, sample))


def random_window(pair: StereoBatch, size: Size, draw: torch.Generator) -> StereoBatch:
    """A random window of `size` (h, w), the same in both views; a pair that is too small is enlarged first."""
    return crops.random_window(pair, size, draw, zoom)


def zoom(pair: StereoBatch, size: Size) -> StereoBatch:
    """The disparity is multiplied by the horizontal zoom."""
    factor = size[1] / pair.left.shape[-1]
    return StereoBatch(
        crops.zoom_image(pair.left, size),
        crops.zoom_image(pair.right, size),
        crops.zoom_map(pair.disparity, size) * factor,
        crops.zoom_mask(pair.valid, size),
        crops.zoom_mask(pair.occluded, size),
    )


def augment(scenes: StereoBatch, crop: Size, config: AugmentConfig, draw: torch.Generator) -> StereoBatch:
    """A random crop of each pair, changed at random.

    Args:
        scenes: pairs at least as large as `crop`.
        crop: (h, w) of the result, px.
        config: the amounts.
        draw: a CPU generator; the same state gives the same result.
    """
    batch = crops.random_crop(scenes, crop, config, draw, zoom)
    if config.flip:
        batch = _flip(batch, chance(len(batch), config.flip, draw))
    left, right = batch.left, batch.right
    if config.vertical_jitter:
        right = shift_rows(right, signed(len(batch), config.vertical_jitter, draw))
    left, right = shared_colour(left, right, config, draw)
    if config.sharpen:
        left, right = sharpen([left, right], config.sharpen, draw)
    if config.occluders:
        right = occlude(right, config.occluders, draw)
    if config.noise:
        left, right = add_noise(left, right, config.noise, draw)
    return StereoBatch(left, right, batch.disparity, batch.valid, batch.occluded)


def _flip(batch: StereoBatch, chosen: Bool[Tensor, " b"]) -> StereoBatch:
    """Upside down, which keeps the geometry of a rectified pair; mirrored it would need the right view's truth."""
    where = chosen.view(-1, 1, 1, 1).to(batch.left.device)
    return StereoBatch(*(torch.where(where, tensor.flip(2), tensor) for tensor in batch.tensors))
