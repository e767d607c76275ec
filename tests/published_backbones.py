"""Names and shapes of published weights, from the source of torchvision and of timm, with random numbers in them.

Facts from torchvision/models/{mobilenetv2,mobilenetv3,resnet}.py and timm/models/{_efficientnet_blocks,mobilenetv3,
vision_transformer}.py. A layout's list goes through the network in the same order as the other's.
"""

from __future__ import annotations

import torch
from torch import Tensor

State = dict[str, Tensor]


class _Filler:
    def __init__(self, seed: int):
        self.draw = torch.Generator().manual_seed(seed)
        self.state: State = {}

    def conv(self, name: str, cout: int, cin: int, kernel: int, bias: bool = False) -> None:
        self.state[f"{name}.weight"] = (
            torch.randn(cout, cin, kernel, kernel, generator=self.draw) / (cin * kernel**2) ** 0.5
        )
        if bias:
            self.state[f"{name}.bias"] = torch.randn(cout, generator=self.draw)

    def linear(self, name: str, cout: int, cin: int) -> None:
        self.state[f"{name}.weight"] = torch.randn(cout, cin, generator=self.draw) / cin**0.5
        self.state[f"{name}.bias"] = 0.1 * torch.randn(cout, generator=self.draw)

    def norm(self, name: str, channels: int, batch: bool = True) -> None:
        self.state[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=self.draw)
        self.state[f"{name}.bias"] = 0.1 * torch.randn(channels, generator=self.draw)
        if batch:
            self.state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=self.draw)
            self.state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=self.draw)
            self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def mobilenet_v2(layout: str, seed: int = 0) -> State:
    f = _Filler(seed)
    timm = layout == "timm"
    f.conv("conv_stem" if timm else "features.0.0", 32, 3, 3)
    f.norm("bn1" if timm else "features.0.1", 32)
    block, cin = 1, 32
    settings = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    for stage, (t, c, n) in enumerate(settings):
        for i in range(n):
            here, hidden = (f"blocks.{stage}.{i}" if timm else f"features.{block}.conv"), cin * t
            if t == 1:
                names = ["conv_dw", "bn1", "conv_pw", "bn2"] if timm else ["0.0", "0.1", "1", "2"]
                shapes = [(hidden, 1, 3), (c, hidden, 1)]
            else:
                names = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
                names = names if timm else ["0.0", "0.1", "1.0", "1.1", "2", "3"]
                shapes = [(hidden, cin, 1), (hidden, 1, 3), (c, hidden, 1)]
            for k, shape in enumerate(shapes):
                f.conv(f"{here}.{names[2 * k]}", *shape)
                f.norm(f"{here}.{names[2 * k + 1]}", shape[0])
            cin, block = c, block + 1
    f.conv("conv_head" if timm else "features.18.0", 1280, 320, 1)
    f.norm("bn2" if timm else "features.18.1", 1280)
    f.linear("classifier" if timm else "classifier.1", 1000, 1280)
    return f.state


# kernel, expanded, out, squeeze; stages are what timm groups by
_LARGE = [
    [(3, 16, 16, 0)],
    [(3, 64, 24, 0), (3, 72, 24, 0)],
    [(5, 72, 40, 24), (5, 120, 40, 32), (5, 120, 40, 32)],
    [(3, 240, 80, 0), (3, 200, 80, 0), (3, 184, 80, 0), (3, 184, 80, 0)],
    [(3, 480, 112, 120), (3, 672, 112, 168)],
    [(5, 672, 160, 168), (5, 960, 160, 240), (5, 960, 160, 240)],
]
_SMALL = [
    [(3, 16, 16, 8)],
    [(3, 72, 24, 0), (3, 88, 24, 0)],
    [(5, 96, 40, 24), (5, 240, 40, 64), (5, 240, 40, 64)],
    [(5, 120, 48, 32), (5, 144, 48, 40)],
    [(5, 288, 96, 72), (5, 576, 96, 144), (5, 576, 96, 144)],
]


def mobilenet_v3_large(layout: str, seed: int = 0) -> State:
    return _mobilenet_v3(layout, seed, _LARGE, 960, 1280)


