"""Layers that are computed with become layers that are called, so that quantisation can replace them."""

from __future__ import annotations

from leadline.models import Network
from leadline.surgeries.registry import Record, Surgery, add_surgery

KIND = "called-layers"


def apply(network: Network) -> Record | None:
    """Does it, in place; the record of it, or None where nothing was to be done."""
    return {"kind": KIND} if network.call_layers() else None


def replay(network: Network, **about: object) -> Network:
    """Does it again."""
    network.call_layers()
    return network


add_surgery(KIND, Surgery(replay))
