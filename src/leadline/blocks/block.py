"""What the catalogue knows of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PLANES = 8  # disparities of the example volumes
STEPS = 4  # of the example spike trains
BATCH_SIZES = {"steps": STEPS}  # samples that lie in the batch, by kind of input; 1 otherwise


@dataclass(frozen=True)
class Block:
    """A building block as `leadline blocks` makes, measures and lists it.

    Args:
        name: as on the command line.
        family: the page of docs/blocks that tells of it.
        make: `make(c)` gives one for c channels; c is a multiple of 8.
        macs: `macs(c, h, w)`: multiply-accumulates of its convolutions and matrix products for one sample.
        source: whose idea it is.
        inputs: kind of each input, see `example_shape`.
        multiple: h and w must be multiples of this, and at least twice it.
        smooth: it has its true gradient nearly everywhere; False for signs, spikes, and what is drawn at random.
        elementwise: `macs` are products of elements (a cost volume's), counted in the form of few operations.
        counted: `macs` is exact; False: of its form in the paper.
    """

    name: str
    family: str
    make: Callable[[int], nn.Module]
    macs: Callable[[int, int, int], float]
    source: str
    inputs: tuple[str, ...] = ("map",)
    multiple: int = 1
    smooth: bool = True
    elementwise: bool = False
    counted: bool = True


def example_shape(kind: str, c: int, h: int, w: int, batch: int = 1) -> tuple[int, ...]:
    """The shape of an input of a kind.

    map: features (b, c, h, w); wide: (b, 32, h, w); image: (b, 3, h, w) in [0, 1]; volume: (b, c, PLANES, h, w);
    planes: plane-major (b, PLANES * c, h, w); scores: (b, PLANES, h, w); tokens: (b, h * w, c); mask: (b, 1, h, w) of
    0 and 1; disparity: (b, 1, h, w), px; flow: (b, 2, h, w), px; logits: (b, 36, h, w); steps: (STEPS * b, c, h, w).
    """
    shapes = {
        "map": (batch, c, h, w),
        "wide": (batch, 32, h, w),
        "image": (batch, 3, h, w),
        "volume": (batch, c, PLANES, h, w),
        "planes": (batch, PLANES * c, h, w),
        "scores": (batch, PLANES, h, w),
        "tokens": (batch, h * w, c),
        "mask": (batch, 1, h, w),
        "disparity": (batch, 1, h, w),
        "flow": (batch, 2, h, w),
        "logits": (batch, 36, h, w),
        "steps": (STEPS * batch, c, h, w),
    }
    return shapes[kind]


def as_kind(kind: str, values: Tensor) -> Tensor:
    """Values round 0, of the kind's range."""
    if kind == "mask":
        return (values > 0).to(values.dtype)
    if kind == "image":
        return torch.sigmoid(values)
    if kind == "disparity":
        return 4 * torch.sigmoid(values)
    if kind == "flow":
        return 3 * torch.tanh(values)
    return values


def example_inputs(block: Block, c: int, h: int, w: int, batch: int = 1, seed: int = 0) -> list[Tensor]:
    """Inputs that the block takes, of seeded noise."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (example_shape(kind, c, h, w, batch) for kind in block.inputs)
    noise = [torch.randn(shape, generator=generator) for shape in shapes]
    return [as_kind(kind, values) for kind, values in zip(block.inputs, noise, strict=True)]
