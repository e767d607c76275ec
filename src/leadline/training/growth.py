"""Masks of a pruned network that grow while it is trained."""

from __future__ import annotations

import lightning
from torch import nn

from leadline.errors import UserError
from leadline.surgeries.prune_choice import cubic, grow
from leadline.surgeries.prune_mask import masked_layers
from leadline.training.callbacks import EachStep
from leadline.training.module import Training
from leadline.training.recipe import Sparsify


class Growth(EachStep):
    """Masks more and more of the network that is trained; comes before `Average`.

    The masks are buffers, so that a run that goes on after an interruption has them.
    """

    def __init__(self, plan: Sparsify, steps: int):
        super().__init__()
        self.plan, self.last = plan, max(1, round(plan.until * steps))

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if step > self.last or (step % self.plan.every and step != self.last):
            return
        amount = cubic(step, 0, self.last, self.plan.amount)
        grow(module.network, amount, self.plan.criterion, self.plan.scope)


def check_growth(network: nn.Module, name: str) -> None:
    """Raises UserError where there is no mask that could grow."""
    if not masked_layers(network):
        raise UserError(
            f"sparsify: {name} has no masks that could grow: `leadline compress prune MODEL --granularity weight "
            "--schedule cubic --finetune RECIPE` makes them and sets this key"
        )
