"""Frames while a network is trained: interpolation error (grey values of 255), PSNR (dB), sharpness."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from leadline.data.batch import TripletBatch

ERRORS = ("ie", "psnr", "sharpness")
PICTURE = "mean of both frames, prediction, truth, error x 4"


def error_sums(prediction: Float[Tensor, "1 3 h w"], triplet: TripletBatch) -> Float[Tensor, " 4"]:
    """Mean absolute difference, PSNR and sharpness of each frame, rounded to 8 bits, and the number of frames."""
    found = (prediction.clamp(0, 1) * 255).round().double()
    error = found - (triplet.frame * 255).round()
    squared = error.square().mean((1, 2, 3)).clamp(min=255**2 * 1e-10)  # at most 100 dB
    psnr = 10 * torch.log10(255**2 / squared)
    count = torch.tensor(float(len(triplet)))
    sharpness = _mean_gradient(found) / _mean_gradient(triplet.frame * 255).clamp(min=1e-6)
    sums = [error.abs().mean((1, 2, 3)).sum(), psnr.sum(), sharpness.sum(), count.double()]
    return torch.stack([value.cpu() for value in sums])


def _mean_gradient(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """As evaluation.frame_errors.mean_gradient: mean length of the luma's gradient."""
    luma = (image.double() * image.new_tensor([0.299, 0.587, 0.114]).double().view(1, 3, 1, 1)).sum(1)
    return torch.hypot(luma.diff(dim=2)[:, :-1], luma.diff(dim=1)[:, :, :-1]).mean((1, 2))


def picture(batch: TripletBatch, prediction: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "3 h2 w2"]:
    """Four pictures in one: the mean of both frames and the prediction above, truth and error below."""
    found, true = prediction[0].float().clamp(0, 1), batch.frame[0]
    above = torch.cat([(batch.frame0[0] + batch.frame1[0]) / 2, found], 2)
    below = torch.cat([true, (4 * (found - true).abs()).clamp(0, 1)], 2)
    return torch.cat([above, below], 1).cpu()
