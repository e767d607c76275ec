"""Random crops and changes of stereo pairs, drawn from one generator so that they can be repeated.

Asymmetric changes (colour, rectangles, vertical jitter on the right view alone) follow HSMNet: G. Yang et al.,
"Hierarchical Deep Stereo Matching on High-resolution Images", CVPR 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from leadline.data.batch import StereoBatch

Images = Float[Tensor, "b 3 h w"]


@dataclass(frozen=True)
class AugmentConfig:
    """How much is changed; see `Augment` of the recipe for each field. The defaults change nothing."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    gamma: float = 0.0
    asymmetric: float = 0.0
    noise: float = 0.0
    occluders: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    stretch: float = 0.0
    vertical_jitter: float = 0.0
    flip: float = 0.0


def augment(scenes: StereoBatch, crop: tuple[int, int], config: AugmentConfig, draw: torch.Generator) -> StereoBatch:
    """A random crop of each pair, changed at random.

    Args:
        scenes: pairs at least as large as `crop`.
        crop: (h, w) of the result, px.
        config: the amounts.
        draw: a CPU generator; the same state gives the same result.
    """
    batch = random_crop(scenes, crop, config, draw)
    if config.flip:
        batch = _flip(batch, _chance(len(batch), config.flip, draw))
    left, right = batch.left, batch.right
    if config.vertical_jitter:
        right = shift_rows(right, _signed(len(batch), config.vertical_jitter, draw))
    left, right = _colour(left, right, config, draw)
    if config.occluders:
        right = _occlude(right, config.occluders, draw)
    if config.noise:
        left, right = _noise(left, right, config.noise, draw)
    return StereoBatch(left, right, batch.disparity, batch.valid, batch.occluded)


def take(batch: StereoBatch, indices: list[int]) -> StereoBatch:
    """Some pairs of a batch."""
    return StereoBatch(*(getattr(batch, name)[indices] for name in vars(batch)))


def random_crop(
    scenes: StereoBatch, crop: tuple[int, int], config: AugmentConfig, draw: torch.Generator
) -> StereoBatch:
    """A random window of each pair, zoomed to `crop`. The disparity is multiplied by the horizontal zoom."""
    count, _, height, width = scenes.left.shape
    if (height, width) == crop and config.scale == (1.0, 1.0) and not config.stretch:
        return scenes
    low, high = (math.log(value) for value in config.scale)
    zooms = torch.exp(low + (high - low) * torch.rand(count, generator=draw))
    stretches = torch.exp(_signed(count, config.stretch, draw))
    places = torch.rand(count, 2, generator=draw)
    windows = []
    for i in range(count):
        # A zoom below 1 needs a window larger than the crop: as large as the scene allows, with the aspect kept.
        zoom_y = max(float(zooms[i]), crop[0] / height, crop[1] / width)
        zoom_x = max(zoom_y * float(stretches[i]), crop[1] / width)
        window = min(height, round(crop[0] / zoom_y)), min(width, round(crop[1] / zoom_x))
        top = int(places[i, 0] * (height - window[0] + 1))
        left = int(places[i, 1] * (width - window[1] + 1))
        rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
        pair = StereoBatch(*(getattr(scenes, name)[i : i + 1, :, rows, columns] for name in vars(scenes)))
        windows.append(_zoom(pair, crop) if window != crop else pair)
    return StereoBatch.cat(windows)


def _zoom(pair: StereoBatch, size: tuple[int, int]) -> StereoBatch:
    """Images are interpolated; the disparity takes its nearest value, as a mixture across an edge is nowhere true."""
    factor = size[1] / pair.left.shape[-1]

    def smooth(image: Tensor) -> Tensor:
        return functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=factor < 1)

    def nearest(values: Tensor) -> Tensor:
        return functional.interpolate(values.float(), size, mode="nearest-exact")

    return StereoBatch(
        smooth(pair.left).clamp(0, 1),
        smooth(pair.right).clamp(0, 1),
        nearest(pair.disparity) * factor,
        nearest(pair.valid) > 0.5,
        nearest(pair.occluded) > 0.5,
    )


