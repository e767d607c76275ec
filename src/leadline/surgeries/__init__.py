"""Changes of a network's structure, each replayable from a plain record: what compression leaves in a checkpoint.

One module per kind. Whoever adds one imports it here, so that a checkpoint with it can be loaded.
"""

from leadline.surgeries.registry import Surgery, add_surgery, pack, replay, unpack

__all__ = ["Surgery", "add_surgery", "pack", "replay", "unpack"]
