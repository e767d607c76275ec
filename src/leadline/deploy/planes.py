"""Convolutions over a volume's planes with several planes at once, for runtimes on CPUs.

`PlaneConv` puts every plane into a batch and gives it few output channels, where a CPU's vectors hold 16 numbers: half
of each is idle, and each plane is written three times beside its neighbours. With several planes in one convolution,
whose weights are a band, vectors are full and less is copied, at the price of multiplications by 0.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.models.network import Network
from leadline.nn.plane_conv import PlaneConv
from leadline.nn.quantize.layers import CHANNEL, QuantizedConv2d
from leadline.surgeries.quantize import replace_module

FULL = 16  # output channels that a convolution should have
MOST = 8  # planes at once: k of them cost (k + 2) / 3 times the multiplications


def planes_together(network: Network) -> Network:
    """The same function, as a copy; the network itself where nothing is to be gained."""
    names = [name for name, module in network.named_modules() if _at_once(module) > 1]
    if not names:
        return network
    copied = copy.deepcopy(network).eval()
    for name in names:
        module = copied.get_submodule(name)
        assert isinstance(module, PlaneConv)
        replace_module(copied, name, PlanesTogether(module, _at_once(module)))
    return copied


def _at_once(module: nn.Module) -> int:
    """How many planes a convolution should take: as few as fill its outputs, where their number can be divided so."""
    if not isinstance(module, PlaneConv) or type(module.conv) not in (nn.Conv2d, QuantizedConv2d):
        return 1
    if type(module.norm) not in (nn.BatchNorm2d, nn.Identity):  # others look across channels, or at the image
        return 1
    if isinstance(module.conv, QuantizedConv2d) and module.conv.numbers.granularity != CHANNEL:
        return 1
    wanted = min(MOST, -(-FULL // module.conv.out_channels))
    if wanted == 1:
        return 1
    fitting = [k for k in range(2, min(MOST, 2 * wanted) + 1) if module.planes % k == 0]
    return next((k for k in fitting if k >= wanted), max(fitting, default=1))


class PlanesTogether(nn.Module):
    """A `PlaneConv` in eval mode, `at_once` planes to a convolution."""

    def __init__(self, plane_conv: PlaneConv, at_once: int):
        super().__init__()
        old = plane_conv.conv
        self.planes, self.channels, self.at_once = plane_conv.planes, plane_conv.in_channels, at_once
        self.out_channels = old.out_channels
        self.conv = self._banded(old)
        norm = plane_conv.norm
        if isinstance(norm, nn.BatchNorm2d):
            self.norm: nn.Module = nn.BatchNorm2d(at_once * old.out_channels, eps=norm.eps)
            repeated = {name: _repeated(value, at_once) for name, value in norm.state_dict().items()}
            self.norm.load_state_dict(repeated)
        else:
            self.norm = norm  # folded already
        self.relu = plane_conv.relu
        self.eval()

    def _banded(self, old: nn.Conv2d) -> nn.Conv2d:
        c, k = self.channels, self.at_once
        new = copy.deepcopy(old)
        new.in_channels, new.out_channels = (k + 2) * c, k * old.out_channels
        bands = [nn.functional.pad(old.weight.detach(), (0, 0, 0, 0, i * c, (k - 1 - i) * c)) for i in range(k)]
        new.weight = nn.Parameter(torch.cat(bands))
        if old.bias is not None:
            new.bias = nn.Parameter(old.bias.detach().repeat(k))
        if isinstance(new, QuantizedConv2d):
            quantizer = new.weight_quantizer
            quantizer.merge()
            for name in ("scale", "zero_point", "stretch"):
                value = getattr(quantizer, name)
                repeated = value.detach().repeat(k, 1, 1, 1)
                setattr(quantizer, name, nn.Parameter(repeated) if isinstance(value, nn.Parameter) else repeated)
        return new

    def forward(self, volume: Float[Tensor, "b pi h w"]) -> Float[Tensor, "b po h w"]:
        h, w = volume.shape[-2:]
        c, k = self.channels, self.at_once
        edge = torch.zeros_like(volume[:, :c])
        padded = torch.cat([edge, volume, edge], 1)
        groups = [padded[:, first * c : (first + k + 2) * c] for first in range(0, self.planes, k)]
        made = self.relu(self.norm(self.conv(torch.cat(groups))))  # one image: (groups, k * out, h, w)
        return made.reshape(1, self.planes * self.out_channels, h, w)


def _repeated(value: Tensor, times: int) -> Tensor:
    return value.repeat(times) if value.ndim else value
