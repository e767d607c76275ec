"""The catalogue of building blocks: what each is and costs, what the targets make of it, and whether it helps depth."""

from leadline.blocks.catalogue import CATALOGUE, FAMILIES, Block, blocks_of, find_block

__all__ = ["CATALOGUE", "FAMILIES", "Block", "blocks_of", "find_block"]
