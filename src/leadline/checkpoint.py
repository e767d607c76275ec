"""Checkpoint: one .safetensors file that rebuilds a network without running code from the file.

Metadata (all JSON, under the key "leadline"): format version, the network's name and config, the list of surgeries
(what compression did, in order, each replayable through `leadline.surgeries`), and provenance (data, seed, metrics,
version).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models import Network, create
from leadline.surgeries import pack, replay, unpack
from leadline.version import __version__

FORMAT = 1
_KEYS = {"task": str, "network": str, "config": dict, "surgeries": list, "provenance": dict}  # besides the version
# Fields that a config got after checkpoints had been written, with what those networks had.
_SIMPLE_LOOK = {"beside": False, "looks": 1, "informed": False}
_ADDED_LATER = {
    "plummet-s": {"fine": 0, "edge": False, "hidden_thirtysecond": 0, "scale": 1.0},
    "plummet-m": {"fine": 0, "edge": False, "hidden_thirtysecond": 0, "scale": 1.0, "refine": 0, **_SIMPLE_LOOK},
    "plummet-r": {"edge": False, "hidden_thirtysecond": 0, "scale": 1.0, **_SIMPLE_LOOK},
}


def save(
    network: Network, path: str | os.PathLike, provenance: dict[str, Any] | None = None, *, half: bool = False
) -> Path:
    """Writes `network` as a checkpoint, whole or not at all.

    Args:
        network: made by `leadline.create` (or loaded), so that it has a name.
        path: ends in .safetensors.
        provenance: JSON-able facts about where the weights come from (recipe, seed, data, metrics).
        half: store the layers' weights in float16, for a file of half the size; loaded, they are float32 again.
            BatchNorm and biases keep their bits.

    Raises:
        UserError: the path cannot be written or does not end in .safetensors; or `half` of a compressed network.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UserError(f"{path}: a checkpoint's name ends in .safetensors")
    if half and getattr(network, "surgeries", []):
        raise UserError(f"{path}: a compressed network has a form of its own on disk: leave half out")
    about = {
        "format": FORMAT,
        "version": __version__,
        "task": network.task.value,
        "network": network.name,
        "config": network.config_dict(),
        "surgeries": getattr(network, "surgeries", []),
        "provenance": provenance if provenance is not None else getattr(network, "provenance", {}),
    }
    tensors = pack(network, {key: value.detach().cpu() for key, value in network.state_dict().items()})
    if half:
        tensors = {key: value.half() if value.ndim > 1 else value for key, value in tensors.items()}
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    write_whole(path, save_tensors(tensors, {"leadline": json.dumps(about)}))
    return path


def read_about(path: str | os.PathLike) -> dict[str, Any]:
    """The metadata of a checkpoint, without its tensors.

    Raises:
        UserError: missing, truncated or foreign file, or one made by a newer leadline.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error}): copy it again") from error
    if "leadline" not in metadata:
        raise UserError(
            f"{path}: a .safetensors file without leadline's metadata: for weights of the original projects "
            "use leadline.import_upstream"
        )
    damaged = UserError(f"{path}: leadline's metadata in it is damaged: copy it again")
    try:
        about = json.loads(metadata["leadline"])
    except json.JSONDecodeError:
        raise damaged from None
    if not isinstance(about, dict) or not isinstance(about.get("format"), int):
        raise damaged
    if about["format"] > FORMAT:
        version = about.get("version", "of another time")
        raise UserError(f"{path}: written by leadline {version}, newer than this one: upgrade leadline")
    if not all(isinstance(about.get(key), kind) for key, kind in _KEYS.items()):
        raise damaged
    about["config"] = {**_ADDED_LATER.get(about["network"], {}), **about["config"]}
    return about


def load_network(path: str | os.PathLike) -> Network:
    """The network that a checkpoint holds, in eval mode, with `.provenance` and `.surgeries` set.

    Raises:
        UserError: as `read_about`; or tensors that do not fit the network that the metadata names.
    """
    about = read_about(path)
    network = create(about["network"], **about["config"])
    network.name = about["network"]
    network = replay(network, about["surgeries"], str(path))
    with safe_open(path, framework="pt") as file:
        tensors: dict[str, torch.Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tensors = unpack(network, tensors, str(path))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path}: its tensors do not fit {about['network']} with its config: {first}") from error
    network.provenance = about["provenance"]
    return network.eval()
