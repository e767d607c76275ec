"""MobileStereoNet-2D's cost volume: at every disparity a small network looks at the two views' channels interlaced.

Follows: F. Shamsafar et al., "MobileStereoNet", WACV 2022. The original loops over disparities with 3-D convolutions
on views cropped to their overlap. Their kernels are as deep as their stride, so each is one 2-D convolution shared by
groups of channels; and several planes are computed together, in one batch.
Shapes: h, w at 1/4; n planes together.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.nn.volumes import shifted_planes

# Bytes of the largest tensor of planes computed together. On a CPU it has to stay in the cache and below what the
# allocator returns to the system at once; a GPU wants long batches.
_BYTES_TOGETHER = {"cpu": 4 << 20, "other": 256 << 20}
_PLANES_WHEN_EXPORTING = 8  # few nodes, and memory still bounded
_WIDEST = 128  # channels after the first stage: 8 groups of 16


def interlaced_volume(
    left: Float[Tensor, "b 32 h w"],
    right: Float[Tensor, "b 32 h w"],
    planes: int,
    stages: nn.Sequential,
    last: nn.Module,
) -> Float[Tensor, "b planes h w"]:
    """A value >= 0 per pixel and disparity 0 .. planes - 1; columns < d of plane d, which have no partner, are 0.

    Args:
        stages: three times Conv3d (1->16 8x3x3, 16->32 4x3x3, 32->16 2x3x3, depth stride = depth), BatchNorm3d, ReLU.
        last: (b, 16, h, w) -> (b, 1, h, w), >= 0.

    w must be at least `planes`. MACs: 55,312 per pixel and plane.
    """
    together = _planes_together(left, stages.training)
    volume = []
    for first in range(0, planes, together):  # chunks of planes; all see at most the columns that the first one sees
        count = min(together, planes - first)
        seen_left, seen_right = left[..., first:], right[..., : right.shape[-1] - first]
        volume.append(F.pad(_planes(seen_left, seen_right, count, stages, last), (first, 0)))
    return torch.cat(volume, 1)


def _planes_together(features: Tensor, training: bool) -> int:
    if torch.compiler.is_exporting():
        return _PLANES_WHEN_EXPORTING
    if training or torch.is_grad_enabled():
        return 1  # BatchNorm's statistics are a plane's own; and masking in place would be in autograd's way
    b, _, h, w = features.shape
    plane = b * _WIDEST * h * w * features.element_size()
    return max(1, _BYTES_TOGETHER["cpu" if features.device.type == "cpu" else "other"] // plane)


def _planes(
    left: Float[Tensor, "b 32 h w"],
    right: Float[Tensor, "b 32 h w"],
    count: int,
    stages: nn.Sequential,
    last: nn.Module,
) -> Float[Tensor, "b n h w"]:
    """The planes at relative disparities 0 .. count - 1."""
    b, _, h, w = left.shape
    columns = torch.arange(w, device=left.device)
    seen = (columns >= torch.arange(count, device=left.device)[:, None]).to(left.dtype).view(count, 1, 1, w)

    moved = shifted_planes(right, 0, count)
    x = torch.stack([left * seen[:, None], moved], dim=3).flatten(2, 3).flatten(0, 1)  # (n*b, 64: l r l r ..., h, w)
    for conv, norm in ((stages[0], stages[1]), (stages[3], stages[4]), (stages[6], stages[7])):
        assert isinstance(conv, nn.Conv3d)
        assert isinstance(norm, nn.BatchNorm3d)
        x = F.relu(_grouped_conv(x, conv, norm), inplace=True)
        # each plane is a crop: what lies left of it must be as absent as what lies outside the image
        x = _clear_unseen(x.reshape(count, -1, h, w), seen)
    x = _clear_unseen(last(x.reshape(count * b, -1, h, w)).reshape(count, b, h, w), seen)
    return x.transpose(0, 1)


def _grouped_conv(x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> Tensor:
    """Conv3d with depth stride = depth kernel, then BatchNorm; depth lies before the channels here: (n, d*c, h, w)."""
    weight, bias = conv.weight.transpose(1, 2).flatten(1, 2), conv.bias
    x = x.reshape(-1, weight.shape[1], *x.shape[-2:])
    if norm.training:
        return norm(F.conv2d(x, weight, bias, padding=1).unsqueeze(2)).squeeze(2)
    assert bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # folded, which saves passes over the planes
    return F.conv2d(x, weight * scale.view(-1, 1, 1, 1), (bias - norm.running_mean) * scale + norm.bias, padding=1)


def _clear_unseen(x: Float[Tensor, "n c h w"], seen: Float[Tensor, "n 1 1 w"]) -> Float[Tensor, "n c h w"]:
    count = x.shape[0]
    if count == 1:
        return x
    if torch.compiler.is_exporting():
        return x * seen
    x[..., : count - 1] *= seen[..., : count - 1]  # further right every plane is seen
    return x
