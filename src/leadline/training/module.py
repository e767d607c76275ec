"""The Lightning module: one step of training, and the average of the weights."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from leadline.data.batch import Batch, MonoBatch
from leadline.data.loading import generator_for
from leadline.errors import UserError, unknown_name
from leadline.models import Network, Task
from leadline.models.network import channels_last
from leadline.training.adversarial import Adversary
from leadline.training.dilated_bf16 import keep_channels_first
from leadline.training.distill import Distillation, Sees
from leadline.training.distill.layers import recording
from leadline.training.losses import Kind, Outputs, TotalLoss
from leadline.training.optimizers import make_optimizer
from leadline.training.recipe import Recipe
from leadline.training.schedules import make_plateau, make_schedule
from leadline.training.slimming import check_slimming, slimming_penalty


class Training(lightning.LightningModule):
    """A network, its moving average, its loss and its optimizer.

    Args:
        network: what is trained.
        recipe: how.
        distillation: what the recipe's teacher adds to the loss.

    Raises:
        UserError: losses, optimizer or schedule that the recipe names wrongly, or that do not suit the network.
    """

    def __init__(self, network: Network, recipe: Recipe, distillation: Distillation | None = None):
        super().__init__()
        self.recipe = recipe
        self.network = channels_last(network)
        if recipe.precision == "bf16":
            keep_channels_first(self.network)
        self.frozen = freeze(network, recipe.freeze)
        # A part of this module, so that it travels to the device and into the checkpoint with it.
        self.average = copy.deepcopy(self.network).requires_grad_(False) if recipe.ema else None
        limit = getattr(network.config, "max_depth" if network.task is Task.MONO else "max_disparity", None)
        terms = [{**loss.model_dump(), **loss.options} for loss in recipe.losses]
        self.loss = TotalLoss(terms, float("inf") if limit is None else float(limit), network.task)
        if self.loss.needs(Kind.DISTRIBUTION) and not hasattr(network, "forward_scores"):
            raise UserError(f"{network.name} gives no scores for a loss on their distribution: use one on disparities")
        self.adversary = None if recipe.adversarial is None else Adversary(recipe.adversarial, network.task)
        self.adversary_state: dict[str, Any] | None = None
        self.distillation = distillation
        if recipe.slimming:
            check_slimming(network, network.name)
        self.plateau: ReduceLROnPlateau | None = None
        self.plateau_state: dict[str, Any] | None = None
        # What the callbacks write about a step; tensors, read only when they are written.
        self.shares: dict[str, Tensor] = {}
        self.gradient_norm: Tensor | None = None
        self.last: tuple[Batch, Tensor] | None = None
        self.bad_step: Tensor
        self.register_buffer("bad_step", torch.tensor(math.inf), persistent=False)

    @property
    def trained(self) -> Network:
        """The network whose weights a run is for: the average where there is one."""
        return self.network if self.average is None else self.average

    @property
    def fitted(self) -> nn.Module:
        """What the optimizer moves: the network, and the adapters of a distillation."""
        if self.distillation is None or not len(self.distillation.adapters):
            return self.network
        return nn.ModuleList([self.network, self.distillation.adapters])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        for module in self.frozen:
            module.eval()  # BatchNorm's statistics stay, too
        # So that dropout, too, is the same after a resume.
        torch.manual_seed(generator_for(self.recipe.seed, "step", self.batch_number, self.global_rank).initial_seed())

    @property
    def batch_number(self) -> int:
        return self.trainer.fit_loop.epoch_loop.total_batch_idx

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        if self.distillation is None:
            outputs = run_network(self.network, self.loss, batch)
            total, shares = self.loss(outputs, batch)
        else:
            with recording(self.network, self.distillation.student_layers) as layers:
                outputs = run_network(self.network, self.loss, batch, self.distillation.needs(Sees.SCORES))
            total, shares = self.loss(outputs, batch)
            taught, more = self.distillation(outputs, layers, batch)
            total, shares = total + taught, {**shares, **more}
        if self.recipe.slimming:
            penalty = self.recipe.slimming * slimming_penalty(self.network)
            total, shares = total + penalty, {**shares, "slimming": penalty.detach()}
        prediction = outputs.predictions[-1]
        if self.adversary is not None and self.adversary.begins(self.global_step):
            shares |= self.adversary.learn(prediction, batch, self.global_step)
            term, more = self.adversary.term(prediction, batch, total, self.global_step)
            total, shares = total + term, shares | more
        value = total.detach()
        self.shares = {"loss": value, **shares}
        self.last = batch, prediction.detach()
        self._remember_bad(value)
        return total

    def _remember_bad(self, value: Tensor) -> None:
        """Keeps the first step whose loss or gradient is not finite, on the device: reading it would stall a GPU."""
        step = torch.full_like(self.bad_step, float(self.global_step + 1))
        self.bad_step.copy_(torch.where(torch.isfinite(value), self.bad_step, torch.minimum(self.bad_step, step)))

    def configure_gradient_clipping(self, optimizer: Any, *unused: Any, **also_unused: Any) -> None:
        parameters = [p for p in self.fitted.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.clip or math.inf)
        self.gradient_norm = norm.detach()
        if self.recipe.precision != "16":  # there the scaler meets infinite gradients now and then, and skips them
            self._remember_bad(self.gradient_norm)

    def update_average(self) -> None:
        """average <- d average + (1 - d) network, for BatchNorm's statistics too.

        d rises to the recipe's decay, as in TensorFlow's ExponentialMovingAverage, so that the random weights of the
        beginning are forgotten soon.
        """
        if self.average is None:
            return
        decay = min(self.recipe.ema, (1 + self.global_step) / (10 + self.global_step))
        averaged, current = [], []
        for old, new in zip(tensors_of(self.average), tensors_of(self.network), strict=True):
            if old.is_floating_point():
                averaged.append(old)
                current.append(new)
            else:
                old.copy_(new)
        torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(averaged, current, self.global_step)

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        optimizer = make_optimizer(self.fitted, recipe.optimizer.name, **recipe.optimizer.options)
        schedule = recipe.schedule
        if schedule.name == "plateau":
            self.plateau = make_plateau(optimizer, **schedule.options)
            return make_schedule_config(optimizer, "constant", recipe.total_steps, schedule.warmup, {})
        return make_schedule_config(optimizer, schedule.name, recipe.total_steps, schedule.warmup, schedule.options)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.plateau is not None:
            checkpoint["plateau"] = self.plateau.state_dict()
        if self.adversary is not None:
            checkpoint["adversary"] = self.adversary.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.plateau_state = checkpoint.get("plateau")
        self.adversary_state = checkpoint.get("adversary")

    def on_train_start(self) -> None:
        if self.plateau is not None and self.plateau_state is not None:
            self.plateau.load_state_dict(self.plateau_state)
        if self.adversary is not None and self.adversary_state is not None:
            self.adversary.take_up(self.adversary_state)


def tensors_of(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once, detached."""
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]


