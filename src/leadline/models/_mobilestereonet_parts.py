"""What MobileStereoNet's 2-D and 3-D networks share: MobileNet blocks, feature extractor, hourglass.

Follows: F. Shamsafar et al., "MobileStereoNet: Towards Lightweight Deep Networks for Stereo Matching", WACV 2022, and
its code (github.com/cogsys-tuebingen/mobilestereonet, 3c2931a), whose parameter names are kept so that its
checkpoints load as they are.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.network import Network

_CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def conv_norm(in_channels: int, out_channels: int, kernel: int, dims: int = 2) -> nn.Sequential:
    """Convolution of odd size without bias and its BatchNorm, in 2-D or 3-D."""
    conv = _CONV[dims](in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, _NORM[dims](out_channels))


def classifier(channels: int, out_channels: int, dims: int) -> nn.Sequential:
    """The scores of one supervised output: two 3x3(x3) convolutions."""
    last = _CONV[dims](channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(conv_norm(channels, channels, 3, dims), nn.ReLU(inplace=True), last)


def _depthwise(channels: int, stride: int, dilation: int, dims: int = 2) -> list[nn.Module]:
    conv = _CONV[dims](channels, channels, 3, stride, dilation, dilation, groups=channels, bias=False)
    return [conv, _NORM[dims](channels), nn.ReLU6(inplace=True)]


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand by 1x1, filter depthwise, project by 1x1 (Sandler et al., CVPR 2018).

    In 2-D it adds its input where shapes allow. In 3-D it never does: the original compares the stride with
    (1, 1, 1) where 1 is passed, so its trained weights know no such sum.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, dims: int = 2):
        super().__init__()
        hidden = in_channels * expansion
        self.adds_input = dims == 2 and stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *conv_norm(in_channels, hidden, 1, dims),
            nn.ReLU6(inplace=True),
            *_depthwise(hidden, stride, dilation=1, dims=dims),
            *conv_norm(hidden, out_channels, 1, dims),
        )

    def forward(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b o *smaller"]:
        return x + self.conv(x) if self.adds_input else self.conv(x)


class SeparableResidual(nn.Module):
    """Two of MobileNetV1's depthwise separable convolutions beside an identity, no activation after the sum."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.conv1 = nn.Sequential(
            *_depthwise(in_channels, stride, dilation),
            *conv_norm(in_channels, out_channels, 1),
            nn.ReLU6(inplace=True),
        )
        self.conv2 = nn.Sequential(*_depthwise(out_channels, 1, dilation), *conv_norm(out_channels, out_channels, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        return self.conv2(self.conv1(x)) + (x if self.downsample is None else self.downsample(x))


class FeatureExtractor(nn.Module):
    """Features of one view at 1/4: 64, 128 and 128 channels of three stages, side by side.

    Args:
        stem_relu: a ReLU after each block of the stem, which the 2-D network has and the 3-D network has not.
    """

    channels = 320

    def __init__(self, stem_relu: bool):
        super().__init__()
        stem = []
        for block in (InvertedResidual(3, 32, 2, 3), InvertedResidual(32, 32, 1, 3), InvertedResidual(32, 32, 1, 3)):
            stem += [block, nn.ReLU(inplace=True)] if stem_relu else [block]
        self.firstconv = nn.Sequential(*stem)
        self.layer1 = _stage(32, 32, blocks=3)
        self.layer2 = _stage(32, 64, blocks=16, stride=2)
        self.layer3 = _stage(64, 128, blocks=3)
        self.layer4 = _stage(128, 128, blocks=3, dilation=2)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 320 qh qw"]:
        quarter = self.layer2(self.layer1(self.firstconv(image)))
        wider = self.layer3(quarter)
        return torch.cat([quarter, wider, self.layer4(wider)], 1)


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = SeparableResidual(in_channels, out_channels, stride, dilation)
    return nn.Sequential(
        first, *(SeparableResidual(out_channels, out_channels, dilation=dilation) for _ in range(blocks - 1))
    )


def both_views(extractor: nn.Module, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Features of the two views; in one batch, but for training, where BatchNorm's statistics are a view's own."""
    if extractor.training:
        return extractor(left), extractor(right)
    features = extractor(torch.cat([left, right]))
    return features[: left.shape[0]], features[left.shape[0] :]


class Hourglass(nn.Module):
    """Two steps down, two up, with a block across at each level. Sizes must be multiples of 4; they are kept."""

    def __init__(self, channels: int, dims: int):
        super().__init__()
        c = channels
        self.conv1 = InvertedResidual(c, 2 * c, 2, 2, dims)
        self.conv2 = InvertedResidual(2 * c, 2 * c, 1, 2, dims)
        self.conv3 = InvertedResidual(2 * c, 4 * c, 2, 2, dims)
        self.conv4 = InvertedResidual(4 * c, 4 * c, 1, 2, dims)
        self.conv5 = _double(4 * c, 2 * c, dims)
        self.conv6 = _double(2 * c, c, dims)
        self.redir1 = InvertedResidual(c, c, 1, 2, dims)
        self.redir2 = InvertedResidual(2 * c, 2 * c, 1, 2, dims)

    def forward(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b k *size"]:
        half = self.conv2(self.conv1(x))
        quarter = self.conv4(self.conv3(half))
        half = torch.relu(self.conv5(quarter) + self.redir2(half))
        return torch.relu(self.conv6(half) + self.redir1(x))


def _double(in_channels: int, out_channels: int, dims: int) -> nn.Sequential:
    up = _TRANSPOSED[dims](in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False)
    return nn.Sequential(up, _NORM[dims](out_channels))


def initialise(network: nn.Module) -> None:
    """Convolutions normal with variance 2 / (kernel taps * output channels); the rest as PyTorch makes it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.normal_(module.weight, std=math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))


def check_max_disparity(name: str, value: Any) -> None:
    """Raises UserError where `value` is not a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"{name}: max_disparity {value!r} is not a whole number of pixels")


def check_pair(network: Network, left: Tensor, right: Tensor) -> None:
    """Raises UserError where the network cannot take this pair."""
    if torch.compiler.is_exporting():
        return  # sizes may be symbols there, on which a comparison would set a bound
    if left.shape != right.shape:
        raise UserError(f"left and right differ in shape: {tuple(left.shape)} and {tuple(right.shape)}")
    network.check_size(*left.shape[-2:])
