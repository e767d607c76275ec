"""Depth while it is trained: relative error, share of pixels within 25 %, and the error without its scale."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leadline.colors import color_depth, color_error
from leadline.data.batch import MonoBatch

ERRORS = ("abs_rel", "beyond_25_percent", "silog")
PICTURE = "image, prediction, truth, relative error (yellow: 25 % and more)"


def error_sums(prediction: Float[Tensor, "1 1 h w"], item: MonoBatch) -> Float[Tensor, " 4"]:
    """Sums over the valid pixels of |p - g| / g, of those beyond a factor of 1.25, %, of 100 × the image's standard
    deviation of ln p - ln g; and their number."""
    p = prediction[item.valid].double().clamp(min=1e-6)
    g = item.depth[item.valid].double()
    ratio = p.log() - g.log()
    count = torch.tensor(float(p.numel()), dtype=torch.float64)
    beyond = 100 * (torch.maximum(p / g, g / p) >= 1.25).sum()
    spread = 100 * ratio.std(unbiased=False) * p.numel() if p.numel() else torch.zeros(())
    sums = [((p - g).abs() / g).sum(), beyond, spread, count]
    return torch.stack([value.double().cpu() for value in sums])


def picture(batch: MonoBatch, prediction: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "3 h2 w2"]:
    """Four pictures in one: image and prediction above, truth and error below, both depths in the same colours."""
    known = batch.valid[0, 0].cpu().numpy()
    predicted, true = prediction[0, 0].float().cpu().numpy(), batch.depth[0, 0].cpu().numpy()
    shown = true[known] if known.any() else predicted.ravel()
    near, far = (float(np.percentile(shown, percent)) for percent in (2, 98))
    error = np.where(known, np.abs(predicted - true) / np.maximum(true, 1e-6), 0)
    above = [(batch.image[0] * 255).byte().permute(1, 2, 0).cpu().numpy(), color_depth(predicted, None, near, far)]
    below = [color_depth(true, known, near, far), color_error(error, known, 0.25)]
    joined = np.concatenate([np.concatenate(above, 1), np.concatenate(below, 1)], 0)
    return torch.from_numpy(joined).permute(2, 0, 1).float() / 255
