"""Counting a network's multiply-accumulates with PyTorch's counter of operations."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from leadline.models.network import Network
from leadline.nn.forms import few_operations


def countable(network: Network) -> Network:
    """A copy in eval mode and without gradients: the counter stumbles over modules that are called with a parameter."""
    return copy.deepcopy(network).requires_grad_(False).eval()


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """The counter over what runs within. Of a function that has a faster form with more arithmetic, the plain one runs.

    Its operations are two per multiply-accumulate.
    """
    with few_operations(), FlopCounterMode(display=False) as counter, torch.inference_mode():
        yield counter
