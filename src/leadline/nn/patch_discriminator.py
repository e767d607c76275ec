"""A discriminator that judges patches, with spectral normalisation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """How real each patch of an image looks: one logit per patch, positive for real.

    Strided 4x4 convolutions; with 3 halvings a logit sees 70 px. The condition (the input image for a depth map, the
    two outer frames for one between them) comes concatenated along the channels.

    Shapes: (b, in, h, w) -> (b, 1, about h / 2^n, about w / 2^n).
    Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017; spectral
    normalisation, which holds the largest singular value of every weight at 1 so that the discriminator is
    Lipschitz: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.

    Args:
        halvings: n.
        spectral: normalise the weights; without it the layers between carry instance normalisation.
    """

    def __init__(self, in_channels: int = 3, width: int = 64, halvings: int = 3, spectral: bool = True):
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for i in range(halvings + 1):
            wider = width * min(2**i, 8)
            stride = 2 if i < halvings else 1
            conv = nn.Conv2d(channels, wider, 4, stride, padding=1)
            layers.append(spectral_norm(conv) if spectral else conv)
            if i and not spectral:
                layers.append(nn.InstanceNorm2d(wider))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = wider
        last = nn.Conv2d(channels, 1, 4, padding=1)
        layers.append(spectral_norm(last) if spectral else last)
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 ho wo"]:
        return self.layers(image)
