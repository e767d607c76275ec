"""Cost volumes by shifting one view's features, in 4-D throughout."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def correlation_volume(
    left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"], planes: int, groups: int = 1
) -> Float[Tensor, "b pg h w"]:
    """Mean product of the features at disparities 0 .. planes - 1 (px of this resolution), per group of channels.

    Channels are dealt round to the groups (channel k to group k % groups). The result is plane-major: channel
    d * groups + g. Columns < d of plane d, which the right view does not reach, are 0.

    Source: correlation as in DispNet (Mayer et al., CVPR 2016); groups as in GwcNet (Guo et al., CVPR 2019).
    MACs: c * planes per pixel.
    """
    if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
        return _Correlation.apply(left, right, planes, groups)
    return _forward(left, right, planes, groups)


def _forward(left: Tensor, right: Tensor, planes: int, groups: int) -> Tensor:
    b, c, h, w = left.shape
    padded = F.pad(right, (planes - 1, 0, 0, 0))
    scores = []
    for d in range(planes):
        product = left * padded[..., planes - 1 - d : planes - 1 - d + w]
        if groups > 1:  # folding the groups into the rows keeps the tensor 4-D
            product = product.reshape(b, c // groups, groups * h, w)
        scores.append(product.mean(1, keepdim=True).reshape(b, groups, h, w))
    return torch.cat(scores, 1)


class _Correlation(torch.autograd.Function):
    """The same with gradients summed in place: autograd's own would clear and add a full-size tensor per plane."""

    @staticmethod
    def forward(ctx, left: Tensor, right: Tensor, planes: int, groups: int) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.planes, ctx.groups = planes, groups
        return _forward(left, right, planes, groups)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        left, right = ctx.saved_tensors
        b, c, h, w = left.shape
        gradient = gradients[0].reshape(b, ctx.planes, ctx.groups, h, w) * (ctx.groups / c)
        left_c, right_c = (x.reshape(b, c // ctx.groups, ctx.groups, h, w) for x in (left, right))
        to_left, to_right = torch.zeros_like(left_c), torch.zeros_like(right_c)
        for d in range(min(ctx.planes, w)):
            here = gradient[:, d, None, :, :, d:]
            to_left[..., d:].addcmul_(here, right_c[..., : w - d])
            to_right[..., : w - d].addcmul_(here, left_c[..., d:])
        return to_left.reshape(left.shape), to_right.reshape(right.shape), None, None
