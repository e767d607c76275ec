"""Convolutional encoders that published weights fit: MobileNetV2, MobileNetV3, ResNet-18; and MobileNet for none.

Each gives five maps, at 1/2, 1/4, 1/8, 1/16 and 1/32. The modules are named as in torchvision, whose weights load as
they are; `leadline.models.backbones` translates timm's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import unknown_name
from leadline.nn.conv import ConvBN

Maps = list[Float[Tensor, "b _ _ _"]]


class Encoder(nn.Module):
    """Base: a list of stages run one after the other, `channels` of the five maps, and which stages give them."""

    channels: tuple[int, ...]


class Tapped(Encoder):
    """A sequence `features` whose outputs after some of its members are the maps."""

    taps: ClassVar[tuple[int, ...]]
    features: nn.Sequential

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Maps:
        maps, x = [], image
        for i, stage in enumerate(self.features):
            x = stage(x)
            if i in self.taps:
                maps.append(x)
        return maps


class Separable(nn.Sequential):
    """Depthwise k x k, then pointwise convolution, each with BatchNorm and ReLU: Howard et al., MobileNets, 2017."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(in_channels, in_channels, kernel, stride, kernel // 2, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            ConvBN(in_channels, out_channels, kernel=1),
        )


class MobileNet(Tapped):
    """Howard et al., "MobileNets", 2017. Source of the layers: table 1.

    Args:
        width: factor on the channels, which are then rounded to multiples of 8.
    """

    taps = (1, 3, 5, 11, 13)

    def __init__(self, width: float = 1.0):
        super().__init__()
        layers = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
        channels = [_rounded(c * width) for c, _ in layers]
        stem = _rounded(32 * width)
        stages: list[nn.Module] = [ConvBN(3, stem, stride=2)]
        for before, after, (_, stride) in zip([stem, *channels], channels, layers, strict=False):
            stages.append(Separable(before, after, stride=stride))
        self.features = nn.Sequential(*stages)
        self.channels = tuple(channels[i - 1] for i in self.taps)


class ConvNormAct(nn.Sequential):
    """Convolution, BatchNorm and an activation (None: without), numbered as in torchvision."""

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU
    ):
        layers: list[nn.Module] = [
            nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(cout),
        ]
        super().__init__(*layers, *([] if act is None else [act()]))


