"""Pre-trained backbones from files: weights as torchvision and timm publish them, put into a network's encoder.

Nothing is downloaded. The names are those of torchvision 0.2x and timm 1.x:

| encoder | torchvision | timm |
| --- | --- | --- |
| mobilenetv2 | mobilenet_v2 | mobilenetv2_100 |
| mobilenetv3 | mobilenet_v3_large | mobilenetv3_large_100 |
| mobilenetv3-small | mobilenet_v3_small | mobilenetv3_small_100 |
| resnet18 | resnet18 | resnet18 |
| dpt-s, dpt-m | | deit_tiny_patch16_224; deit_small_patch16_224, vit_small_patch16_224 |
"""

from __future__ import annotations

import os
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models.encoders import Encoder, MobileNetV2, MobileNetV3, MobileNetV3Small, ResNet18
from leadline.models.network import Network
from leadline.nn.vit import VisionTransformer

StateDict = dict[str, Tensor]
TORCHVISION, TIMM = "torchvision", "timm"
TORCHVISION_V3_EPS, EPS = 1e-3, 1e-5  # of MobileNetV3's BatchNorm in torchvision; in timm and here


@dataclass
class Loaded:
    """What `load_backbone` did.

    Args:
        layout: whose names the file has, "torchvision" or "timm".
        loaded: tensors that went into the encoder; all of the encoder's.
        skipped: the file's tensors that the encoder has no place for (classifiers and the like).
        notes: what was changed on the way.
    """

    layout: str
    loaded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"{len(self.loaded)} tensors of {self.layout}'s layout loaded, {len(self.skipped)} skipped"
        if self.skipped:
            told += f" ({', '.join(self.skipped[:4])}{', ...' if len(self.skipped) > 4 else ''})"
        return "; ".join([told, *self.notes])


def load_backbone(network: Network, weights: str | os.PathLike | StateDict) -> Loaded:
    """Puts published ImageNet weights into `network.encoder`, all of them or none.

    Args:
        network: a `fastdepth` or `dpt`.
        weights: a file (.pth, .pt, .bin or .safetensors; of tensors, no code in it is run), or what it holds.

    Raises:
        UserError: an unreadable file; weights of another architecture or size; an encoder without published weights.
    """
    where = "weights" if isinstance(weights, dict) else os.fspath(weights)
    state = _plain(weights if isinstance(weights, dict) else _read(Path(weights)))
    encoder = getattr(network, "encoder", None)
    if isinstance(encoder, VisionTransformer):
        loaded, tensors = _vision_transformer(encoder, state, where)
    elif isinstance(encoder, MobileNetV2 | MobileNetV3 | ResNet18):
        loaded, tensors = _convolutional(encoder, state, where)
    else:
        raise UserError(
            f"{getattr(network, 'name', type(network).__name__)}: its encoder has no published weights that fit: take "
            "backbone mobilenetv2, mobilenetv3, mobilenetv3-small or resnet18, or a dpt"
        )
    _check(encoder, tensors, where)
    encoder.load_state_dict(tensors)
    loaded.loaded = sorted(tensors)
    return loaded


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: no such file of backbone weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable file of tensors ({reason}): give a state dict of tensors") from error


def _plain(content: Any) -> StateDict:
    """The tensors by name, out of the wrappings that training scripts put round them."""
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise UserError("backbone weights: not a state dict (tensors by name): save the model's state_dict()")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors and all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _convolutional(encoder: Encoder, state: StateDict, where: str) -> tuple[Loaded, StateDict]:
    named, layout = state, TORCHVISION
    if "conv_stem.weight" in state:
        named, layout = {_from_timm(encoder, key): value for key, value in state.items()}, TIMM
    loaded = Loaded(layout)
    wanted = encoder.state_dict()
    tensors = {key: value for key, value in named.items() if key in wanted}
    back = dict(zip(named, state, strict=True))  # the file's own names
    loaded.skipped = [back[key] for key in named if key not in wanted]
    if isinstance(encoder, MobileNetV3) and layout == TORCHVISION:
        # (x - mean) / sqrt(variance + eps): the difference between the two eps goes into the variance.
        for key in tensors:
            if key.endswith("running_var"):
                tensors[key] = tensors[key] + (TORCHVISION_V3_EPS - EPS)
        loaded.notes.append(f"BatchNorm's eps {TORCHVISION_V3_EPS:g} made {EPS:g} by its variances")
    return loaded, tensors


def _from_timm(encoder: Encoder, key: str) -> str:
    """timm's name of a MobileNet's tensor as torchvision's; unknown ones stay as they are."""
    stem = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
    part, _, rest = key.partition(".")
    if part in stem:
        return f"{stem[part]}.{rest}"
    match = re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(.+)\.(\w+)", key)
    if match is None:
        return key
    stage, index, layer, name = int(match[1]), int(match[2]), match[3], match[4]
    counts = _TIMM_STAGES.get(type(encoder), ())
    if stage >= len(counts):
        return key  # the last 1x1 convolution
    block = 1 + sum(counts[:stage]) + index
    return f"features.{block}.{_timm_layer(encoder, block, layer)}.{name}"


