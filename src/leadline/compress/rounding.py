"""Rounding of weights that makes up for its own error.

The weights of an output channel are rounded one after the other, and what rounding one of them changes in the output
is spread over those that are still to come, by the second moments of the inputs. Source: E. Frantar et al., "GPTQ:
Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR 2023 (which makes Optimal Brain
Quantization, Frantar and Alistarh, NeurIPS 2022, fast); here in the inputs' own order, and for convolutions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from leadline.nn.quantize.affine import Grid, from_codes, to_codes
from leadline.nn.quantize.layers import QuantizedLayer

DAMPING = 0.01  # of the mean second moment, added to all, so that inputs that never vary do no harm


@torch.no_grad()
def compensated_codes(layer: QuantizedLayer, moments: Float[Tensor, "groups k k"]) -> Tensor:
    """The codes of the layer's weights, int8 of their shape, rounded with compensation.

    Args:
        layer: a convolution or linear layer with the scales that it shall have.
        moments: sum of x x^T over the patches x that a group's weights are multiplied with.
    """
    quantizer = layer.weight_quantizer
    weight = layer.weight.detach().float()
    scale, zero_point = (layer.spread(t).expand_as(weight) for t in quantizer.current(weight))
    codes = torch.empty_like(weight)
    parts = zip(weight.chunk(len(moments)), scale.chunk(len(moments)), zero_point.chunk(len(moments)), moments,
                codes.chunk(len(moments)), strict=True)  # fmt: skip
    for w, s, z, second, place in parts:
        rows, scales, zeros = (t.reshape(w.shape[0], -1) for t in (w, s, z))
        pruned = rows == 0 if layer.keeps_zeros else torch.zeros_like(rows, dtype=torch.bool)
        place.copy_(_compensated(rows.clone(), scales, zeros, second, quantizer.grid, pruned).reshape(w.shape))
    return codes.to(torch.int8)


def _compensated(
    rows: Tensor, scale: Tensor, zero_point: Tensor, moments: Tensor, grid: Grid, pruned: Tensor
) -> Tensor:
    """The codes row by row; what is pruned stays 0, and what was to be spread to it goes on to the weights after it."""
    damping = DAMPING * moments.diagonal().mean() + 1e-12
    damped = moments.double() + damping * torch.eye(len(moments), dtype=torch.float64)
    # Row i of this factor holds how much column i's error asks of the columns after it.
    factor = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True).float()
    codes = torch.empty_like(rows)
    for i in range(rows.shape[1]):
        kept = rows[:, i].masked_fill(pruned[:, i], 0.0)
        codes[:, i] = to_codes(kept, scale[:, i], zero_point[:, i], grid)
        error = (rows[:, i] - from_codes(codes[:, i], scale[:, i], zero_point[:, i])) / factor[i, i]
        rows[:, i + 1 :] -= error[:, None] * factor[i, i + 1 :]
    return codes
