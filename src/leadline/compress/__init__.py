"""Making a trained network smaller and faster: `leadline.compress.prune`, `share`, `quantize`, `distill`.

Each takes a network and gives one; what it did to the structure stands in `network.surgeries`, so that the result is
saved, loaded, trained on, exported and measured like any other network.
"""

from importlib import import_module
from typing import Any

_WHERE: dict[str, str] = {
    "quantize": "leadline.compress.quantization",
    "write_scales": "leadline.compress.scale_file",
    "sensitivity": "leadline.compress.sensitivities",
    "to_spiking": "leadline.compress.spiking",
    "distill": "leadline.compress.distillation",
    "prune": "leadline.compress.pruning",
    "share": "leadline.compress.sharing",
}  # public name -> module; imported when first used

__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'leadline.compress' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
