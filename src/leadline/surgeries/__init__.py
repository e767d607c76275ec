"""Changes of a network's structure, each replayable from a plain record: what compression leaves in a checkpoint.

One module per kind. Whoever adds one imports it here, so that a checkpoint with it can be loaded.
"""

from leadline.surgeries import called_layers, prune_channels, prune_mask, share
from leadline.surgeries import quantize as quantize
from leadline.surgeries.parametrised import with_plain_weights
from leadline.surgeries.registry import Surgery, add_surgery, pack, replay, unpack

__all__ = [
    "Surgery",
    "add_surgery",
    "called_layers",
    "pack",
    "prune_channels",
    "prune_mask",
    "replay",
    "share",
    "unpack",
    "with_plain_weights",
]
