"""Single images with their depth, and what helps to learn it without: further frames and the camera's motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from leadline.data import crop as crops
from leadline.data.augment import AugmentConfig, chance, change_colour, sharpen
from leadline.data.batch import MonoBatch
from leadline.data.sample import Sample
from leadline.data.tasks.images import image_tensor, image_tensors, mask_tensor
from leadline.errors import UserError

Size = tuple[int, int]


def render(seed: int, numbers: Sequence[int], size: Size, scenes: Any, device: torch.device | str) -> MonoBatch:
    """Procedural rooms; the depth is exact everywhere, and so is the motion to the further frames."""
    from leadline.data.procedural import render_rooms

    rooms = render_rooms(seed, numbers, size, scenes, device)
    everywhere = torch.ones_like(rooms.depth, dtype=torch.bool)
    frames = rooms.images[:, 1:]
    present = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    return MonoBatch(rooms.images[:, 0], rooms.depth, everywhere, rooms.intrinsics, frames, rooms.poses[:, 1:], present)


def from_sample(sample: Sample) -> MonoBatch:
    """A Sample as a batch of one: RGB in [0, 1]; without a truth nothing is valid.

    Raises:
        UserError: the sample is not one image, or its frames are of another size.
    """
    (image,) = image_tensors(sample, 1)
    depth, valid = torch.zeros(1, 1, *sample.size), mask_tensor(None, sample)
    if sample.depth is not None and sample.valid is not None:
        depth = torch.from_numpy(np.ascontiguousarray(sample.depth, np.float32))[None, None]
        valid = mask_tensor(sample.valid, sample)
    camera = sample.intrinsics
    numbers = [camera.fx, camera.fy, camera.cx, camera.cy] if camera is not None else [float("nan")] * 4
    if any(frame.shape[:2] != sample.size for frame in sample.frames):
        raise UserError(f"{sample.name}: its frames differ in size: take it out of the training data")
    frames = torch.stack([image_tensor(frame)[0] for frame in sample.frames]) if sample.frames else image[:0]
    unknown = np.full((4, 4), np.nan)
    poses = [unknown if pose is None else pose for pose in sample.poses]
    poses += [unknown] * (len(sample.frames) - len(poses))
    motion = torch.tensor(np.stack(poses), dtype=torch.float32) if poses else torch.zeros(0, 4, 4)
    present = torch.ones(1, len(sample.frames), dtype=torch.bool)
    return MonoBatch(image, depth, valid, torch.tensor([numbers]), frames[None], motion[None], present)


def random_window(item: MonoBatch, size: Size, draw: torch.Generator) -> MonoBatch:
    """A random window of `size` (h, w), the same in all frames; an image that is too small is enlarged first."""
    return crops.random_window(item, size, draw, zoom)


def zoom(item: MonoBatch, size: Size) -> MonoBatch:
    """Depths stay what they are; the camera's focal length and principal point are zoomed."""
    height, width = item.image.shape[-2:]
    x, y = size[1] / width, size[0] / height
    fx, fy, cx, cy = item.intrinsics.unbind(1)
    # Pixel centres have whole coordinates, so the left edge of the image is at -0.5.
    intrinsics = torch.stack([fx * x, fy * y, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5], 1)
    count, n = item.frames.shape[:2]
    frames = item.frames.new_zeros(count, n, 3, *size)
    if n:
        frames = crops.zoom_image(item.frames.flatten(0, 1), size).unflatten(0, (count, n))
    return MonoBatch(
        crops.zoom_image(item.image, size),
        crops.zoom_map(item.depth, size),
        crops.zoom_mask(item.valid, size),
        intrinsics,
        frames,
        item.poses,
        item.present,
    )


def augment(scenes: MonoBatch, crop: Size, config: AugmentConfig, draw: torch.Generator) -> MonoBatch:
    """A random crop of each image, changed at random; `flip` mirrors it, as rooms do not hang from their ceilings.

    Colours change alike in all frames of an item, so that they still look alike; noise is each frame's own.

    Args:
        scenes: images at least as large as `crop`.
        crop: (h, w) of the result, px.
        config: the amounts; `scale` zooms the image, which changes its camera and not its depths. `asymmetric`,
            `vertical_jitter` and `occluders` are for pairs and have no effect here.
        draw: a CPU generator; the same state gives the same result.
    """
    batch = crops.random_crop(scenes, crop, config, draw, zoom)
    if config.flip:
        batch = _mirror(batch, chance(len(batch), config.flip, draw))
    image, frames = batch.image, batch.frames
    count, n = frames.shape[:2]
    if config.brightness or config.contrast or config.saturation or config.gamma:
        amounts = torch.tensor([config.brightness, config.contrast, config.saturation, config.gamma])
        change = (torch.rand(count, 4, generator=draw) * 2 - 1) * amounts
        image = change_colour(image, change)
        if n:
            each = change.repeat_interleave(n, 0)
            frames = change_colour(frames.flatten(0, 1), each).unflatten(0, (count, n))
    if config.sharpen:
        image, *others = sharpen([image, *frames.unbind(1)], config.sharpen, draw)
        frames = torch.stack(others, 1) if n else frames
    if config.noise:
        deviation = (torch.rand(count, generator=draw) * config.noise).view(-1, 1, 1, 1, 1)
        noise = torch.randn(count, 1 + n, *image.shape[1:], generator=draw) * deviation
        noise = noise.to(image.device)
        image, frames = (image + noise[:, 0]).clamp(0, 1), (frames + noise[:, 1:]).clamp(0, 1)
    return MonoBatch(image, batch.depth, batch.valid, batch.intrinsics, frames, batch.poses, batch.present)


def _mirror(batch: MonoBatch, chosen: Bool[Tensor, " b"]) -> MonoBatch:
    """Left and right exchanged: the principal point moves, and motions are those of a mirrored world."""
    chosen = chosen.to(batch.image.device)
    width = batch.image.shape[-1]
    fx, fy, cx, cy = batch.intrinsics.unbind(1)
    swap = torch.diag(batch.poses.new_tensor([-1.0, 1.0, 1.0, 1.0]))
    turned = MonoBatch(
        batch.image.flip(-1),
        batch.depth.flip(-1),
        batch.valid.flip(-1),
        torch.stack([fx, fy, width - 1 - cx, cy], 1),
        batch.frames.flip(-1),
        # S P S entry by entry, as a product would spread the NaN of unknown motions over what is known
        batch.poses * swap.diagonal()[:, None] * swap.diagonal()[None, :],
        batch.present,
    )

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (old.ndim - 1)), new, old)

    return MonoBatch(*(choose(new, old) for new, old in zip(turned.tensors, batch.tensors, strict=True)))
