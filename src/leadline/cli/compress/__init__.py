"""`leadline compress prune|share|quantize|distill MODEL`; each lives in the module of its name as `command`."""

from __future__ import annotations

import click

from leadline.cli.main import Table

COMPRESSIONS: dict[str, str] = {
    "quantize": "8, 4 and 1 bit; static, dynamic, quantisation-aware.",
    "spike": "An encoder of spiking neurons, without training.",
    "distill": "Train a network with a teacher beside the truth, or without.",
    "prune": "Weights, vectors, kernels or filters that are not needed.",
    "share": "Few values per layer, entropy-coded on disk.",
}


class Compressions(Table):
    commands_in = "leadline.cli.compress"
    table = COMPRESSIONS


@click.group("compress", cls=Compressions)
def command() -> None:
    """Make a trained network smaller and faster, and measure what it costs in accuracy.

    The result is a checkpoint like any other: `predict`, `evaluate`, `train` (as `init:`), `export` and `benchmark`
    take it.
    """
