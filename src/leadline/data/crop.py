"""Random windows of a batch, for every task: what a zoom does to the truth is told by the task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from leadline.data.augment import AugmentConfig, signed
from leadline.data.batch import Batch

B = TypeVar("B", bound=Batch)
Size = tuple[int, int]
Zoom = Callable[[B, Size], B]  # a batch enlarged or reduced to (h, w), its truth with it


def random_crop(scenes: B, crop: Size, config: AugmentConfig, draw: torch.Generator, zoom: Zoom[B]) -> B:
    """A random window of each item, zoomed to `crop` by a random factor."""
    count, (height, width) = len(scenes), scenes.images[0].shape[-2:]
    if (height, width) == crop and config.scale == (1.0, 1.0) and not config.stretch:
        return scenes
    low, high = (math.log(value) for value in config.scale)
    zooms = torch.exp(low + (high - low) * torch.rand(count, generator=draw))
    stretches = torch.exp(signed(count, config.stretch, draw))
    places = torch.rand(count, 2, generator=draw)
    windows = []
    for i in range(count):
        # A zoom below 1 needs a window larger than the crop: as large as the scene allows, with the aspect kept.
        zoom_y = max(float(zooms[i]), crop[0] / height, crop[1] / width)
        zoom_x = max(zoom_y * float(stretches[i]), crop[1] / width)
        size = min(height, round(crop[0] / zoom_y)), min(width, round(crop[1] / zoom_x))
        top = int(places[i, 0] * (height - size[0] + 1))
        left = int(places[i, 1] * (width - size[1] + 1))
        item = window(scenes.take([i]), top, left, size)
        windows.append(zoom(item, crop) if size != crop else item)
    return type(scenes).cat(windows)


def random_window(item: B, size: Size, draw: torch.Generator, zoom: Zoom[B]) -> B:
    """A random window of `size` (h, w); an item that is too small is enlarged first."""
    height, width = item.images[0].shape[-2:]
    factor = max(size[0] / height, size[1] / width)
    if factor > 1:
        height, width = max(size[0], round(height * factor)), max(size[1], round(width * factor))
        item = zoom(item, (height, width))
    top = int(torch.randint(height - size[0] + 1, (1,), generator=draw))
    left = int(torch.randint(width - size[1] + 1, (1,), generator=draw))
    return window(item, top, left, size)


def window(batch: B, top: int, left: int, size: Size) -> B:
    """The same window of every map; what has no pixels (a time, a motion) stays as it is."""
    full = batch.valid.shape[-2:]
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    cut = type(batch)(*(t[..., rows, columns] if t.shape[-2:] == full else t for t in batch.tensors))
    return cut.after_crop(top, left)


def zoom_image(image: Float[Tensor, "b c h w"], size: Size) -> Float[Tensor, "b c h2 w2"]:
    """Interpolated between pixels, or averaged over them where it shrinks."""
    shrinks = size[1] < image.shape[-1]
    return functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=shrinks).clamp(0, 1)


def zoom_map(values: Float[Tensor, "b c h w"], size: Size) -> Float[Tensor, "b c h2 w2"]:
    """The nearest value, as a mixture across an edge is nowhere true."""
    return functional.interpolate(values, size, mode="nearest-exact")


def zoom_mask(mask: Bool[Tensor, "b 1 h w"], size: Size) -> Bool[Tensor, "b 1 h2 w2"]:
    return zoom_map(mask.float(), size) > 0.5