_TIMM_STAGES: dict[type, tuple[int, ...]] = {
    MobileNetV2: (1, 2, 3, 4, 3, 3, 1),
    MobileNetV3: (1, 2, 3, 4, 2, 3),
    MobileNetV3Small: (1, 2, 3, 2, 3),
}


def _timm_layer(encoder: Encoder, block: int, layer: str) -> str:
    """A layer within a block. Without expansion timm calls the projection conv_pw, bn2, with one conv_pwl, bn3."""
    features = encoder.features
    assert isinstance(features, nn.Sequential)
    if isinstance(encoder, MobileNetV2):
        inner = features[block].conv
        assert isinstance(inner, nn.Sequential)
        if len(inner) == 3:  # depthwise, projection, its norm
            table = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
        else:
            table = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"}
        return f"conv.{table.get(layer, layer)}"
    inner = features[block].block
    assert isinstance(inner, nn.Sequential)
    squeezed = any(hasattr(part, "fc1") for part in inner)
    last = len(inner) - 1
    if len(inner) - squeezed == 2:
        table = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": f"{last}.0", "bn2": f"{last}.1"}
    else:
        table = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1"}
        table |= {"conv_pwl": f"{last}.0", "bn3": f"{last}.1"}
    table |= {"se.conv_reduce": f"{last - 1}.fc1", "se.conv_expand": f"{last - 1}.fc2"}
    return f"block.{table.get(layer, layer)}"


def _vision_transformer(encoder: VisionTransformer, state: StateDict, where: str) -> tuple[Loaded, StateDict]:
    """timm's blocks: queries, keys and values are one layer there; positions are a list that begins with the tokens."""
    loaded = Loaded(TIMM)
    tensors: StateDict = {}
    renamed = {"norm1": "norm_attention", "norm2": "norm_forward", "attn.proj": "attention.out"}
    renamed |= {"mlp.fc1": "forward_part.0", "mlp.fc2": "forward_part.2"}
    for key, value in state.items():
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", key)
        if key.startswith("patch_embed.proj."):
            tensors[f"embed.{key.rsplit('.', 1)[1]}"] = value
        elif key in ("norm.weight", "norm.bias"):
            tensors[key] = value
        elif key == "pos_embed" and encoder.positions is not None:
            tensors["positions.map"] = _positions(value, encoder, loaded, where)
        elif match and match[2] == "attn.qkv" and len(value) % 3 == 0:
            for name, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                tensors[f"layers.{match[1]}.attention.{name}.{match[3]}"] = part.clone()
        elif match and match[2] in renamed:
            tensors[f"layers.{match[1]}.{renamed[match[2]]}.{match[3]}"] = value
        else:
            loaded.skipped.append(key)
    return loaded, tensors


def _positions(value: Tensor, encoder: VisionTransformer, loaded: Loaded, where: str) -> Tensor:
    """(1, tokens, c) -> (1, c, grid, grid): the class token's (and the distillation token's) place is left out."""
    assert encoder.positions is not None
    grid = encoder.positions.map.shape[-2:]
    count, width = value.shape[1], value.shape[2]
    for extra in (1, 2, 0):
        side = round((count - extra) ** 0.5)
        if side * side == count - extra:
            patches = value[:, extra:].transpose(1, 2).reshape(1, width, side, side)
            if extra:
                loaded.notes.append(f"positions of {extra} token(s) that are no patch left out")
            if tuple(grid) != (side, side):
                patches = nn.functional.interpolate(patches, size=grid, mode="bicubic", align_corners=False)
                loaded.notes.append(f"positions of {side}x{side} patches stretched to {grid[0]}x{grid[1]}")
            return patches.contiguous()
    raise UserError(f"{where}: pos_embed has {count} places, which is no square of patches: the weights do not fit")


def _check(encoder: nn.Module, tensors: StateDict, where: str) -> None:
    """Raises UserError unless the tensors are exactly the encoder's."""
    wanted = encoder.state_dict()
    # Counters of old files; a network that is trained on needs none.
    for key in wanted:
        if key.endswith("num_batches_tracked") and key not in tensors:
            tensors[key] = wanted[key]
    missing = [key for key in wanted if key not in tensors]
    kind = type(encoder).__name__
    if missing:
        raise UserError(
            f"{where}: does not fit the encoder {kind}: {len(missing)} of its {len(wanted)} tensors are not in there, "
            f"first {missing[0]}: give torchvision's or timm's weights of this very architecture"
        )
    for key, value in wanted.items():
        if tensors[key].shape != value.shape:
            found, here = (tuple(t.shape) for t in (tensors[key], value))
            raise UserError(f"{where}: {key} is {found} and {here} is wanted: the weights are of another size")
    surplus = [key for key in tensors if key not in wanted]
    if surplus:
        raise UserError(f"{where}: has more layers than the encoder {kind}, first {surplus[0]}: it is another size")
