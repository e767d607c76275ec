"""Several small integers to a byte, and back."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int8, UInt8
from torch import Tensor


def pack_nibbles(codes: Int8[Tensor, "*shape"]) -> UInt8[Tensor, " bytes"]:
    """Two integers of -8 .. 7 to a byte, the first in the low half (ONNX's order of INT4, and TFLite's)."""
    flat = codes.flatten().to(torch.int16)
    if flat.numel() % 2:
        flat = torch.cat([flat, flat.new_zeros(1)])
    low, high = flat[0::2] & 15, flat[1::2] & 15
    return (low | (high << 4)).to(torch.uint8)


def unpack_nibbles(packed: UInt8[Tensor, " bytes"], shape: tuple[int, ...]) -> Int8[Tensor, "*shape"]:
    """Takes `pack_nibbles` back. Raises ValueError where the bytes do not fill the shape."""
    count = torch.Size(shape).numel()
    if packed.numel() != (count + 1) // 2:
        raise ValueError(f"{packed.numel()} bytes do not hold {count} integers of 4 bits")
    wide = packed.to(torch.int16)
    nibbles = torch.stack([wide & 15, wide >> 4], 1).flatten()[:count]
    return torch.where(nibbles > 7, nibbles - 16, nibbles).to(torch.int8).reshape(shape)


def pack_bits(positive: Bool[Tensor, "*shape"]) -> UInt8[Tensor, " bytes"]:
    """Eight truth values to a byte, the first in the lowest bit."""
    flat = positive.flatten().to(torch.int16)
    flat = torch.cat([flat, flat.new_zeros(-flat.numel() % 8)]).view(-1, 8)
    weights = 2 ** torch.arange(8, dtype=torch.int16)
    return (flat * weights).sum(1).to(torch.uint8)


def unpack_bits(packed: UInt8[Tensor, " bytes"], shape: tuple[int, ...]) -> Bool[Tensor, "*shape"]:
    """Takes `pack_bits` back. Raises ValueError where the bytes do not fill the shape."""
    count = torch.Size(shape).numel()
    if packed.numel() != (count + 7) // 8:
        raise ValueError(f"{packed.numel()} bytes do not hold {count} bits")
    bits = (packed.to(torch.int16)[:, None] >> torch.arange(8, dtype=torch.int16)) & 1
    return bits.flatten()[:count].to(torch.bool).reshape(shape)
