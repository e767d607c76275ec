"""What TensorBoard shows of a run."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import lightning

from leadline.training.callbacks import EachStep
from leadline.training.module import Training
from leadline.training.recipe import Log
from leadline.training.tasks import training_of

# TensorBoard's own switch for its stub in place of TensorFlow, which where installed takes seconds and memory to import
# and writes its warnings between the run's lines. Nothing written here needs it.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


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
            if module.distillation is not None:
                for name, value in module.distillation.told.items():
                    if bool(value.isfinite()):
                        self.writer.add_scalar(f"distill/{name}", float(value), step)
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
        task = training_of(module.network.task)
        self.writer.add_image(f"train/{task.PICTURE}", task.picture(batch, prediction), step)
        if module.distillation is not None and module.distillation.last is not None:
            teacher, trust = module.distillation.last
            taught = batch.with_truth(teacher, trust > 0)
            name = task.PICTURE.replace("truth", "teacher").replace("error", "difference")
            self.writer.add_image(f"distill/{name}", task.picture(taught, prediction), step)

    def _histograms(self, module: Training, step: int) -> None:
        for name, parameter in module.network.named_parameters():
            self.writer.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), step)
        if module.last is not None:
            batch, prediction = module.last
            known = batch.valid.expand_as(batch.truth)
            self.writer.add_histogram(f"{module.network.task}/prediction", prediction.float().cpu(), step)
            self.writer.add_histogram(f"{module.network.task}/truth", batch.truth[known].cpu(), step)


def _rates(trainer: lightning.Trainer) -> list[float]:
    """The learning rates of the optimizer's groups, one value where they are all the same."""
    rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
    return rates[:1] if len(set(rates)) == 1 else rates