def mobilenet_v3_small(layout: str, seed: int = 0) -> State:
    return _mobilenet_v3(layout, seed, _SMALL, 576, 1024)


def _mobilenet_v3(layout: str, seed: int, stages: list, last: int, hidden_last: int) -> State:
    f = _Filler(seed)
    timm = layout == "timm"
    f.conv("conv_stem" if timm else "features.0.0", 16, 3, 3)
    f.norm("bn1" if timm else "features.0.1", 16)
    block, cin = 1, 16
    for stage, members in enumerate(stages):
        for i, (kernel, hidden, cout, squeeze) in enumerate(members):
            here = f"blocks.{stage}.{i}" if timm else f"features.{block}.block"
            part = 0
            if hidden != cin:
                f.conv(f"{here}.conv_pw" if timm else f"{here}.0.0", hidden, cin, 1)
                f.norm(f"{here}.bn1" if timm else f"{here}.0.1", hidden)
                part = 1
            f.conv(f"{here}.conv_dw" if timm else f"{here}.{part}.0", hidden, 1, kernel)
            f.norm(f"{here}.bn{part + 1}" if timm else f"{here}.{part}.1", hidden)
            part += 1
            if squeeze:
                f.conv(f"{here}.se.conv_reduce" if timm else f"{here}.{part}.fc1", squeeze, hidden, 1, bias=True)
                f.conv(f"{here}.se.conv_expand" if timm else f"{here}.{part}.fc2", hidden, squeeze, 1, bias=True)
                part += 1
            plain = hidden == cin  # a depthwise-separable block in timm's words
            f.conv(f"{here}.{'conv_pw' if plain else 'conv_pwl'}" if timm else f"{here}.{part}.0", cout, hidden, 1)
            f.norm(f"{here}.{'bn2' if plain else 'bn3'}" if timm else f"{here}.{part}.1", cout)
            cin, block = cout, block + 1
    f.conv(f"blocks.{len(stages)}.0.conv" if timm else f"features.{block}.0", last, cin, 1)
    f.norm(f"blocks.{len(stages)}.0.bn1" if timm else f"features.{block}.1", last)
    if timm:
        f.conv("conv_head", hidden_last, last, 1, bias=True)
        f.linear("classifier", 1000, hidden_last)
    else:
        f.linear("classifier.0", hidden_last, last)
        f.linear("classifier.3", 1000, hidden_last)
    return f.state


def resnet18(layout: str, seed: int = 0) -> State:
    """Both name it alike."""
    f = _Filler(seed)
    f.conv("conv1", 64, 3, 7)
    f.norm("bn1", 64)
    cin = 64
    for layer, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            here = f"layer{layer}.{block}"
            f.conv(f"{here}.conv1", width, cin, 3)
            f.norm(f"{here}.bn1", width)
            f.conv(f"{here}.conv2", width, width, 3)
            f.norm(f"{here}.bn2", width)
            if cin != width:
                f.conv(f"{here}.downsample.0", width, cin, 1)
                f.norm(f"{here}.downsample.1", width)
            cin = width
    f.linear("fc", 1000, 512)
    return f.state


def deit(width: int, distilled: bool, seed: int = 0) -> State:
    f = _Filler(seed)
    tokens = 2 if distilled else 1
    f.state["cls_token"] = torch.randn(1, 1, width, generator=f.draw)
    if distilled:
        f.state["dist_token"] = torch.randn(1, 1, width, generator=f.draw)
    f.state["pos_embed"] = torch.randn(1, 196 + tokens, width, generator=f.draw)
    f.conv("patch_embed.proj", width, 3, 16, bias=True)
    for i in range(12):
        f.norm(f"blocks.{i}.norm1", width, batch=False)
        f.linear(f"blocks.{i}.attn.qkv", 3 * width, width)
        f.linear(f"blocks.{i}.attn.proj", width, width)
        f.norm(f"blocks.{i}.norm2", width, batch=False)
        f.linear(f"blocks.{i}.mlp.fc1", 4 * width, width)
        f.linear(f"blocks.{i}.mlp.fc2", width, 4 * width)
    f.norm("norm", width, batch=False)
    f.linear("head", 1000, width)
    if distilled:
        f.linear("head_dist", 1000, width)
    return f.state
