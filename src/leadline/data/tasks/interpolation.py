"""Frames with a true one between them, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leadline.data import crop as crops
from leadline.data.augment import AugmentConfig, add_noise, chance, change_colour, sharpen, signed
from leadline.data.batch import TripletBatch
from leadline.data.sample import Sample
from leadline.data.tasks.images import image_tensor, image_tensors, mask_tensor
from leadline.errors import UserError

Size = tuple[int, int]


def render(seed: int, numbers: Sequence[int], size: Size, scenes: Any, device: torch.device | str) -> TripletBatch:
    """Procedural layers that move; the flow of the middle frame is exact everywhere.

    `scenes.other_time` is the share of triplets whose middle frame is at a time of its own.
    """
    from leadline.data import procedural

    times = [procedural.middle_time(seed, number, scenes) for number in numbers]
    parts = []
    for time in sorted(set(times)):
        chosen = [number for number, its in zip(numbers, times, strict=True) if its == time]
        motion = procedural.render_motion(seed, chosen, size, scenes, device, times=(time, 1.0))
        everywhere = torch.ones_like(motion.occluded)
        when = torch.full((len(chosen), 1, 1, 1), time, device=device)
        before, frame, after = motion.frames
        assert motion.middle_flow is not None
        parts.append(TripletBatch(before, after, frame, when, everywhere, motion.middle_flow, everywhere))
    if len(parts) == 1:
        return parts[0]
    order = sorted(range(len(numbers)), key=lambda i: times[i])  # as they stand in the parts, one after the other
    return TripletBatch.cat(parts).take([order.index(i) for i in range(len(numbers))])


def from_sample(sample: Sample) -> TripletBatch:
    """A Sample as a batch of one: RGB in [0, 1]; without a truth nothing is valid.

    Raises:
        UserError: the sample is not two frames of one size, or the true frame is of another.
    """
    frame0, frame1 = image_tensors(sample, 2)
    frame, valid = torch.zeros_like(frame0), mask_tensor(None, sample)
    if sample.frame is not None:
        if sample.frame.shape[:2] != sample.size:
            raise UserError(f"{sample.name}: the true frame is of another size: take it out of the training data")
        frame = image_tensor(sample.frame)
        valid = torch.ones_like(valid) if sample.valid is None else mask_tensor(sample.valid, sample)
    unknown: Float[Tensor, "1 4 h w"] = torch.zeros(1, 4, *sample.size)
    time = torch.full((1, 1, 1, 1), sample.time)
    return TripletBatch(frame0, frame1, frame, time, valid, unknown, mask_tensor(None, sample))


def random_window(triplet: TripletBatch, size: Size, draw: torch.Generator) -> TripletBatch:
    """A random window of `size` (h, w), the same in all frames; a triplet that is too small is enlarged first."""
    return crops.random_window(triplet, size, draw, zoom)


def zoom(triplet: TripletBatch, size: Size) -> TripletBatch:
    """u is multiplied by the horizontal zoom, v by the vertical one."""
    height, width = triplet.frame0.shape[-2:]
    factors = triplet.flow.new_tensor([size[1] / width, size[0] / height] * 2).view(1, 4, 1, 1)
    return TripletBatch(
        crops.zoom_image(triplet.frame0, size),
        crops.zoom_image(triplet.frame1, size),
        crops.zoom_image(triplet.frame, size),
        triplet.time,
        crops.zoom_mask(triplet.valid, size),
        crops.zoom_map(triplet.flow, size) * factors,
        crops.zoom_mask(triplet.flow_valid, size),
    )


def augment(scenes: TripletBatch, crop: Size, config: AugmentConfig, draw: torch.Generator) -> TripletBatch:
    """A random crop of each triplet, changed at random, as RIFE does: turned about, backwards, in other colours.

    Args:
        scenes: triplets at least as large as `crop`.
        crop: (h, w) of the result, px.
        config: the amounts. Colours change in all three frames alike, noise comes upon the two outer ones alone.
            `asymmetric`, `occluders` and `vertical_jitter` would be no motion, and have no effect here.
        draw: a CPU generator; the same state gives the same result.
    """
    batch = crops.random_crop(scenes, crop, config, draw, zoom)
    count = len(batch)
    if config.flip:
        batch = _flip(batch, chance(count, config.flip, draw), axis=2)
        batch = _flip(batch, chance(count, config.flip, draw), axis=3)
    if config.rotate:
        turns = torch.where(chance(count, config.rotate, draw), torch.randint(1, 4, (count,), generator=draw), 0)
        batch = _rotate(batch, turns)
    if config.reverse_time:
        batch = _reverse_time(batch, chance(count, config.reverse_time, draw))
    frame0, frame1, frame = batch.frame0, batch.frame1, batch.frame
    if config.reverse_channels:
        where = _where(chance(count, config.reverse_channels, draw), batch)
        frame0, frame1, frame = (torch.where(where, f.flip(1), f) for f in (frame0, frame1, frame))
    if config.brightness or config.contrast or config.saturation or config.gamma:
        amounts = (config.brightness, config.contrast, config.saturation, config.gamma)
        change = torch.stack([signed(count, amount, draw) for amount in amounts], 1)
        # Contrast is about the mean of an image: side by side all three have the same.
        frame0, frame1, frame = change_colour(torch.cat([frame0, frame1, frame], 3), change).chunk(3, 3)
    if config.sharpen:
        frame0, frame1, frame = sharpen([frame0, frame1, frame], config.sharpen, draw)
    if config.noise:
        frame0, frame1 = add_noise(frame0, frame1, config.noise, draw)
    return TripletBatch(frame0, frame1, frame, batch.time, batch.valid, batch.flow, batch.flow_valid)


def _where(chosen: Bool[Tensor, " b"], batch: TripletBatch) -> Bool[Tensor, "b 1 1 1"]:
    return chosen.view(-1, 1, 1, 1).to(batch.frame.device)


def _select(chosen: Bool[Tensor, " b"], new: TripletBatch, old: TripletBatch) -> TripletBatch:
    where = _where(chosen, old)
    return TripletBatch(*(torch.where(where, a, b) for a, b in zip(new.tensors, old.tensors, strict=True)))


def _flip(batch: TripletBatch, chosen: Bool[Tensor, " b"], axis: int) -> TripletBatch:
    """Turned about an axis, the motion along it changes its sign."""
    signs = batch.flow.new_tensor([1.0, -1.0] * 2 if axis == 2 else [-1.0, 1.0] * 2).view(1, 4, 1, 1)
    turned = TripletBatch(*(tensor.flip(axis) for tensor in batch.tensors))
    turned.flow = turned.flow * signs
    return _select(chosen, turned, batch)


def _rotate(batch: TripletBatch, turns: Int[Tensor, " b"]) -> TripletBatch:
    """Quarter turns, anticlockwise; of crops that are not square, only half turns are made."""
    square = batch.frame.shape[-2] == batch.frame.shape[-1]
    for count in (1, 2, 3):
        if count % 2 and not square:
            continue
        turned = TripletBatch(*(torch.rot90(tensor, count, (2, 3)) for tensor in batch.tensors))
        for _ in range(count):  # (u, v) becomes (v, -u)
            u0, v0, u1, v1 = turned.flow.chunk(4, 1)
            turned.flow = torch.cat([v0, -u0, v1, -u1], 1)
        batch = _select(turns == count, turned, batch)
    return batch


def _reverse_time(batch: TripletBatch, chosen: Bool[Tensor, " b"]) -> TripletBatch:
    backwards = TripletBatch(
        batch.frame1, batch.frame0, batch.frame, 1 - batch.time, batch.valid, batch.flow.roll(2, 1), batch.flow_valid
    )
    return _select(chosen, backwards, batch)
