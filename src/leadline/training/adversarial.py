"""Adversarial training: a discriminator that learns, beside the network, to tell predictions from truth.

The network goes on to be trained as ever, with one more term in its loss. The discriminator takes its own step inside
each of the network's, with its own optimizer, on the predictions as they are; what belongs to it is kept in
`last.ckpt`, so that a run goes on as if it had not been interrupted.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn

from leadline.data.batch import Batch
from leadline.models.network import Task
from leadline.nn.gan_losses import discriminator_loss, generator_loss, gradient_penalty
from leadline.nn.patch_discriminator import PatchDiscriminator
from leadline.training.recipe import Adversarial

CHANNELS = {Task.STEREO: 1, Task.FLOW: 2, Task.INTERPOLATION: 3, Task.MONO: 1}
IMAGES = {Task.STEREO: 2, Task.FLOW: 2, Task.INTERPOLATION: 2, Task.MONO: 1}
PIXELS = 32.0  # px of displacement that a discriminator sees as 1


class Adversary(nn.Module):
    """A discriminator, its optimizer and the two losses.

    Args:
        options: block `adversarial` of a recipe.
        task: the network's. What the discriminator sees of it: frames as they are, displacements over PIXELS, depth
            as its logarithm.
    """

    def __init__(self, options: Adversarial, task: Task):
        super().__init__()
        self.options, self.task = options, task
        seen = CHANNELS[task] + (3 * IMAGES[task] if options.condition else 0)
        self.discriminator = PatchDiscriminator(seen, options.width, options.halvings, options.spectral)
        # The network's optimizer, clipping and synchronisation must not see these weights.
        self.discriminator.requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), options.lr, betas=(0.5, 0.99))

    def begins(self, step: int) -> bool:
        """Whether there is anything to do at an optimizer step of the network, counted from 0."""
        return step >= self.options.start

    def learn(self, prediction: Float[Tensor, "b c h w"], batch: Batch, step: int) -> dict[str, Tensor]:
        """One step of the discriminator, unless it is resting; what it makes of both, for the board."""
        fake, real = self._pair(prediction.detach(), batch)
        options, shares = self.options, {}
        with torch.autocast(fake.device.type, enabled=False), torch.enable_grad():
            self.discriminator.requires_grad_(True)
            judged_real, judged_fake = self.discriminator(real), self.discriminator(fake)
            loss = discriminator_loss(options.loss, judged_real, judged_fake)
            if options.penalty:
                loss = loss + options.penalty * gradient_penalty(self.discriminator, real, fake)
            right = ((judged_real > self._between).float().mean() + (judged_fake < self._between).float().mean()) / 2
            shares = {"discriminator": loss.detach(), "discriminator_right": right.detach()}
            # One that is nearly always right teaches the network nothing, and one far ahead is not caught up with.
            if step % options.every == 0 and not (options.rest is not None and float(right) > options.rest):
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self._share_gradients()
                self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.discriminator.requires_grad_(False)
        return shares

    @property
    def _between(self) -> float:
        """The logit halfway between fake and real."""
        return 0.5 if self.options.loss == "least_squares" else 0.0

    def term(
        self, prediction: Float[Tensor, "b c h w"], batch: Batch, supervised: Float[Tensor, ""], step: int
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """What is added to the network's loss, and its shares.

        With `balance` the term is scaled so that its gradient at the prediction is `weight` times as long as that of
        the supervised loss, whatever the units of both; after P. Esser et al., "Taming Transformers for
        High-Resolution Image Synthesis" (VQGAN), CVPR 2021. `warmup` lets the weight rise from 0.
        """
        options = self.options
        with torch.autocast(prediction.device.type, enabled=False):
            fake, _ = self._pair(prediction, batch)
            value = generator_loss(options.loss, self.discriminator(fake))
        weight = options.weight * min(1.0, (step - options.start + 1) / max(options.warmup, 1))
        scale = value.new_tensor(weight)
        if options.balance:
            (theirs,) = torch.autograd.grad(supervised, prediction, retain_graph=True)
            (ours,) = torch.autograd.grad(value, prediction, retain_graph=True)
            scale = weight * (theirs.norm() / ours.norm().clamp(min=1e-12)).clamp(max=1e4)
        term = scale.detach() * value
        return term, {"adversarial": term.detach(), "adversarial_scale": scale.detach()}

    def _pair(self, prediction: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Prediction and truth as the discriminator sees them; where there is no truth they are alike."""
        prediction = prediction.float()
        real = torch.where(batch.valid, batch.truth, prediction.detach())
        seen = [self._scaled(prediction), self._scaled(real)]
        if self.options.condition:
            seen = [torch.cat([values, *batch.images], 1) for values in seen]
        return seen[0], seen[1]

    def _scaled(self, values: Tensor) -> Tensor:
        if self.task in (Task.STEREO, Task.FLOW):
            return values / PIXELS
        return torch.log(values.clamp(min=1e-3)) if self.task is Task.MONO else values

    def _share_gradients(self) -> None:
        """The mean over the processes that train together."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        for parameter in self.discriminator.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= torch.distributed.get_world_size()

    def state(self) -> dict[str, Any]:
        """What is not in the module's own state dict: the optimizer's."""
        return self.optimizer.state_dict()

    def take_up(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
