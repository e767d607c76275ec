"""From a trained network to one whose encoder spikes, without training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models import Network, create
from leadline.nn.spiking import IntegrateAndFire
from leadline.predict.tiled import to_model_image

QUANTILE = 0.999  # of a layer's activations: its neurons' threshold


@torch.no_grad()
def to_spiking(
    network: Network, pairs: Iterable[Sequence[np.ndarray]], time_steps: int = 16, quantile: float = QUANTILE
) -> Network:
    """The network with an integrate-and-fire neuron in the place of every ReLU of its encoder.

    Each neuron's threshold is a quantile of what the ReLU gave on the pairs: what lies above is clipped, what lies
    below is told by the number of spikes in `time_steps`, so an activation is off by at most threshold / (2 T), and
    layer upon layer more. Weights stay as they are.

    Args:
        network: a plummet with its ReLUs (`neuron: relu`), trained.
        pairs: images as a camera gives them (uint8 or uint16, RGB), to find the thresholds on.
        time_steps: T; the encoder is computed T times.
        quantile: 0 .. 1.

    Returns:
        a network of the same name, with `neuron: if` in its config: it saves and loads like any other.

    Raises:
        UserError: a network without a spiking form or already spiking or compressed, or no pairs.

    Source: Rueckauer et al., "Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven Networks for
    Image Classification", Frontiers in Neuroscience 2017 (robust normalisation by a quantile).
    """
    if getattr(network.config, "neuron", None) != "relu":
        raise UserError(f"{network.name}: only a plummet with ReLUs has a spiking form (plummet-s, plummet-m)")
    if getattr(network, "surgeries", []):
        raise UserError(f"{network.name}: it is compressed already: convert the network that it was made of")
    if not 0 < quantile <= 1:
        raise UserError(f"quantile {quantile}: take one above 0, at most 1")
    encoder = network.eval().get_submodule("encoder")
    thresholds = _quantiles(network, encoder, pairs, quantile)
    spiking = create(network.name, **{**network.config_dict(), "neuron": "if", "time_steps": time_steps})
    spiking.load_state_dict(network.state_dict(), strict=False)  # thresholds are all that it has more
    for name, threshold in thresholds.items():
        neuron = spiking.get_submodule(f"encoder.{name}")
        assert isinstance(neuron, IntegrateAndFire)
        neuron.threshold.copy_(threshold)
    spiking.provenance = {
        **getattr(network, "provenance", {}),
        "spiking": {"time_steps": time_steps, "quantile": quantile},
    }
    return spiking.eval()


def _quantiles(
    network: Network, encoder: nn.Module, pairs: Iterable[Sequence[np.ndarray]], quantile: float
) -> dict[str, Tensor]:
    """The quantile of each ReLU's output, the largest over the pairs."""
    found: dict[str, Tensor] = {}

    def watch(name: str):
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            values = output.flatten()
            place = max(1, round(quantile * values.numel()))
            value = values.kthvalue(place).values.clamp(min=1e-6)
            found[name] = torch.maximum(found[name], value) if name in found else value

        return look

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        seen = 0
        for images in pairs:
            size = network.padded_size(*images[0].shape[:2])
            network(*(torch.from_numpy(to_model_image(image, size)) for image in images))
            seen += 1
    finally:
        for hook in hooks:
            hook.remove()
    if seen == 0:
        raise UserError("no pairs to find the neurons' thresholds on")
    return found
