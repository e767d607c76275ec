"""Measuring the averaged weights on fixed samples while training goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from leadline.data.batch import Batch
from leadline.data.loading import scene_config
from leadline.data.tasks import data_of
from leadline.errors import UserError
from leadline.models import Network, Task
from leadline.training.callbacks import EachStep, Journal
from leadline.training.module import Training
from leadline.training.recipe import Recipe
from leadline.training.tasks import training_of


class Pairs:
    """The samples of a validation: "procedural:COUNT,seed=N,size=HxW", or FORMAT:PATH of a data set.

    Procedural ones are rendered once and kept.

    Raises:
        UserError: a text that is neither, or the seed that training itself uses.
    """

    def __init__(self, recipe: Recipe, task: Task):
        assert recipe.validate_ is not None
        self.task = task
        self.spec, self.limit = recipe.validate_.data, recipe.validate_.limit
        self.scenes = next((source.scenes for source in recipe.data if source.source == "procedural"), {})
        self._kept: list[Batch] | None = None
        self.procedural = self.spec.split(":")[0] == "procedural"
        if self.procedural:
            self.count, self.seed, self.size = parse_procedural(self.spec)
            if self.seed == recipe.seed and any(source.source == "procedural" for source in recipe.data):
                raise UserError(f"validate.data: seed {self.seed} is the one trained on: take another")
        else:
            from leadline.data import open_data

            self._data = open_data(self.spec, task)

    def __len__(self) -> int:
        count = self.count if self.procedural else len(self._data)
        return count if self.limit is None else min(count, self.limit)

    def part(self, rank: int, ranks: int) -> Iterator[Batch]:
        """Every `ranks`-th pair, beginning with number `rank`, each as a batch of one."""
        numbers = range(rank, len(self), ranks)
        if not self.procedural:
            for number in numbers:
                yield data_of(self.task).from_sample(self._data[number])
            return
        if self._kept is None:
            config, render = scene_config(self.scenes, self.task), data_of(self.task).render
            self._kept = [render(self.seed, [number], self.size, config, "cpu") for number in numbers]
        yield from self._kept


def parse_procedural(spec: str) -> tuple[int, int, tuple[int, int]]:
    """ "procedural:40,seed=9,size=256x512" -> (40, 9, (256, 512)); seed and size may be left out."""
    match = re.fullmatch(r"procedural:(\d+)(?:,seed=(\d+))?(?:,size=(\d+)x(\d+))?", spec)
    if match is None or int(match[1]) == 0:
        raise UserError(f"validate.data: {spec!r} is not of the form procedural:COUNT,seed=N,size=HEIGHTxWIDTH")
    size = (int(match[3]), int(match[4])) if match[3] else (256, 512)
    return int(match[1]), int(match[2] or 1000003), size


class Validation(EachStep):
    """Every so many steps: the errors of the averaged weights, as `leadline.training.tasks` has them."""

    def __init__(self, pairs: Pairs, every: int, writer: Any, journal: Journal):
        super().__init__()
        self.pairs, self.every, self.writer, self.journal = pairs, every, writer, journal
        self.last: dict[str, float] = {}

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if step % self.every and step < trainer.max_steps:
            return
        task = training_of(self.pairs.task)
        sums = torch.zeros(len(task.ERRORS) + 1, dtype=torch.float64)
        network = module.trained
        training = network.training
        network.eval()
        for pair in self.pairs.part(trainer.global_rank, trainer.world_size):
            pair = pair.to(module.device)
            sums += task.error_sums(predict(network, pair), pair)
        network.train(training)
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums.to(module.device), reduce_op="sum").cpu()
        self.last = {name: float(sums[i] / sums[-1].clamp(min=1)) for i, name in enumerate(task.ERRORS)}
        if module.plateau is not None:
            module.plateau.step(self.last[task.ERRORS[0]])
        if trainer.is_global_zero:
            for name, value in self.last.items():
                self.writer.add_scalar(f"validate/{name}", value, step)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in self.last.items())
            self.journal.tell(f"step {step}  averaged weights on {self.pairs.spec}:  {shown}")


@torch.no_grad()
def predict(network: Network, batch: Batch) -> Float[Tensor, "1 c h w"]:
    """The prediction for an item of any size: the border is repeated up to a size that the network takes."""
    height, width = batch.valid.shape[-2:]
    padded = network.padded_size(height, width)
    border = (0, padded[1] - width, 0, padded[0] - height)
    images = [
        functional.pad(image, border, mode="replicate").contiguous(memory_format=torch.channels_last)
        for image in batch.images
    ]
    images += batch.inputs(network.takes_time)[len(images) :]  # a time has no border
    return network(*images)[..., :height, :width].float()
