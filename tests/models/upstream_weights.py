"""Weights that depend on a parameter's name and shape alone, as the parity fixtures were made with."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import torch
from shared import shared_parity
from torch import Tensor, nn


def rule():
    """The module that holds the rule; the test is skipped where it is absent."""
    spec = importlib.util.spec_from_file_location("weights_rule", shared_parity("weights_rule.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def state_dict(original: str) -> dict[str, Tensor]:
    """All parameters of an original network, e.g. "MSNet2D", by its names."""
    params = json.loads(shared_parity(f"{original}_params.json").read_text())
    return {key: torch.from_numpy(value) for key, value in rule().state_dict(params).items()}


def fill(block: nn.Module, prefix: str) -> nn.Module:
    """A single block with the rule's weights, in eval mode."""
    tensor = rule().tensor
    weights = {key: tensor(f"{prefix}.{key}", value.shape) for key, value in block.state_dict().items()}
    block.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in weights.items()})
    return block.eval()
