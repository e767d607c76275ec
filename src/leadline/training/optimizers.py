"""Optimizers by name: every one of torch.optim, with weight decay where it belongs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from leadline.errors import UserError, unknown_name
from leadline.training.options import check_against_defaults

CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "adadelta": torch.optim.Adadelta,
    "adafactor": torch.optim.Adafactor,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "asgd": torch.optim.ASGD,
    "lbfgs": torch.optim.LBFGS,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "rprop": torch.optim.Rprop,
    "sgd": torch.optim.SGD,
}
NAMES = sorted([*CLASSES, "muon"])
REFUSED = {"sparseadam": "it needs sparse gradients, and convolutions give dense ones: use adam"}


def make_optimizer(network: nn.Module, name: str, **options: Any) -> torch.optim.Optimizer:
    """An optimizer over the trainable parameters of a network.

    Weight decay acts on weights of two and more dimensions alone: biases and BatchNorm's parameters have none.
    `lbfgs` knows a single group and no weight decay, and brings the weights into plain memory order, which it needs.
    `muon` orthogonalises the updates of the dense weights and leaves the rest to AdamW; see `Muon`.

    Args:
        network: its parameters with `requires_grad` are trained.
        name: one of `NAMES`, any case.
        options: arguments of the torch.optim class: lr, weight_decay, betas, momentum, nesterov...

    Raises:
        UserError: unknown or unsuitable name, unknown option, or a value that the optimizer refuses.
    """
    key = name.lower()
    if key in REFUSED:
        raise UserError(f"optimizer {name!r} cannot train these networks: {REFUSED[key]}")
    if key not in NAMES:
        raise unknown_name("optimizer", name, NAMES)
    make: Any = Muon if key == "muon" else CLASSES[key]
    known = [option for option in inspect.signature(make).parameters if option not in ("params", "network")]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of optimizer {name}", option, known)
    options = check_against_defaults(f"optimizer {name}", make, options)
    try:
        if key == "muon":
            return make(network, **options)
        if key == "lbfgs":
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            return make([p for p in network.parameters() if p.requires_grad], **options)
        return make(decay_groups(network, key), **options)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"optimizer {name}: {error}") from error


def decay_groups(network: nn.Module, name: str) -> list[dict[str, Any]]:
    """The weights, which decay, and the biases and BatchNorm parameters, which do not."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": [p for p in trained if p.ndim > 1]}]
    plain: dict[str, Any] = {"params": [p for p in trained if p.ndim <= 1]}
    if name != "rprop":  # the one that has no weight decay
        plain["weight_decay"] = 0.0
    if name == "asgd":
        plain["lambd"] = 0.0  # a decay by another name
    return [group for group in [*groups, plain] if group["params"]]


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon for the dense weights, AdamW for biases, norms and depthwise convolutions.

    Muon (K. Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024) replaces the momentum of a
    matrix by the nearest orthogonal one. A convolution's weight (o, i, kh, kw) counts as the matrix (o, i·kh·kw), as
    the author proposes; a depthwise one, whose rows see different inputs, is no matrix and goes to AdamW.

    Args:
        network: what is trained.
        lr: of Muon, with the update scaled to AdamW's size ("match_rms_adamw"), so that one rate serves both.
        weight_decay: of the weights; biases and norms have none.
        momentum, nesterov: of Muon.
        betas, eps: of AdamW.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        depthwise = {
            id(module.weight)
            for module in network.modules()
            if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1
        }
        trained = [p for p in network.parameters() if p.requires_grad]
        self.dense = [p for p in trained if p.ndim > 1 and id(p) not in depthwise]
        rest = [p for p in trained if p.ndim <= 1 or id(p) in depthwise]
        self.matrices = [nn.Parameter(as_matrix(p.data)) for p in self.dense]
        self.parts: list[torch.optim.Optimizer] = []
        if self.matrices:
            self.parts.append(
                torch.optim.Muon(self.matrices, lr, weight_decay, momentum, nesterov, adjust_lr_fn="match_rms_adamw")
            )
        if rest:
            groups = [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
                {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
            ]
            self.parts.append(torch.optim.AdamW([g for g in groups if g["params"]], lr, betas, eps))
        super().__init__([{"params": self.dense + rest}], {"lr": lr})
        # The groups of the parts, so that a schedule reaches every learning rate.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter, matrix in zip(self.dense, self.matrices, strict=True):
            matrix.grad = None if parameter.grad is None else as_matrix(parameter.grad, like=parameter)
        for part in self.parts:
            part.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for parameter in self.dense:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def as_matrix(weight: Tensor, like: Tensor | None = None) -> Tensor:
    """A weight as a matrix of its output channels.

    A view where the memory allows it: a channels-last weight is ordered (kh, kw, i), and the order of the columns does
    not matter for an orthogonalisation. `like` gives the order where another tensor's is to be followed.
    """
    order = weight if like is None else like
    if order.ndim == 4 and not order.is_contiguous():
        return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)
    return weight.reshape(weight.shape[0], -1)
