"""Laplacian pyramids: an image as octaves of detail."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leadline.errors import UserError

BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)


def laplacian_distance(
    one: Float[Tensor, "b c h w"], two: Float[Tensor, "b c h w"], levels: int = 5, coarse: bool = False
) -> Float[Tensor, ""]:
    """The sum over the levels of the mean absolute difference of two images' pyramids.

    Args:
        coarse: whether what is left below the last octave counts as well.
    """
    pyramid = laplacian_pyramid(one - two, levels)  # it is linear: that of the difference is enough
    return torch.stack([level.abs().mean() for level in (pyramid if coarse else pyramid[:-1])]).sum()


def laplacian_pyramid(image: Float[Tensor, "b c h w"], levels: int) -> list[Float[Tensor, "b c _ _"]]:
    """`levels` differences between an image and its blurred half, fine to coarse, and the last half.

    Source: P. Burt, E. Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983.

    Raises:
        UserError: height or width is no multiple of 2^levels.
    """
    height, width = image.shape[-2:]
    if height % 2**levels or width % 2**levels:
        raise UserError(
            f"a Laplacian pyramid of {levels} levels cannot halve {height}x{width} that often: take a crop of "
            f"multiples of {2**levels}, or fewer levels"
        )
    pyramid = []
    for _ in range(levels):
        half = _blur(image)[:, :, ::2, ::2]
        spread = torch.zeros_like(image)
        spread[:, :, ::2, ::2] = half
        pyramid.append(image - 4 * _blur(spread))
        image = half
    return [*pyramid, image]


def _blur(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """With the binomial kernel of 5x5, the border reflected; images of one or two pixels repeat it."""
    kernel = image.new_tensor(BINOMIAL) / 16
    window = (kernel[:, None] * kernel[None]).expand(image.shape[1], 1, 5, 5)
    mode = "reflect" if min(image.shape[-2:]) > 2 else "replicate"
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode=mode), window, groups=image.shape[1])
