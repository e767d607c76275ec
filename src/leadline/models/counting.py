"""What a network has to be for PyTorch's counter of operations."""

import copy

from leadline.models.network import Network


def countable(network: Network) -> Network:
    """A copy in eval mode and without gradients: the counter stumbles over modules that are called with a parameter."""
    return copy.deepcopy(network).requires_grad_(False).eval()