def freeze(network: Network, patterns: list[str]) -> list[nn.Module]:
    """Takes modules, and the network's own parameters, out of training; returns the modules.

    Raises:
        UserError: a pattern that no name matches, or nothing left to train.
    """
    parts: dict[str, Any] = {name: module for name, module in network.named_modules() if name}
    parts |= dict(network.named_parameters(recurse=False))
    found = []
    for pattern in patterns:
        matching = [part for name, part in parts.items() if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            raise unknown_name(f"freeze: module of {network.name}", pattern, list(parts))
        found += matching
    for part in found:
        part.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError("freeze: leaves nothing to train: name fewer modules")
    return [part for part in found if isinstance(part, nn.Module)]


def make_schedule_config(optimizer: Any, name: str, total: int, warmup: int, options: dict[str, Any]) -> dict[str, Any]:
    """Lightning's form of an optimizer and a schedule that moves with each step."""
    scheduler = make_schedule(optimizer, name, total, warmup, **options)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def run_network(network: Network, loss: TotalLoss, batch: Batch, scores: bool = False) -> Outputs:
    """What the losses (and, with `scores`, a distillation) need of a network, and no more."""
    images = [image.contiguous(memory_format=torch.channels_last) for image in batch.inputs(network.takes_time)]
    if scores or loss.needs(Kind.DISTRIBUTION):
        predictions, planes, spacing = network.forward_scores(*images)  # type: ignore[operator]
        outputs = Outputs(list(predictions), planes, float(spacing))
    elif hasattr(network, "forward_supervised"):  # it has a part that sees the truth, such as a teacher of its own
        if isinstance(batch, MonoBatch) and getattr(network, "memory", None) is not None:
            images = batch.video
        predictions, own = network.forward_supervised(images, batch.truth)  # type: ignore[operator]
        flows = own.pop("flows", None)
        outputs = Outputs(list(predictions), flows=flows, own=own)
    else:
        outputs = Outputs(network.forward_all(*images))
    if loss.needs(Kind.BOTH_VIEWS) or loss.needs(Kind.BOTH_WITH_IMAGES):
        outputs.right = _other_view(network, images)
    if loss.needs(Kind.FRAMES) and isinstance(batch, MonoBatch):
        outputs.poses = motions(network, batch)
    return outputs


def _other_view(network: Network, images: Sequence[Tensor]) -> Float[Tensor, "b c h w"]:
    """The disparity of the right view, or the flow from the second frame to the first."""
    if network.task is Task.FLOW:
        return network.forward_all(images[1], images[0])[-1]
    # Seen in a mirror, the right view is the left one of a pair.
    return network.forward_all(images[1].flip(3), images[0].flip(3))[-1].flip(3)


def motions(network: Network, batch: MonoBatch) -> Float[Tensor, "b n 4 4"]:
    """From the image's camera to each frame's: as the batch has them, unknown ones by the network's pose network."""
    pose = getattr(network, "pose", None)
    unknown = torch.isnan(batch.poses).any(3, keepdim=True).any(2, keepdim=True)
    if pose is None or not bool((unknown.flatten(2)[..., 0] & batch.present).any()):
        return batch.poses
    found = torch.stack([pose(batch.image, batch.frames[:, i]) for i in range(batch.frames.shape[1])], 1)
    return torch.where(unknown, found, batch.poses.nan_to_num())
