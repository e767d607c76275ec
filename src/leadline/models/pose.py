"""The camera's motion between two frames, for learning depth from video whose poses nobody measured.

Follows: Godard et al., "Digging into Self-Supervised Monocular Depth Estimation" (Monodepth2), ICCV 2019, with a small
plain encoder in the place of its ResNet. It is trained beside a depth network and used in training alone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.conv import ConvBN
from leadline.nn.imagenet import ImageNetNormalize

SMALL = 0.01  # outputs are scaled by this, so that training begins with hardly any motion


class PoseNet(nn.Module):
    """(frame, other) -> the rigid motion that takes points of the frame's camera to the other's, (b, 4, 4).

    Its translation is in the unit in which the depth network learns its depth: without a known baseline the scale of
    both is arbitrary.
    """

    def __init__(self, width: int = 16):
        super().__init__()
        self.normalize = ImageNetNormalize()
        widths = [width * 2**i for i in range(5)]
        self.encoder = nn.Sequential(
            ConvBN(6, width, kernel=7, stride=2),
            *(ConvBN(before, after, stride=2) for before, after in pairwise(widths)),
        )
        self.motion = nn.Conv2d(widths[-1], 6, 1)

    def forward(self, frame: Float[Tensor, "b 3 h w"], other: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 4"]:
        pair = torch.cat([self.normalize(frame), self.normalize(other)], 1)
        motion = SMALL * self.motion(self.encoder(pair)).mean((2, 3))
        return rigid(motion[:, :3], motion[:, 3:])


def rigid(turn: Float[Tensor, "b 3"], shift: Float[Tensor, "b 3"]) -> Float[Tensor, "b 4 4"]:
    """The motion that turns about an axis by its length, radians (Rodrigues' formula), and then shifts."""
    angle = turn.square().sum(1).clamp(min=1e-12).sqrt()[:, None, None]
    x, y, z = turn.unbind(1)
    nil = torch.zeros_like(x)
    skew = torch.stack([nil, -z, y, z, nil, -x, -y, x, nil], 1).view(-1, 3, 3)
    # sin(a)/a and (1 - cos a)/a², which stay finite and differentiable for small angles
    first, second = torch.sinc(angle / torch.pi), 0.5 * torch.sinc(angle / (2 * torch.pi)).square()
    rotation = torch.eye(3, device=turn.device, dtype=turn.dtype) + first * skew + second * (skew @ skew)
    top = torch.cat([rotation, shift[:, :, None]], 2)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(top), 1, 4)
    return torch.cat([top, bottom], 1)
