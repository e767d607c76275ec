"""What judges in adversarial training; it is not shipped, and is here for its cost."""

from __future__ import annotations

from leadline.blocks.block import Block
from leadline.nn.patch_discriminator import PatchDiscriminator


def _patches(c: int, h: int, w: int) -> float:
    """Two halvings; 4x4 kernels, of which the last two lose a pixel."""
    h1, w1 = h // 2, w // 2
    h2, w2 = h1 // 2, w1 // 2
    first, second = 16 * c * c * h1 * w1, 16 * c * 2 * c * h2 * w2
    third = 16 * 2 * c * 4 * c * (h2 - 1) * (w2 - 1)
    return first + second + third + 16 * 4 * c * (h2 - 2) * (w2 - 2)


BLOCKS = [
    Block(
        "patch-discriminator", "adversarial", lambda c: PatchDiscriminator(c, c, halvings=2), _patches,
        "Isola et al., CVPR 2017; Miyato et al. (spectral normalisation), ICLR 2018", multiple=8,
    ),
    Block(
        "patch-discriminator-instance-norm", "adversarial",
        lambda c: PatchDiscriminator(c, c, halvings=2, spectral=False), _patches, "Isola et al., CVPR 2017", multiple=8,
    ),
]  # fmt: skip
