"""Official weights of the projects whose networks are built here."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leadline.errors import UserError, unknown_name
from leadline.models.network import Network
from leadline.models.registry import create

# network -> where its checkpoints come from
ORIGINALS = {
    "mobilestereonet-2d": "https://github.com/cogsys-tuebingen/mobilestereonet",
    "mobilestereonet-3d": "https://github.com/cogsys-tuebingen/mobilestereonet",
    "raft-small": "https://github.com/princeton-vl/RAFT",
    "raft-stereo": "https://github.com/princeton-vl/RAFT-Stereo",
    "rife": "https://github.com/hzwer/ECCV2022-RIFE",
    "rife-m": "https://github.com/hzwer/ECCV2022-RIFE",
}
# Parts that serve training alone, which a checkpoint may lack: prefix of their keys -> field of the config.
OPTIONAL = {"block_tea.": "teacher"}


def import_upstream(name: str, path_or_state_dict: str | os.PathLike | Mapping[str, Any], **config: Any) -> Network:
    """A network with the official weights of its original project, in eval mode, `.provenance` set.

    Args:
        name: one of `ORIGINALS`.
        path_or_state_dict: an official checkpoint (read with weights_only, so that no code of the file runs), or what
            such a file holds: a state dict, or a dictionary with one under "model" (optimizer and epoch beside it are
            passed over). The prefix `module.` of DataParallel is dropped.
        config: fields of the network's config, as for `create`.

    Raises:
        UserError: a name without an original; no readable checkpoint; or tensors that are missing, unexpected or of
            another shape than the network's.
    """
    if name not in ORIGINALS:
        raise unknown_name("network with upstream weights", name, list(ORIGINALS))
    provenance: dict[str, Any] = {"upstream": ORIGINALS[name]}
    if isinstance(path_or_state_dict, Mapping):
        where, content = "state dict", path_or_state_dict
    else:
        path = Path(path_or_state_dict)
        where, content = str(path), _read(path)
        provenance |= {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    tensors = _state_dict(content, where)
    network = _create(name, tensors, config)
    tensors = network.from_upstream(tensors)
    _check_fit(network, tensors, where)
    network.load_state_dict(tensors)
    network.provenance = provenance
    return network.eval()


def _create(name: str, tensors: dict[str, Tensor], config: dict[str, Any]) -> Network:
    """The network, with those of the OPTIONAL parts that the tensors have; tensors of parts not wanted are dropped."""
    network = create(name, **config)
    for prefix, option in OPTIONAL.items():
        theirs = [key for key in tensors if key.startswith(prefix)]
        wanted = getattr(network.config, option, None)
        if wanted and not theirs and option not in config:
            network = create(name, **{**config, option: False})
        elif wanted is False:
            for key in theirs:
                del tensors[key]
    return network


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: not a PyTorch checkpoint of plain tensors (it is something else, or holds objects that would run "
            "code when loaded): take the original project's file"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a readable PyTorch checkpoint (truncated?): download it again") from error


def _state_dict(content: Any, where: str) -> dict[str, Tensor]:
    """The tensors by name, prefix dropped."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f'{where}: holds no state dict, neither itself nor under "model"')
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _check_fit(network: Network, tensors: dict[str, Tensor], where: str) -> None:
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    missing = [key for key in expected if key not in tensors]
    unexpected = [key for key in tensors if key not in expected]
    misshaped = [
        f"{key} is {tuple(tensors[key].shape)} for {shape}"
        for key, shape in expected.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    wrong = [
        f"{kind} {_some(keys)}"
        for kind, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if keys
    ]
    if wrong:
        raise UserError(
            f"{where}: does not fit {network.name}: {'; '.join(wrong)}: is it another network's checkpoint?"
        )


def _some(keys: list[str], most: int = 3) -> str:
    rest = len(keys) - most
    return ", ".join(keys[:most]) + (f" and {rest} more" if rest > 0 else "")
