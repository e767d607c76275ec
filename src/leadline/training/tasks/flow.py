"""Flow while it is trained: end-point error, px, and share of outliers, %."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leadline.colors import color_error, color_flow
from leadline.data.batch import FlowBatch

ERRORS = ("epe", "fl")
PICTURE = "frame 0, prediction, truth, error"


def error_sums(prediction: Float[Tensor, "1 2 h w"], pair: FlowBatch) -> Float[Tensor, " 3"]:
    """Sums over the valid pixels of the end-point error and Fl (> 3 px and > 5 % of the motion), and their number."""
    valid = pair.valid[:, 0]
    error = (prediction - pair.flow).norm(dim=1)[valid].double()
    motion = pair.flow.norm(dim=1)[valid].double()
    outlier = (error > 3) & (error > 0.05 * motion)
    counts = [error.sum(), 100 * outlier.sum(), torch.tensor(error.numel())]
    return torch.stack([count.double().cpu() for count in counts])


def picture(batch: FlowBatch, prediction: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "3 h2 w2"]:
    """Four pictures in one: frame 0 and prediction above, truth and error below, both flows in the same colours."""
    known = batch.valid[0, 0].cpu().numpy()
    predicted, true = (flow[0].float().permute(1, 2, 0).cpu().numpy() for flow in (prediction, batch.flow))
    top = max(float(np.linalg.norm(true, axis=2)[known].max(initial=0)), 1.0)
    above = [(batch.frame0[0] * 255).byte().permute(1, 2, 0).cpu().numpy(), color_flow(predicted, max_motion=top)]
    below = [color_flow(true, known, top), color_error(np.linalg.norm(predicted - true, axis=2), known)]
    joined = np.concatenate([np.concatenate(above, 1), np.concatenate(below, 1)], 0)
    return torch.from_numpy(joined).permute(2, 0, 1).float() / 255
