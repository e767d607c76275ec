"""Normalisation, and regularisation by leaving things out."""

from __future__ import annotations

from torch import nn

from leadline.blocks.block import Block
from leadline.nn.dropout import DropBlock, StochasticDepth
from leadline.nn.normalization import ChannelLayerNorm, FrozenBatchNorm


def _none(c: int, h: int, w: int) -> int:
    return 0


BLOCKS = [
    Block("batch-norm", "normalization", nn.BatchNorm2d, _none, "Ioffe and Szegedy, ICML 2015"),
    Block("frozen-batch-norm", "normalization", FrozenBatchNorm, _none, "He et al. (Mask R-CNN), ICCV 2017"),
    Block("group-norm", "normalization", lambda c: nn.GroupNorm(4, c), _none, "Wu and He, ECCV 2018"),
    Block("layer-norm", "normalization", ChannelLayerNorm, _none, "Ba et al., 2016; Liu et al. (ConvNeXt), CVPR 2022"),
    Block(
        "instance-norm", "normalization", lambda c: nn.InstanceNorm2d(c, affine=True), _none, "Ulyanov et al., 2016"
    ),
    Block("dropout", "normalization", lambda c: nn.Dropout(0.1), _none, "Srivastava et al., JMLR 2014"),
    Block("spatial-dropout", "normalization", lambda c: nn.Dropout2d(0.1), _none, "Tompson et al., CVPR 2015"),
    Block("dropblock", "normalization", lambda c: DropBlock(0.1, 3), _none, "Ghiasi et al., NeurIPS 2018"),
    Block("stochastic-depth", "normalization", lambda c: StochasticDepth(0.1), _none, "Huang et al., ECCV 2016"),
]  # fmt: skip
