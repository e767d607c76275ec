"""Cost volumes by shifting one view's features, in 4-D wherever a network is exported."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leadline.nn.forms import has_few_operations

NARROWEST = 16  # columns of a block; narrower matrices are not worth a product


def correlation_volume(
    left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"], planes: int, groups: int = 1, edge: bool = False
) -> Float[Tensor, "b pg h w"]:
    """Mean product of the features at disparities 0 .. planes - 1 (px of this resolution), per group of channels.

    Channels are dealt round to the groups (channel k to group k % groups). The result is plane-major: channel
    d * groups + g. Columns < d of plane d, which the right view does not reach, are 0, or with `edge` what column d of
    the plane is: a surface that matches where the right view begins goes on to the border of the left one.

    Source: correlation as in DispNet (Mayer et al., CVPR 2016); groups as in GwcNet (Guo et al., CVPR 2019).
    MACs: c * planes per pixel.
    """
    volume = _known(left, right, planes, groups)
    return _extend(volume, left, right, planes, groups) if edge else volume


def _extend(volume: Tensor, left: Tensor, right: Tensor, planes: int, groups: int) -> Tensor:
    """The volume with the first column that is known of each plane repeated to the left, where it was 0."""
    b, c, h, w = left.shape
    columns = min(planes, w)
    first = left[..., :columns] * right[..., :1]  # column d meets the right view's first at disparity d
    first = first.reshape(b, c // groups, groups * h, columns).mean(1).reshape(b, groups, h, columns)
    first = F.pad(first, (0, planes - columns)).permute(0, 3, 1, 2).reshape(b, planes * groups, h, 1)
    plane = torch.div(torch.arange(planes * groups, device=left.device), groups, rounding_mode="floor")
    unknown = torch.arange(columns, device=left.device) < plane[:, None]
    begin = first * unknown[:, None].to(volume.dtype)
    return volume + F.pad(begin, (0, w - columns))  # one pass over the volume, no column cut or joined


def _known(left: Tensor, right: Tensor, planes: int, groups: int) -> Tensor:
    """The volume with zeros where the right view does not reach."""
    trains = torch.is_grad_enabled() and left.requires_grad and not torch.compiler.is_exporting()
    if has_few_operations() or (groups > 1 and not trains):
        return _of_shifts(left, right, planes, groups)
    if groups == 1:
        return _of_blocks(left, right, planes)
    # In training alone, as autograd is slow at shifts: this form has tensors of five dimensions.
    b, c, h, w = left.shape
    left, right = (
        x.reshape(b, c // groups, groups, h, w).transpose(1, 2).reshape(b * groups, c // groups, h, w)
        for x in (left, right)
    )
    volume = _of_blocks(left, right, planes).reshape(b, groups, planes, h, w)
    return volume.transpose(1, 2).reshape(b, planes * groups, h, w)


def _of_shifts(left: Tensor, right: Tensor, planes: int, groups: int) -> Tensor:
    """Plane by plane: products and means alone."""
    b, c, h, w = left.shape
    padded = F.pad(right, (planes - 1, 0, 0, 0))
    scores = []
    for d in range(planes):
        product = left * padded[..., planes - 1 - d : planes - 1 - d + w]
        if groups > 1:  # folding the groups into the rows keeps the tensor 4-D
            product = product.reshape(b, c // groups, groups * h, w)
        scores.append(product.mean(1, keepdim=True).reshape(b, groups, h, w))
    return torch.cat(scores, 1)


def _of_blocks(left: Tensor, right: Tensor, planes: int) -> Tensor:
    """Block by block of columns: a matrix product of a block with all that it may match, of which a band is wanted.

    Twice the multiplications and more of a volume, but features are read once and not once per plane: three times
    faster in PyTorch and in ONNX Runtime. Columns are numbered from the right within what a block may match, so that
    disparity d of column x is at t - 1 - x + d in row x of the product: with rows read as one shorter, the band is
    upright.
    """
    b, c, h, w = left.shape
    t = max(planes, NARROWEST)  # columns of a block
    blocks = (w + t - 1) // t
    rows = (F.pad(left, (0, blocks * t - w)) / c).reshape(b, c, h * blocks, t).permute(0, 2, 3, 1)
    parts = F.pad(right, (t, blocks * t - w)).reshape(b * c, h, blocks + 1, t).flip(3)
    reached = torch.cat([parts[:, :, 1:], parts[:, :, :blocks]], 3)  # a block, and the one before it
    columns = reached.reshape(b, c, h * blocks, 2 * t).permute(0, 2, 1, 3)
    products = torch.matmul(rows, columns).reshape(b, h * blocks, 2 * t * t)
    upright = products[..., t - 1 : t - 1 + t * (2 * t - 1)].reshape(b, h * blocks, t, 2 * t - 1)
    band = upright[..., :planes].reshape(b, h, blocks * t, planes)
    return band[:, :, :w].permute(0, 3, 1, 2)
