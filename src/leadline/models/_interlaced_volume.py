"""MobileStereoNet-2D's cost volume: at every disparity a small network looks at the two views' channels interlaced.

Follows: F. Shamsafar et al., "MobileStereoNet", WACV 2022. The original loops over disparities with 3-D convolutions
on views cropped to their overlap. Here
- their kernels are as deep as their stride, so each is one 2-D convolution shared by groups of channels;
- the first one is linear and shared by all disparities, so it is computed once per view: a plane's is the left view's
  plus the right view's moved, put right in the crop's first and last column, where its neighbours are cut off;
- several planes are computed together, in one batch, of which each plane sees its own columns only (but one at a time
  in exported integers: there gathering the batch is a good part of a runtime's time);
- on a CPU channels come last in memory, which makes convolutions of few channels fast.
Shapes: h, w at 1/4; n planes together; 2 halves of the 64 interlaced channels, which meet in the last stage only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Bytes of the largest tensor of planes computed together: a CPU wants it in its cache, a GPU wants long batches.
_BYTES_TOGETHER = {"cpu": 16 << 20, "other": 256 << 20}
_PLANES_WHEN_COMPILING = 8  # few nodes, and memory still bounded
_HALVES = 2
_WIDEST = 128  # channels after the first stage: 8 groups of 16

Layer = Callable[[Tensor], Tensor]


def interlaced_volume(
    left: Float[Tensor, "b 32 h w"],
    right: Float[Tensor, "b 32 h w"],
    planes: int,
    stages: nn.Sequential,
    last: nn.Module,
) -> Float[Tensor, "b planes h w"]:
    """A value >= 0 per pixel and disparity 0 .. planes - 1; columns < d of plane d, which have no partner, are 0.

    Args:
        stages: three times Conv3d (1->16 8x3x3, 16->32 4x3x3, 32->16 2x3x3, depth stride = depth), BatchNorm3d, ReLU;
            the second and third may be `as_called`.
        last: (b, 16, h, w) -> (b, 1, h, w), >= 0.

    w must be at least `planes`. MACs: 55,312 per pixel and plane in the original's form; 46,096 are left here.
    """
    views = _first_convolution(left, right, planes, stages)
    norm, second, third = stages[1], _stage(stages[3], stages[4]), _stage(stages[6], stages[7])
    together = _planes_together(left, stages)
    volume = []
    for start in range(0, planes, together):  # chunks of planes; all see at most the columns that the first one sees
        chunk = _planes(views, start, min(together, planes - start), norm, second, third, last)
        volume.append(F.pad(chunk, (start, 0)).flip(1))
    return torch.cat(volume, 1)


def _planes_together(features: Tensor, stages: nn.Sequential) -> int:
    if stages.training:
        return 1  # BatchNorm's statistics are a plane's own
    if torch.compiler.is_compiling():
        return 1 if isinstance(stages[3], nn.Conv2d) else _PLANES_WHEN_COMPILING  # `as_called`: to be quantised
    if torch.is_grad_enabled():
        return 1  # masking in place would be in autograd's way
    b, _, h, w = features.shape
    plane = b * _WIDEST * h * w * features.element_size()
    return max(1, _BYTES_TOGETHER["cpu" if features.device.type == "cpu" else "other"] // plane)


@dataclass
class _Views:
    """The first convolution of each view, and what a crop's first and last column have too much of it.

    The right view has planes - 1 columns more, at its left: what is moved in, and never seen.
    In plane d the crop's first column is d, and the left view's column d - 1 is not in the crop: `left_edge[d]` is what
    it contributes. The last column is w - 1, and the right view's column w - d, which would be moved next to it, is
    outside: `right_edge[planes - 1 - d]`.
    """

    left: Float[Tensor, "2 b 64 h w"]
    left_edge: Float[Tensor, "2 b 64 h planes"]
    right: Float[Tensor, "2 b 64 h planes-1+w"]
    right_edge: Float[Tensor, "2 b 64 h planes"]


def _first_convolution(left: Tensor, right: Tensor, planes: int, stages: nn.Sequential) -> _Views:
    weight, bias = _as_2d(stages[0], stages[1])
    of_left, of_right = weight[:, 0::2], weight[:, 1::2]  # the interlaced channels are l r l r ...
    w = left.shape[-1]
    return _Views(
        left=_shared_convolution(left, of_left, bias),
        right=_shared_convolution(F.pad(right, (planes - 1, 0)), of_right),
        left_edge=_shared_convolution(F.pad(left[..., : planes - 1], (1, 0)), of_left[..., :1]),
        right_edge=_shared_convolution(F.pad(right[..., w - planes + 1 :], (0, 1)), of_right[..., 2:]),
    )


def _shared_convolution(
    x: Float[Tensor, "b 32 h w"], weight: Float[Tensor, "16 4 3 kw"], bias: Float[Tensor, " 16"] | None = None
) -> Float[Tensor, "2 b 64 h w"]:
    """One convolution for all groups of 4 channels, half of them in each half."""
    b, groups = x.shape[0], x.shape[1] // weight.shape[1] // _HALVES
    x = x.unflatten(1, (_HALVES, -1)).transpose(0, 1).flatten(0, 1)
    x = x.contiguous(memory_format=_layout(x))  # the convolution keeps it, and so does all that follows
    repeated = None if bias is None else bias.repeat(groups)
    x = F.conv2d(x, weight.repeat(groups, 1, 1, 1), repeated, padding=(1, weight.shape[-1] // 2), groups=groups)
    return x.unflatten(0, (_HALVES, b))


def _layout(x: Tensor) -> torch.memory_format:
    on_cpu = x.device.type == "cpu" and not torch.compiler.is_compiling()
    return torch.channels_last if on_cpu else torch.contiguous_format


def _planes(
    views: _Views, start: int, count: int, norm: nn.Module, second: Layer, third: Layer, last: nn.Module
) -> Float[Tensor, "b n h cropped"]:
    """The planes of disparities start + count - 1 down to start, without the columns < start."""
    x = _first_planes(views, start, count)  # (2, n, b, 64, h, w)
    b, w = x.shape[2], x.shape[-1]
    disparities = torch.arange(count - 1, -1, -1, device=x.device)
    seen = (torch.arange(w, device=x.device) >= disparities[:, None]).to(x.dtype)

    # each plane is a crop: what lies left of it must be as absent as what lies outside the image
    x = _clear_unseen(_norm_relu(x.flatten(0, 2), norm), seen, b)
    x = _clear_unseen(torch.cat(second(x).chunk(_HALVES), 1), seen, b)
    return _clear_unseen(last(third(x)), seen, b).view(count, b, -1, w).transpose(0, 1)


def _first_planes(views: _Views, start: int, count: int) -> Float[Tensor, "2 n b 64 h cropped"]:
    if torch.compiler.is_compiling():
        return _first_planes_in_five_axes(views, start, count)
    left = views.left[..., start:].unsqueeze(1)
    w, planes = left.shape[-1], views.left_edge.shape[-1]
    # window i begins i columns later than window 0: the right view is moved by count - 1, count - 2, ..., 0 columns
    right = views.right[..., planes - count : planes - 1 + w].unfold(-1, w, 1).movedim(-2, 1)

    mine = torch.eye(count, dtype=left.dtype, device=left.device).flip(0).view(count, 1, 1, 1, count)
    left_edge = views.left_edge[..., start : start + count].unsqueeze(1) * mine
    right_edge = views.right_edge[..., planes - start - count : planes - start].movedim(-1, 1).unsqueeze(-1)
    x = left + right if torch.is_grad_enabled() else _sum_of_planes(left, right)
    x[..., :count] -= left_edge
    x[..., -1:] -= right_edge
    return x


def _first_planes_in_five_axes(views: _Views, start: int, count: int) -> Float[Tensor, "2 n b 64 h cropped"]:
    """The same for exporters: TFLite pads no more than five axes, so batch and channels are one; and windows are
    slices, as `unfold` would be lowered to such a padding."""
    b, planes = views.left.shape[1], views.left_edge.shape[-1]
    left = views.left[..., start:].flatten(1, 2).unsqueeze(1)
    w = left.shape[-1]
    right = views.right[..., planes - count : planes - 1 + w].flatten(1, 2)
    right = torch.stack([right[..., i : i + w] for i in range(count)], 1)
    mine = torch.eye(count, dtype=left.dtype, device=left.device).flip(0).view(count, 1, 1, count)
    left_edge = views.left_edge[..., start : start + count].flatten(1, 2).unsqueeze(1) * mine
    right_edge = views.right_edge[..., planes - start - count : planes - start].flatten(1, 2)
    right_edge = right_edge.movedim(-1, 1).unsqueeze(-1)
    x = left + right
    if isinstance(w, int) and w > count:  # only where the edges are: padded to the whole width they cost as much again
        parts = (x[..., :count] - left_edge, x[..., count:-1], x[..., -1:] - right_edge)
        x = torch.cat([part for part in parts if part.shape[-1]], -1)
    else:
        x = x - F.pad(left_edge, (0, w - count)) - F.pad(right_edge, (w - 1, 0))
    return x.unflatten(2, (b, -1))


def _sum_of_planes(left: Tensor, right: Tensor) -> Float[Tensor, "2 n b c h w"]:
    """left + right; left to itself, the sum of overlapping windows would lie in memory with the planes interlaced."""
    halves, count, b, *plane = right.shape
    x = torch.empty(halves * count * b, *plane, dtype=right.dtype, device=right.device, memory_format=_layout(right))
    return torch.add(left, right, out=x.unflatten(0, (halves, count, b)))


def _stage(conv: nn.Module, norm: nn.Module) -> Layer:
    """Convolution, BatchNorm and ReLU, made ready once for all planes."""
    if isinstance(conv, nn.Conv2d):  # `as_called`
        return lambda x: F.relu(norm(conv(x)))
    weight, bias = _as_2d(conv, norm)
    return lambda x: _norm_relu(F.conv2d(x, weight, bias, padding=1), norm)


def as_called(stages: nn.Sequential, index: int) -> None:
    """Puts a 2-D convolution and BatchNorm, which are called, in the place of stage 2 or 3; in place."""
    conv, norm = stages[index], stages[index + 1]
    assert isinstance(conv, nn.Conv3d)
    assert isinstance(norm, nn.BatchNorm3d)
    flat = nn.Conv2d(conv.in_channels * conv.kernel_size[0], conv.out_channels, 3, padding=1)
    flat.weight = nn.Parameter(conv.weight.detach().transpose(1, 2).flatten(1, 2).contiguous())
    flat.bias = conv.bias
    flat_norm = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    flat_norm.load_state_dict(norm.state_dict())
    stages[index], stages[index + 1] = flat.train(conv.training), flat_norm.train(norm.training)


def _as_2d(conv: nn.Module, norm: nn.Module) -> tuple[Float[Tensor, "to dc 3 3"], Float[Tensor, " to"]]:
    """A convolution as deep as its stride, for channels with depth before them; BatchNorm is in it but in training."""
    assert isinstance(conv, nn.Conv3d)
    assert isinstance(norm, nn.BatchNorm3d)
    weight, bias = conv.weight.transpose(1, 2).flatten(1, 2), conv.bias
    assert bias is not None
    if norm.training:
        return weight, bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return weight * scale.view(-1, 1, 1, 1), (bias - norm.running_mean) * scale + norm.bias


def _norm_relu(x: Float[Tensor, "n dc h w"], norm: nn.Module) -> Float[Tensor, "n dc h w"]:
    """BatchNorm if in training, else it is in the convolution already; then ReLU."""
    if norm.training:
        assert isinstance(norm, nn.BatchNorm3d)
        x = norm(x.unflatten(1, (-1, norm.num_features)).transpose(1, 2)).transpose(1, 2).flatten(1, 2)
    return F.relu(x, inplace=True)


def _clear_unseen(x: Float[Tensor, "knb c h w"], seen: Float[Tensor, "n w"], b: int) -> Float[Tensor, "knb c h w"]:
    count, w = seen.shape
    if count == 1:
        return x
    if torch.compiler.is_compiling():
        halves = x.shape[0] // (count * b)
        return x * seen.view(1, count, 1, w).expand(halves, -1, b, -1).reshape(-1, 1, 1, w)
    planes, seen = x.unflatten(0, (-1, count, b)), seen.view(count, 1, 1, 1, w)
    planes[..., : count - 1] *= seen[..., : count - 1]  # further right every plane is seen
    return x
