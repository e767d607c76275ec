"""What TensorBoard shows of a run."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leadline.colors import color_disparity, color_error
from leadline.training.callbacks import EachStep
from leadline.training.module import Training
from leadline.training.recipe import Log


class Board(EachStep):
    """Writes losses, learning rate, gradient norm and pairs seen; pictures and histograms now and then."""

    def __init__(self, log: Log, writer: Any):
        super().__init__()
        self.log_, self.writer = log, writer

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if not trainer.is_global_zero:
            return
        if step % self.log_.every == 0:
            for name, value in module.shares.items():
                self.writer.add_scalar(f"train/{name}", float(value), step)
            if module.gradient_norm is not None:
                self.writer.add_scalar("train/gradient_norm", float(module.gradient_norm), step)
            for group, rate in enumerate(_rates(trainer)):
                self.writer.add_scalar(f"train/learning_rate{group or ''}", rate, step)
        if self.log_.images_every and step % self.log_.images_every == 0:
            self._pictures(module, step)
        if self.log_.histograms_every and step % self.log_.histograms_every == 0:
            self._histograms(module, step)

    def _pictures(self, module: Training, step: int) -> None:
        if module.last is None:
            return
        batch, prediction = module.last
        picture = comparison(batch.left[0], prediction[0].float(), batch.disparity[0], batch.valid[0])
        self.writer.add_image("train/left, prediction, truth, error", picture, step)

    def _histograms(self, module: Training, step: int) -> None:
        for name, parameter in module.network.named_parameters():
            self.writer.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), step)
        if module.last is not None:
            batch, prediction = module.last
            self.writer.add_histogram("disparity/prediction", prediction.float().cpu(), step)
            self.writer.add_histogram("disparity/truth", batch.disparity[batch.valid].cpu(), step)


def _rates(trainer: lightning.Trainer) -> list[float]:
    """The learning rates of the optimizer's groups, one value where they are all the same."""
    rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
    return rates[:1] if len(set(rates)) == 1 else rates


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
