"""What MobileStereoNet-2D begins with: a network of its shape that matches by absolute differences, already trained.

    python benchmarks/mobilestereonet_start.py train RECIPE.yaml        # of absolute-differences-2d; may be interrupted
    python benchmarks/mobilestereonet_start.py give STAND_IN.safetensors runs/mobilestereonet-2d-start.safetensors

From random weights the interlaced volume, which costs most of a training step, knows nothing of matching, and soft
argmin rests in the middle of the range for long. Here
- residual branches, hourglasses and classifiers begin as the identity;
- the sum of absolute differences of the features stands in the volume's place: a tenth of the multiplications. With
  `alone: true` it is trained alone, as a distribution over disparities, then all that follows it as well;
- then the volume's own three convolutions are set to compute just that sum (`give`): |l - r| is
  relu(l - r) + relu(r - l), of which the first convolution holds the terms and the others the sums. What they have room
  for besides starts random, and unheard.
The result is a mobilestereonet-2d that predicts what the trained stand-in does. A recipe's `init` names the file.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import leadline
from leadline.checkpoint import load_network
from leadline.models._mobilestereonet_parts import Hourglass, InvertedResidual, SeparableResidual, both_views
from leadline.models.mobilestereonet import PLANES, MobileStereoNet2D, MobileStereoNet2DConfig
from leadline.models.registry import register
from leadline.nn.regression import soft_argmin
from leadline.training import train

NAME = "absolute-differences-2d"
TERMS, PAIRS = 8, 4  # of relu(l - r) and relu(r - l); channels of either view that the first convolution sees at once


@dataclass(frozen=True)
class AbsoluteDifferencesConfig(MobileStereoNet2DConfig):
    alone: bool = False  # the volume itself is the distribution, and what follows it rests


class AbsoluteDifferences2D(MobileStereoNet2D):
    """MobileStereoNet-2D with relu(bias - weight * sum |l - r|) as its volume."""

    def __init__(self, config: AbsoluteDifferencesConfig):
        super().__init__(config)
        del self.conv3d, self.volume11
        self.weight, self.bias = nn.Parameter(torch.tensor(0.16)), nn.Parameter(torch.tensor(8.0))
        as_identity(self)

    def _volume(self, left: Tensor, right: Tensor) -> Tensor:
        planes = []
        for d in range(PLANES):
            difference = (left[..., d:] - right[..., : right.shape[-1] - d]).abs().sum(1, keepdim=True)
            planes.append(F.pad(F.relu(self.bias - self.weight * difference), (d, 0)))
        return torch.cat(planes, 1)

    def forward_scores(self, left: Tensor, right: Tensor) -> tuple[list[Tensor], Tensor, float]:
        if not self.config.alone:
            return super().forward_scores(left, right)
        left, right = both_views(self.feature_extraction, self.normalize(left), self.normalize(right))
        volume = self._volume(self.preconv11(left).float(), self.preconv11(right).float())
        return [self._disparity(volume)], volume, 4.0

    def _disparity(self, scores: Tensor) -> Tensor:
        """In training at 1/4 and enlarged: the same to within what edges make, at a fraction of the time."""
        if not self.training:
            return super()._disparity(scores)
        disparity = soft_argmin(scores.float(), spacing=4.0) + 1.5  # plane 0 stands for 0 .. 3 px
        return F.interpolate(disparity, scale_factor=4, mode="bilinear")


@register(NAME)
def absolute_differences_2d(**config: Any) -> AbsoluteDifferences2D:
    return AbsoluteDifferences2D(AbsoluteDifferencesConfig(**config))


@torch.no_grad()
def as_identity(network: MobileStereoNet2D) -> None:
    """Blocks beside an identity add nothing yet, and classifiers pick their own plane."""
    for module in network.modules():
        if isinstance(module, InvertedResidual) and module.adds_input:
            nn.init.zeros_(module.conv[-1].weight)
        elif isinstance(module, SeparableResidual):
            nn.init.zeros_(module.conv2[-1].weight)
    for hourglass in (network.encoder_decoder1, network.encoder_decoder2, network.encoder_decoder3):
        assert isinstance(hourglass, Hourglass)
        nn.init.zeros_(hourglass.conv6[1].weight)
    for head in (network.classif0, network.classif1, network.classif2, network.classif3):
        for conv in (head[0][0], head[2]):
            conv.weight.mul_(0.1)
            conv.weight[:, :, 1, 1] += torch.eye(PLANES)


@torch.no_grad()
def with_volume(stand_in: AbsoluteDifferences2D) -> MobileStereoNet2D:
    """MobileStereoNet-2D that predicts the same."""
    network = leadline.create("mobilestereonet-2d")
    assert isinstance(network, MobileStereoNet2D)
    network.load_state_dict(stand_in.state_dict(), strict=False)
    first, second, third, last = network.conv3d[0], network.conv3d[3], network.conv3d[6], network.volume11[0][0]
    for conv, norm in ((first, network.conv3d[1]), (second, network.conv3d[4]), (third, network.conv3d[7])):
        conv.weight[:TERMS] = 0  # type: ignore[index]
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.constant_(norm.running_var, 1 - norm.eps)  # type: ignore[arg-type, operator]
    for pair in range(PAIRS):  # interlaced: l r l r ...
        for term, sign in ((pair, 1.0), (pair + PAIRS, -1.0)):
            first.weight[term, 0, 2 * pair, 1, 1] = sign  # type: ignore[index]
            first.weight[term, 0, 2 * pair + 1, 1, 1] = -sign  # type: ignore[index]
    for term in range(TERMS):  # the sums over what lies at different depths
        second.weight[term, term, :, 1, 1] = 1  # type: ignore[index]
        third.weight[term, term, :, 1, 1] = 1  # type: ignore[index]
    last.weight.zero_()
    last.weight[0, :TERMS] = -stand_in.weight
    norm = network.volume11[0][1]
    norm.running_var.fill_(1 - norm.eps)
    norm.bias.fill_(float(stand_in.bias))
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("recipe", metavar="RECIPE.yaml")
    giving = commands.add_parser("give")
    giving.add_argument("stand_in", metavar="STAND_IN.safetensors")
    giving.add_argument("output", metavar="FILE.safetensors")
    options = parser.parse_args()
    if options.command == "train":
        print(train(options.recipe))
        return
    stand_in = load_network(options.stand_in)
    assert isinstance(stand_in, AbsoluteDifferences2D)
    torch.manual_seed(0)
    network = with_volume(stand_in)
    network.provenance = stand_in.provenance | {"volume": "set to the sum of absolute differences of the features"}
    leadline.save(network, options.output)
    print(f"{options.output}: mobilestereonet-2d that matches by absolute differences")


if __name__ == "__main__":
    main()
