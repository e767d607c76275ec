"""L1 on BatchNorm's scales, which makes channels dispensable."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError


def scales(network: nn.Module) -> list[Float[Tensor, " c"]]:
    """The scaling factors of all BatchNorms."""
    norms = (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return [norm.weight for norm in norms if norm.affine]


def check_slimming(network: nn.Module, name: str) -> None:
    """Raises UserError where there is no BatchNorm whose scales could be made sparse."""
    if not scales(network):
        raise UserError(
            f"slimming: {name} has no BatchNorm: leave it out, and prune filters by l1, l2, group or taylor"
        )


def slimming_penalty(network: nn.Module) -> Float[Tensor, ""]:
    """Sum of |γ| over all BatchNorms' scales.

    Source: Z. Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
    """
    return torch.stack([scale.abs().sum() for scale in scales(network)]).sum()
