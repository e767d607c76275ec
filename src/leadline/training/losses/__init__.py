"""Losses by name; importing this package registers all of them."""

from leadline.training.losses import (
    depth,
    distribution,
    frames,
    reprojection,
    self_supervised,
    self_supervised_flow,
    supervised,
)
from leadline.training.losses.registry import Kind, make_loss, names
from leadline.training.losses.total import Outputs, TotalLoss

__all__ = [
    "Kind",
    "Outputs",
    "TotalLoss",
    "depth",
    "distribution",
    "frames",
    "make_loss",
    "names",
    "reprojection",
    "self_supervised",
    "self_supervised_flow",
    "supervised",
]
