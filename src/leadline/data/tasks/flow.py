"""Frame pairs with their motion, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leadline.data import crop as crops
from leadline.data.augment import AugmentConfig, add_noise, chance, occlude, shared_colour, sharpen
from leadline.data.batch import FlowBatch
from leadline.data.sample import Sample
from leadline.data.tasks.images import image_tensors, mask_tensor

Size = tuple[int, int]


def render(seed: int, numbers: Sequence[int], size: Size, scenes: Any, device: torch.device | str) -> FlowBatch:
    """Procedural layers that move; the flow is exact everywhere."""
    from leadline.data import procedural

    motion = procedural.render_motion(seed, numbers, size, scenes, device)
    everywhere = torch.ones_like(motion.occluded)
    frame0, frame1 = motion.frames
    return FlowBatch(frame0, frame1, motion.flow, everywhere, motion.occluded)


def from_sample(sample: Sample) -> FlowBatch:
    """A Sample as a batch of one: RGB in [0, 1]; without a truth nothing is valid.

    Raises:
        UserError: the sample is not two frames of one size.
    """
    frame0, frame1 = image_tensors(sample, 2)
    flow: Float[Tensor, "1 2 h w"] = torch.zeros(1, 2, *sample.size)
    valid: Bool[Tensor, "1 1 h w"] = mask_tensor(None, sample)
    if sample.flow is not None and sample.valid is not None:
        flow = torch.from_numpy(sample.flow.copy()).permute(2, 0, 1)[None].contiguous()
        valid = mask_tensor(sample.valid, sample)
    return FlowBatch(frame0, frame1, flow, valid, mask_tensor(sample.occluded, sample))


def random_window(pair: FlowBatch, size: Size, draw: torch.Generator) -> FlowBatch:
    """A random window of `size` (h, w), the same in both frames; a pair that is too small is enlarged first."""
    return crops.random_window(pair, size, draw, zoom)


def zoom(pair: FlowBatch, size: Size) -> FlowBatch:
    """u is multiplied by the horizontal zoom, v by the vertical one."""
    height, width = pair.frame0.shape[-2:]
    factors = pair.flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    return FlowBatch(
        crops.zoom_image(pair.frame0, size),
        crops.zoom_image(pair.frame1, size),
        crops.zoom_map(pair.flow, size) * factors,
        crops.zoom_mask(pair.valid, size),
        crops.zoom_mask(pair.occluded, size),
    )


def augment(scenes: FlowBatch, crop: Size, config: AugmentConfig, draw: torch.Generator) -> FlowBatch:
    """A random crop of each pair, changed at random; `flip` turns it upside down and mirrors it, one by one.

    Args:
        scenes: pairs at least as large as `crop`.
        crop: (h, w) of the result, px.
        config: the amounts; `vertical_jitter` is for stereo alone and has no effect here.
        draw: a CPU generator; the same state gives the same result.
    """
    batch = crops.random_crop(scenes, crop, config, draw, zoom)
    if config.flip:
        batch = _flip(batch, chance(len(batch), config.flip, draw), axis=2)
        batch = _flip(batch, chance(len(batch), config.flip, draw), axis=3)
    frame0, frame1 = shared_colour(batch.frame0, batch.frame1, config, draw)
    if config.sharpen:
        frame0, frame1 = sharpen([frame0, frame1], config.sharpen, draw)
    if config.occluders:
        frame1 = occlude(frame1, config.occluders, draw)
    if config.noise:
        frame0, frame1 = add_noise(frame0, frame1, config.noise, draw)
    return FlowBatch(frame0, frame1, batch.flow, batch.valid, batch.occluded)


def _flip(batch: FlowBatch, chosen: Bool[Tensor, " b"], axis: int) -> FlowBatch:
    """Turned about an axis, the motion along it changes its sign."""
    where = chosen.view(-1, 1, 1, 1).to(batch.flow.device)
    signs = batch.flow.new_tensor([1.0, -1.0] if axis == 2 else [-1.0, 1.0]).view(1, 2, 1, 1)
    turned = [tensor.flip(axis) for tensor in batch.tensors]
    turned[2] = turned[2] * signs
    return FlowBatch(*(torch.where(where, new, old) for new, old in zip(turned, batch.tensors, strict=True)))
