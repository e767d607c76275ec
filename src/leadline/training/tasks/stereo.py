"""Disparity while it is trained: end-point error, px, and shares of bad pixels, %."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leadline.colors import color_disparity, color_error
from leadline.data.batch import StereoBatch

ERRORS = ("epe", "bad-1", "bad-3", "d1")
PICTURE = "left, prediction, truth, error"


def error_sums(prediction: Float[Tensor, "1 1 h w"], pair: StereoBatch) -> Float[Tensor, " 5"]:
    """Sums over the valid pixels of |e|, e > 1 px, e > 3 px, D1 (e > 3 px and > 5 %), and their number."""
    error = (prediction - pair.disparity).abs()[pair.valid].double()
    truth = pair.disparity[pair.valid].double()
    d1 = (error > 3) & (error > 0.05 * truth)
    bad = [100 * (error > threshold).sum() for threshold in (1, 3)]
    counts = [error.sum(), *bad, 100 * d1.sum(), torch.tensor(error.numel())]
    return torch.stack([count.double().cpu() for count in counts])


def picture(batch: StereoBatch, prediction: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "3 h2 w2"]:
    return comparison(batch.left[0], prediction[0].float(), batch.disparity[0], batch.valid[0])


def comparison(
    left: Float[Tensor, "3 h w"],
    prediction: Float[Tensor, "1 h w"],
    truth: Float[Tensor, "1 h w"],
    valid: Bool[Tensor, "1 h w"],
) -> Float[Tensor, "3 h2 w2"]:
    """Four pictures in one: left and prediction above, truth and error below, both disparities in the same colours."""
    known = valid[0].cpu().numpy()
    predicted, true = prediction[0].cpu().numpy(), truth[0].cpu().numpy()
    top = max(float(true[known].max()) if known.any() else float(predicted.max()), 1.0)
    above = [(left * 255).byte().permute(1, 2, 0).cpu().numpy(), color_disparity(predicted, max_disparity=top)]
    below = [color_disparity(true, known, top), color_error(predicted - true, known)]
    picture = np.concatenate([np.concatenate(above, 1), np.concatenate(below, 1)], 0)
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255
