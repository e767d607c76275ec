"""The file of scales and zero points: one run writes it, people edit it, the next run reads it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
import yaml

from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models import Network
from leadline.nn.quantize.fake import Quantizer
from leadline.surgeries.quantize import quantized_layers

ABOUT = """\
# Scales and zero points: code = clamp(round(x / scale) + zero_point, low, high), rounded half to even.
# A list has one scale per channel. Edit and give back with --scale-zero-point FILE.
"""


def fixed_quantizers(network: Network) -> dict[str, Quantizer]:
    """The quantisers whose scales are fixed beforehand, by tensor: "LAYER.input", "LAYER.weight", "LAYER.output".

    An input that is another layer's input or output stands there alone, with its one scale.
    """
    found = {}
    for name, layer in quantized_layers(network).items():
        for part in ("input", "weight", "output"):
            quantizer = getattr(layer, f"{part}_quantizer")
            if quantizer is not None and not quantizer.dynamic and not (part == "input" and layer.borrows_input):
                found[f"{name}.{part}"] = quantizer
    return found


def write_scales(network: Network, path: str | os.PathLike) -> Path:
    """Writes every fixed scale and zero point of a quantised network. Raises UserError where it cannot be written."""
    tensors = {}
    for name, quantizer in fixed_quantizers(network).items():
        scale, zero_point = (t.detach().flatten().tolist() for t in quantizer.current(quantizer.scale))
        one = len(scale) == 1
        entry: dict[str, Any] = {"scale": scale[0] if one else scale}
        if any(zero_point):
            entry["zero_point"] = zero_point[0] if one else zero_point
        else:
            entry["zero_point"] = 0
        tensors[name] = entry
    content = {"network": network.name, "tensors": tensors}
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
    return write_whole(path, (ABOUT + text).encode())


def read_scales(path: str | os.PathLike) -> dict[str, Any]:
    """What a file of scales says, as plain values. Raises UserError where it is none."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: no readable file of scales ({type(error).__name__}): give one that a run of "
                        "`leadline compress quantize` wrote") from error  # fmt: skip
    tensors = content.get("tensors") if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not isinstance(content.get("network"), str):
        raise UserError(f"{path}: not a file of scales: it has to name a network and its tensors")
    return content


def apply_scales(network: Network, path: str | os.PathLike) -> None:
    """Gives a quantised network the scales and zero points of a file.

    Raises:
        UserError: a file for another network or way of quantising, a scale that is not above 0, a zero point that the
            codes do not reach.
    """
    content = read_scales(path)
    quantizers, tensors = fixed_quantizers(network), content["tensors"]
    if content["network"] != network.name:
        raise UserError(f"{path}: holds the scales of {content['network']}, not of {network.name}: give another file")
    strange = [name for name in tensors if name not in quantizers]
    missing = [name for name in quantizers if name not in tensors]
    if strange or missing:
        what = f"names {strange[0]!r}, which is not quantised" if strange else f"does not name {missing[0]!r}"
        raise UserError(f"{path}: {what} here: give the file of a run with the same layers, bits and mode")
    for name, quantizer in quantizers.items():
        _set(quantizer, tensors[name], f"{path}: {name}")


def _set(quantizer: Quantizer, entry: Any, where: str) -> None:
    if not isinstance(entry, dict) or "scale" not in entry:
        raise UserError(f"{where}: has no scale")
    count, grid = quantizer.scale.numel(), quantizer.grid
    scales = _numbers(entry["scale"], count, f"{where}: scale")
    zeros = _numbers(entry.get("zero_point", 0), 1 if not isinstance(entry.get("zero_point"), list) else count,
                     f"{where}: zero_point")  # fmt: skip
    zeros = zeros * (count // len(zeros))
    for scale in scales:
        if not math.isfinite(scale) or scale < torch.finfo(torch.float32).tiny:
            raise UserError(f"{where}: scale {scale:g}: a scale is a number above 0")
    for zero in zeros:
        if grid.symmetric and zero != 0:
            raise UserError(f"{where}: zero_point {zero:g}: it is 0 where quantisation is symmetric")
        if zero != round(zero) or not grid.low <= zero <= grid.high:
            raise UserError(f"{where}: zero_point {zero:g}: it is a whole number from {grid.low} to {grid.high}")
    quantizer.set(torch.tensor(scales), torch.tensor(zeros, dtype=torch.int32))


def _numbers(value: Any, count: int, where: str) -> list[float]:
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in listed):
        raise UserError(f"{where}: {value!r} is no number (write 1.0e-5, not 1e-5)")
    if len(listed) != count:
        raise UserError(f"{where}: {len(listed)} numbers where there are {count}")
    return listed
