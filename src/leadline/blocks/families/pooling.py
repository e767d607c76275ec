"""Pooling."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from leadline.blocks.block import Block
from leadline.nn.pooling.blur import BlurPool
from leadline.nn.pooling.generalized_mean import GeneralizedMean
from leadline.nn.pooling.pyramid import PyramidPooling
from leadline.nn.pooling.soft import SoftPool, StochasticPool
from leadline.nn.pooling.strip import StripPooling
from leadline.nn.pooling.unpooling import MaxPool, MaxUnpool


class PoolAndUnpool(nn.Module):
    """Maxima, halved, and put back where they were: both halves of SegNet's pair in one."""

    def __init__(self):
        super().__init__()
        self.pool, self.unpool = MaxPool(), MaxUnpool()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        most, places = self.pool(x)
        return self.unpool(most / 2, places, x)


def _none(c: int, h: int, w: int) -> int:
    return 0


BLOCKS = [
    Block("max-pool", "pooling", lambda c: nn.MaxPool2d(2), _none, "Ranzato et al., CVPR 2007"),
    Block("average-pool", "pooling", lambda c: nn.AvgPool2d(2), _none, "LeCun et al., 1989"),
    Block("global-average", "pooling", lambda c: nn.AdaptiveAvgPool2d(1), _none, "Lin et al., ICLR 2014"),
    Block(
        "adaptive-average", "pooling", lambda c: nn.AdaptiveAvgPool2d((4, 4)), _none, "He et al. (SPP), TPAMI 2015",
        multiple=4,
    ),
    Block("max-unpool", "pooling", lambda c: PoolAndUnpool(), _none, "Badrinarayanan et al. (SegNet), TPAMI 2017"),
    Block(
        "pyramid-pool", "pooling", lambda c: PyramidPooling(c, c, bins=(1, 2, 4, 8)),
        lambda c, h, w: 2 * c * c * h * w + c * c / 4 * (1 + 4 + 16 + 64), "Zhao et al. (PSPNet), CVPR 2017",
        multiple=8,
    ),
    Block(
        "strip-pool", "pooling", StripPooling, lambda c, h, w: c * c * (3 * (h + w) + h * w), "Hou et al., CVPR 2020"
    ),
    Block("generalised-mean", "pooling", lambda c: GeneralizedMean(2), _none, "Radenović et al. (GeM), TPAMI 2018"),
    Block(
        "blur-pool", "pooling", lambda c: BlurPool(c), lambda c, h, w: 9 * c * -(-h // 2) * -(-w // 2),
        "Zhang, ICML 2019",
    ),
    Block("soft-pool", "pooling", lambda c: SoftPool(2), _none, "Stergiou et al., ICCV 2021"),
    Block("stochastic-pool", "pooling", lambda c: StochasticPool(2), _none, "Zeiler and Fergus, ICLR 2013"),
]  # fmt: skip
