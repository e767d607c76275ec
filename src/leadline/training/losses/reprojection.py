"""Depth from other frames without a truth: what is seen from there, moved by depth and motion, is to look like here.

After C. Godard et al., "Digging into Self-Supervised Monocular Depth Estimation" (Monodepth2), ICCV 2019. The frames
are those of a video before and after, or the other view of a stereo pair; their motion is known or found by the pose
network beside the depth network.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from leadline.data.batch import MonoBatch
from leadline.models.network import Task
from leadline.nn.reproject import reproject
from leadline.training.losses.registry import Kind, loss
from leadline.training.losses.self_supervised import ssim

Depth = Float[Tensor, "b 1 h w"]
Images = Float[Tensor, "b 3 h w"]
Poses = Float[Tensor, "b n 4 4"]
Scalar = Float[Tensor, ""]
Share = Annotated[float, Field(ge=0, le=1)]
UNSEEN = 1e3  # an error that no frame reaches: where it is the least, no frame sees the point


@loss("reprojection", kind=Kind.FRAMES, tasks=(Task.MONO,))
def reprojection(
    prediction: Depth, batch: MonoBatch, poses: Poses, alpha: Share = 0.85, minimum: bool = True, auto_mask: bool = True
) -> Scalar:
    """The photometric error alpha (1 - SSIM) / 2 + (1 - alpha) |difference| of the moved frames.

    Args:
        prediction: m.
        batch: its images, frames and intrinsics.
        poses: from the image's camera to each frame's; NaN where unknown, and the frame is left out.
        alpha: share of the structural part.
        minimum: over the frames, so that what one frame hides is judged by the other; else their mean.
        auto_mask: leaves out pixels that match better unmoved: of a camera at rest, and of things that move with it.
    """
    moved_errors, still_errors = [], []
    for i in range(batch.frames.shape[1]):
        usable = (
            batch.present[:, i] & torch.isfinite(poses[:, i]).all(2).all(1) & torch.isfinite(batch.intrinsics).all(1)
        )
        pose = torch.where(usable[:, None, None], poses[:, i], torch.eye(4, device=poses.device, dtype=poses.dtype))
        camera = torch.where(usable[:, None], batch.intrinsics, torch.ones_like(batch.intrinsics))
        moved, seen = reproject(batch.frames[:, i], prediction, camera, pose)
        there = seen & usable.view(-1, 1, 1, 1)
        moved_errors.append(torch.where(there, photometric_error(batch.image, moved, alpha), UNSEEN))
        still = photometric_error(batch.image, batch.frames[:, i], alpha)
        still_errors.append(torch.where(usable.view(-1, 1, 1, 1), still, UNSEEN))
    if not moved_errors:
        return 0 * prediction.sum()
    moved_error = torch.cat(moved_errors, 1)
    counts = moved_error < UNSEEN
    best = moved_error.amin(1, keepdim=True)
    mask = counts.any(1, keepdim=True)
    if not minimum:
        best = torch.where(counts, moved_error, 0.0).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
    if auto_mask:
        mask = mask & (best < torch.cat(still_errors, 1).amin(1, keepdim=True))
    return torch.where(mask, best, 0.0).sum() / mask.sum().clamp(min=1)


@loss("depth_smoothness", kind=Kind.FRAMES, tasks=(Task.MONO,))
def depth_smoothness(
    prediction: Depth, batch: MonoBatch, poses: Poses, edge: Annotated[float, Field(ge=0)] = 1.0
) -> Scalar:
    """|dx q| exp(-edge |dx I|) + |dy q| exp(-edge |dy I|), with q the inverse depth over its mean.

    C. Wang et al., "Learning Depth from Monocular Videos using Direct Methods", CVPR 2018; as in Monodepth2, whose
    weight for it is 1e-3 per scale.
    """
    inverse = 1 / prediction.clamp(min=1e-3)
    inverse = inverse / inverse.mean((2, 3), keepdim=True)
    total = prediction.new_zeros(())
    for axis in (2, 3):
        slope = inverse.diff(dim=axis).abs()
        contrast = batch.image.diff(dim=axis).abs().mean(1, keepdim=True)
        total = total + (slope * torch.exp(-edge * contrast)).mean()
    return total


def photometric_error(one: Images, two: Images, alpha: float) -> Float[Tensor, "b 1 h w"]:
    """alpha (1 - SSIM) / 2 + (1 - alpha) |difference|, the mean over the channels."""
    structure = ((1 - ssim(one, two)) / 2).clamp(0, 1).mean(1, keepdim=True)
    return alpha * structure + (1 - alpha) * (one - two).abs().mean(1, keepdim=True)
