"""Measuring the averaged weights on fixed pairs while training goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from leadline.data.batch import StereoBatch
from leadline.data.loading import from_sample, scene_config
from leadline.errors import UserError
from leadline.models import Network
from leadline.training.callbacks import EachStep, Journal
from leadline.training.module import Training
from leadline.training.recipe import Recipe


class Pairs:
    """The pairs of a validation: "procedural:COUNT,seed=N,size=HxW", or FORMAT:PATH of a data set.

    Procedural pairs are rendered once and kept.

    Raises:
        UserError: a text that is neither, or the seed that training itself uses.
    """

    def __init__(self, recipe: Recipe):
        assert recipe.validate_ is not None
        self.spec, self.limit = recipe.validate_.data, recipe.validate_.limit
        self.scenes = next((source.scenes for source in recipe.data if source.source == "procedural"), {})
        self._kept: list[StereoBatch] | None = None
        self.procedural = self.spec.split(":")[0] == "procedural"
        if self.procedural:
            self.count, self.seed, self.size = parse_procedural(self.spec)
            if self.seed == recipe.seed and any(source.source == "procedural" for source in recipe.data):
                raise UserError(f"validate.data: seed {self.seed} is the one trained on: take another")
        else:
            from leadline.data import open_data

            self._data = open_data(self.spec)

    def __len__(self) -> int:
        count = self.count if self.procedural else len(self._data)
        return count if self.limit is None else min(count, self.limit)

    def part(self, rank: int, ranks: int) -> Iterator[StereoBatch]:
        """Every `ranks`-th pair, beginning with number `rank`, each as a batch of one."""
        numbers = range(rank, len(self), ranks)
        if not self.procedural:
            for number in numbers:
                yield from_sample(self._data[number])
            return
        if self._kept is None:
            from leadline.data.procedural import render_stereo

            config = scene_config(self.scenes)
            self._kept = [render_stereo(self.seed, [number], self.size, config) for number in numbers]
        yield from self._kept


def parse_procedural(spec: str) -> tuple[int, int, tuple[int, int]]:
    """ "procedural:40,seed=9,size=256x512" -> (40, 9, (256, 512)); seed and size may be left out."""
    match = re.fullmatch(r"procedural:(\d+)(?:,seed=(\d+))?(?:,size=(\d+)x(\d+))?", spec)
    if match is None or int(match[1]) == 0:
        raise UserError(f"validate.data: {spec!r} is not of the form procedural:COUNT,seed=N,size=HEIGHTxWIDTH")
    size = (int(match[3]), int(match[4])) if match[3] else (256, 512)
    return int(match[1]), int(match[2] or 1000003), size


class Validation(EachStep):
    """Every so many steps: end-point error and bad-pixel rates of the averaged weights."""

    def __init__(self, pairs: Pairs, every: int, writer: Any, journal: Journal):
        super().__init__()
        self.pairs, self.every, self.writer, self.journal = pairs, every, writer, journal
        self.last: dict[str, float] = {}

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if step % self.every and step < trainer.max_steps:
            return
        sums = torch.zeros(5, dtype=torch.float64)
        network = module.trained
        training = network.training
        network.eval()
        for pair in self.pairs.part(trainer.global_rank, trainer.world_size):
            pair = pair.to(module.device)
            sums += error_sums(predict(network, pair), pair)
        network.train(training)
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums.to(module.device), reduce_op="sum").cpu()
        self.last = errors(sums)
        if module.plateau is not None:
            module.plateau.step(self.last["epe"])
        if trainer.is_global_zero:
            for name, value in self.last.items():
                self.writer.add_scalar(f"validate/{name}", value, step)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in self.last.items())
            self.journal.tell(f"step {step}  averaged weights on {self.pairs.spec}:  {shown}")


@torch.no_grad()
def predict(network: Network, pair: StereoBatch) -> Float[Tensor, "1 1 h w"]:
    """The disparity of a pair of any size: the border is repeated up to a size that the network takes."""
    height, width = pair.left.shape[-2:]
    padded = network.padded_size(height, width)
    border = (0, padded[1] - width, 0, padded[0] - height)
    images = [
        functional.pad(image, border, mode="replicate").contiguous(memory_format=torch.channels_last)
        for image in (pair.left, pair.right)
    ]
    return network(*images)[..., :height, :width].float()


def error_sums(prediction: Float[Tensor, "1 1 h w"], pair: StereoBatch) -> Float[Tensor, " 5"]:
    """Sums over the valid pixels of |e|, e > 1 px, e > 3 px, D1 (e > 3 px and > 5 %), and their number."""
    error = (prediction - pair.disparity).abs()[pair.valid].double()
    truth = pair.disparity[pair.valid].double()
    d1 = (error > 3) & (error > 0.05 * truth)
    counts = [error.sum(), (error > 1).sum(), (error > 3).sum(), d1.sum(), torch.tensor(error.numel())]
    return torch.stack([count.double().cpu() for count in counts])


def errors(sums: Float[Tensor, " 5"]) -> dict[str, float]:
    """From sums to the mean error, px, and the shares of bad pixels, %."""
    pixels = max(float(sums[4]), 1.0)
    names = ("epe", "bad-1", "bad-3", "d1")
    return {name: float(sums[i]) / pixels * (1 if i == 0 else 100) for i, name in enumerate(names)}
