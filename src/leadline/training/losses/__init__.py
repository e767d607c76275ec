"""Losses by name; importing this package registers all of them."""

from leadline.training.losses import distribution, self_supervised, supervised
from leadline.training.losses.registry import Kind, make_loss, names
from leadline.training.losses.total import Outputs, TotalLoss

__all__ = [
    "Kind",
    "Outputs",
    "TotalLoss",
    "distribution",
    "make_loss",
    "names",
    "self_supervised",
    "supervised",
]
