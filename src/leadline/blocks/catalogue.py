"""All blocks, by family."""

from __future__ import annotations

from leadline.blocks.block import Block
from leadline.blocks.families import (
    adversarial,
    attention,
    binary,
    conv,
    depth,
    normalization,
    pooling,
    recurrent,
    residual,
    shuffle,
    spiking,
    transformer,
    volume,
)
from leadline.errors import unknown_name

_MODULES = (
    conv,
    volume,
    pooling,
    residual,
    shuffle,
    attention,
    transformer,
    recurrent,
    normalization,
    binary,
    spiking,
    adversarial,
    depth,
)
CATALOGUE: dict[str, Block] = {block.name: block for module in _MODULES for block in module.BLOCKS}
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(block.family for block in CATALOGUE.values()))


def find_block(name: str) -> Block:
    """A block by name. Raises UserError where there is none, with the closest name."""
    if name not in CATALOGUE:
        raise unknown_name("block", name, list(CATALOGUE))
    return CATALOGUE[name]


def blocks_of(family: str) -> list[Block]:
    """The blocks of a family. Raises UserError where there is none, with the closest name."""
    if family not in FAMILIES:
        raise unknown_name("family", family, list(FAMILIES))
    return [block for block in CATALOGUE.values() if block.family == family]