def shift_rows(image: Images, offset: Float[Tensor, " b"]) -> Images:
    """Moves each image down by `offset` px (fractions interpolated linearly), repeating the border rows."""
    count, _, height, width = image.shape
    rows = torch.arange(height, dtype=image.dtype)[None] - offset[:, None]
    rows = rows.clamp(0, height - 1)
    low = rows.floor().long().clamp(max=max(height - 2, 0))
    part = (rows - low).to(image.device)[:, None, :, None]

    def at(index: Tensor) -> Tensor:
        return image.gather(2, index.to(image.device)[:, None, :, None].expand(count, image.shape[1], height, width))

    return at(low) * (1 - part) + at((low + 1).clamp(max=height - 1)) * part


def _flip(batch: StereoBatch, chosen: Bool[Tensor, " b"]) -> StereoBatch:
    """Upside down, which keeps the geometry of a rectified pair; mirrored it would need the right view's truth."""
    where = chosen.view(-1, 1, 1, 1).to(batch.left.device)
    tensors = (getattr(batch, name) for name in vars(batch))
    return StereoBatch(*(torch.where(where, tensor.flip(2), tensor) for tensor in tensors))


def _colour(left: Images, right: Images, config: AugmentConfig, draw: torch.Generator) -> tuple[Images, Images]:
    """One change for both views, and a smaller one of its own for the right view."""
    if not (config.brightness or config.contrast or config.saturation or config.gamma):
        return left, right
    amounts = torch.tensor([config.brightness, config.contrast, config.saturation, config.gamma])
    shared = (torch.rand(len(left), 4, generator=draw) * 2 - 1) * amounts
    own = (torch.rand(len(left), 4, generator=draw) * 2 - 1) * amounts * config.asymmetric
    return change_colour(left, shared), change_colour(right, shared + own)


def change_colour(image: Images, change: Float[Tensor, "b 4"]) -> Images:
    """Gamma exp(g), saturation × (1 + s), contrast × (1 + c) about the mean, brightness + b; clipped to [0, 1].

    Args:
        image: RGB in [0, 1].
        change: b, c, s, g for each image.
    """
    brightness, contrast, saturation, gamma = change.to(image.device).view(-1, 4, 1, 1, 1).unbind(1)
    image = image.clamp(1e-4, 1) ** torch.exp(gamma)
    grey = (image * image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)  # ITU-R BT.601
    image = grey + (image - grey) * (1 + saturation)
    mean = image.mean((1, 2, 3), keepdim=True)
    return (mean + (image - mean) * (1 + contrast) + brightness).clamp(0, 1)


def _occlude(right: Images, probability: float, draw: torch.Generator) -> Images:
    """Covers one to three rectangles of the right view with its mean colour; the truth stays, as for an occlusion."""
    count, _, height, width = right.shape
    right = right.clone()
    chosen = _chance(count, probability, draw)
    boxes = torch.rand(count, 3, 4, generator=draw)
    how_many = torch.randint(1, 4, (count,), generator=draw)
    for i in torch.nonzero(chosen).flatten().tolist():
        mean = right[i].mean((1, 2))[:, None, None]
        for y, x, h, w in boxes[i, : int(how_many[i])].tolist():
            tall, wide = round((0.05 + 0.2 * h) * height), round((0.03 + 0.12 * w) * width)
            top, left = int(y * (height - tall)), int(x * (width - wide))
            right[i, :, top : top + tall, left : left + wide] = mean
    return right


def _noise(left: Images, right: Images, largest: float, draw: torch.Generator) -> tuple[Images, Images]:
    deviation = (torch.rand(len(left), generator=draw) * largest).view(-1, 1, 1, 1)
    noise = torch.randn(2, *left.shape, generator=draw) * deviation
    noise = noise.to(left.device)
    return (left + noise[0]).clamp(0, 1), (right + noise[1]).clamp(0, 1)


def _chance(count: int, probability: float, draw: torch.Generator) -> Bool[Tensor, " b"]:
    return torch.rand(count, generator=draw) < probability


def _signed(count: int, amount: float, draw: torch.Generator) -> Float[Tensor, " b"]:
    return (torch.rand(count, generator=draw) * 2 - 1) * amount
