"""Random changes of images, drawn from one generator so that they can be repeated; each task chooses among them.

Asymmetric changes (colour, rectangles, vertical jitter on the second image alone) follow HSMNet: G. Yang et al.,
"Hierarchical Deep Stereo Matching on High-resolution Images", CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Images = Float[Tensor, "b 3 h w"]


@dataclass(frozen=True)
class AugmentConfig:
    """How much is changed; see `Augment` of the recipe for each field. The defaults change nothing."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    gamma: float = 0.0
    asymmetric: float = 0.0
    sharpen: float = 0.0
    noise: float = 0.0
    occluders: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    stretch: float = 0.0
    vertical_jitter: float = 0.0
    flip: float = 0.0
    rotate: float = 0.0
    reverse_time: float = 0.0
    reverse_channels: float = 0.0


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


def shared_colour(first: Images, second: Images, config: AugmentConfig, draw: torch.Generator) -> tuple[Images, Images]:
    """One change for both images, and a smaller one of its own for the second."""
    if not (config.brightness or config.contrast or config.saturation or config.gamma):
        return first, second
    amounts = torch.tensor([config.brightness, config.contrast, config.saturation, config.gamma])
    shared = (torch.rand(len(first), 4, generator=draw) * 2 - 1) * amounts
    own = (torch.rand(len(first), 4, generator=draw) * 2 - 1) * amounts * config.asymmetric
    return change_colour(first, shared), change_colour(second, shared + own)


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


def sharpen(images: list[Images], largest: float, draw: torch.Generator) -> list[Images]:
    """The finest detail of each item, up to 1 + `largest` times as strong, alike in all its images.

    Unsharp masking about the blur (1, 2, 1) / 4, as cameras do it: at the highest frequency the factor is the whole
    one. Rendered scenes have half as much detail of one to two pixels as photographs.
    """
    amount = (torch.rand(len(images[0]), generator=draw) * largest).view(-1, 1, 1, 1).to(images[0].device)
    return [(image + amount * (image - _blur(image))).clamp(0, 1) for image in images]


def _blur(image: Images) -> Images:
    kernel = image.new_tensor([0.25, 0.5, 0.25])
    around = F.pad(image, (1, 1, 1, 1), mode="replicate")
    weight = (kernel[:, None] * kernel).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(around, weight, groups=image.shape[1])


def occlude(image: Images, probability: float, draw: torch.Generator) -> Images:
    """Covers one to three rectangles with the image's mean colour; the truth stays, as for an occlusion."""
    count, _, height, width = image.shape
    image = image.clone()
    chosen = chance(count, probability, draw)
    boxes = torch.rand(count, 3, 4, generator=draw)
    how_many = torch.randint(1, 4, (count,), generator=draw)
    for i in torch.nonzero(chosen).flatten().tolist():
        mean = image[i].mean((1, 2))[:, None, None]
        for y, x, h, w in boxes[i, : int(how_many[i])].tolist():
            tall, wide = round((0.05 + 0.2 * h) * height), round((0.03 + 0.12 * w) * width)
            top, left = int(y * (height - tall)), int(x * (width - wide))
            image[i, :, top : top + tall, left : left + wide] = mean
    return image


def add_noise(first: Images, second: Images, largest: float, draw: torch.Generator) -> tuple[Images, Images]:
    """Gaussian noise of one strength per item, up to `largest`, another in each image."""
    deviation = (torch.rand(len(first), generator=draw) * largest).view(-1, 1, 1, 1)
    noise = (torch.randn(2, *first.shape, generator=draw) * deviation).to(first.device)
    return (first + noise[0]).clamp(0, 1), (second + noise[1]).clamp(0, 1)


def chance(count: int, probability: float, draw: torch.Generator) -> Bool[Tensor, " b"]:
    return torch.rand(count, generator=draw) < probability


def signed(count: int, amount: float, draw: torch.Generator) -> Float[Tensor, " b"]:
    return (torch.rand(count, generator=draw) * 2 - 1) * amount