class InvertedResidual(nn.Module):
    """Expand, filter, project: Sandler et al., "MobileNetV2", CVPR 2018."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int):
        super().__init__()
        hidden = cin * expansion
        expand = [ConvNormAct(cin, hidden, 1, act=nn.ReLU6)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvNormAct(hidden, hidden, 3, stride, hidden, nn.ReLU6),
            nn.Conv2d(hidden, cout, 1, bias=False),
            nn.BatchNorm2d(cout),
        )
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co ho wo"]:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(Tapped):
    """Sandler et al., "MobileNetV2", CVPR 2018, table 2, without the last convolution to 1280 channels."""

    taps = (1, 3, 6, 13, 17)
    channels = (16, 24, 32, 96, 320)

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = [ConvNormAct(3, 32, 3, 2, act=nn.ReLU6)]
        before = 32
        for expansion, after, count, stride in (
            *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
            *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
        ):
            for i in range(count):
                stages.append(InvertedResidual(before, after, stride if i == 0 else 1, expansion))
                before = after
        self.features = nn.Sequential(*stages)


class SqueezeExcite(nn.Module):
    """Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, with the hard sigmoid of MobileNetV3."""

    def __init__(self, channels: int):
        super().__init__()
        squeezed = _rounded(channels // 4)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.relu, self.gate = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.gate(self.fc2(self.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class BottleneckV3(nn.Module):
    """Howard et al., "Searching for MobileNetV3", ICCV 2019: an inverted residual with other activations."""

    def __init__(self, cin: int, kernel: int, hidden: int, cout: int, squeeze: bool, hard: bool, stride: int):
        super().__init__()
        act = nn.Hardswish if hard else nn.ReLU
        self.block = nn.Sequential(
            *([ConvNormAct(cin, hidden, 1, act=act)] if hidden != cin else []),
            ConvNormAct(hidden, hidden, kernel, stride, hidden, act),
            *([SqueezeExcite(hidden)] if squeeze else []),
            ConvNormAct(hidden, cout, 1, act=None),
        )
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co ho wo"]:
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(Tapped):
    """MobileNetV3-Large without its last convolution: Howard et al., ICCV 2019, table 1."""

    taps = (1, 3, 6, 12, 15)
    channels = (16, 24, 40, 112, 160)
    layers: ClassVar[tuple[tuple[int, int, int, int, bool, bool, int], ...]] = (
        *((16, 3, 16, 16, False, False, 1), (16, 3, 64, 24, False, False, 2), (24, 3, 72, 24, False, False, 1)),
        *((24, 5, 72, 40, True, False, 2), (40, 5, 120, 40, True, False, 1), (40, 5, 120, 40, True, False, 1)),
        *((40, 3, 240, 80, False, True, 2), (80, 3, 200, 80, False, True, 1), (80, 3, 184, 80, False, True, 1)),
        *((80, 3, 184, 80, False, True, 1), (80, 3, 480, 112, True, True, 1), (112, 3, 672, 112, True, True, 1)),
        *((112, 5, 672, 160, True, True, 2), (160, 5, 960, 160, True, True, 1), (160, 5, 960, 160, True, True, 1)),
    )

    def __init__(self) -> None:
        super().__init__()
        bottlenecks = (BottleneckV3(*layer) for layer in self.layers)
        self.features = nn.Sequential(ConvNormAct(3, 16, 3, 2, act=nn.Hardswish), *bottlenecks)


class MobileNetV3Small(MobileNetV3):
    """MobileNetV3-Small without its last convolution: table 2."""

    taps = (0, 1, 3, 8, 11)
    channels = (16, 16, 24, 48, 96)
    layers: ClassVar[tuple[tuple[int, int, int, int, bool, bool, int], ...]] = (
        *((16, 3, 16, 16, True, False, 2), (16, 3, 72, 24, False, False, 2), (24, 3, 88, 24, False, False, 1)),
        *((24, 5, 96, 40, True, True, 2), (40, 5, 240, 40, True, True, 1), (40, 5, 240, 40, True, True, 1)),
        *((40, 5, 120, 48, True, True, 1), (48, 5, 144, 48, True, True, 1), (48, 5, 288, 96, True, True, 2)),
        *((96, 5, 576, 96, True, True, 1), (96, 5, 576, 96, True, True, 1)),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside an identity: He et al., CVPR 2016."""

    def __init__(self, cin: int, cout: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        narrow = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))
        self.downsample = narrow if stride != 1 or cin != cout else None

    def forward(self, x: Float[Tensor, "b ci h w"]) -> Float[Tensor, "b co ho wo"]:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + identity)


class ResNet18(Encoder):
    """He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1, 18 layers."""

    channels = (64, 64, 128, 256, 512)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Maps:
        maps = [self.relu(self.bn1(self.conv1(image)))]
        x = self.maxpool(maps[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "mobilenet": MobileNet,
    "mobilenetv2": MobileNetV2,
    "mobilenetv3": MobileNetV3,
    "mobilenetv3-small": MobileNetV3Small,
    "resnet18": ResNet18,
}


def make_encoder(name: str, width: float = 1.0) -> Encoder:
    """An encoder by name. `width` is for "mobilenet", the one without published weights here.

    Raises:
        UserError: unknown name.
    """
    if name not in ENCODERS:
        raise unknown_name("backbone", name, list(ENCODERS))
    return MobileNet(width) if name == "mobilenet" else ENCODERS[name]()


def _rounded(channels: float) -> int:
    """To the next multiple of 8, but not below 0.9 of it, as in the MobileNets."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
