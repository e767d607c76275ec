"""Training on what compression left."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from leadline import checkpoint
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models import Network

if TYPE_CHECKING:
    from leadline.training.recipe import Recipe

START = "compressed.safetensors"  # in the run's folder: what the run starts from
REQUEST = "request.json"  # beside it: what was asked for


def finetuned(
    network: Network,
    recipe: Recipe | str | os.PathLike,
    folder: str | os.PathLike | None,
    request: dict[str, Any],
    changes: dict[str, Any] | None = None,
) -> Network:
    """The network after a run of the recipe, whose `network` and `init` are set to what is to be trained.

    A folder that holds the run of this request already is taken up where it stopped, or only read where it is done.

    Args:
        folder: of the run; None: one that is removed afterwards.
        request: what `network` came from and what was done to it, as plain values.
        changes: further keys of the recipe.

    Raises:
        UserError: as `leadline.train`; a folder with the run of another request; or a run stopped before its end.
    """
    from leadline.training import load_recipe, train
    from leadline.training.recipe import check_recipe, dump_recipe

    loaded = load_recipe(recipe) if isinstance(recipe, str | os.PathLike) else recipe
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return finetuned(network, loaded, temporary, request, changes)
    folder = Path(folder)
    start, kept = folder / START, folder / REQUEST
    text = json.dumps(request, sort_keys=True, default=str)
    if (folder / "last.ckpt").is_file():
        if not kept.is_file() or kept.read_text(encoding="utf-8") != text:
            raise UserError(f"{folder}: holds the training of something else: choose another output, or remove it")
    else:
        checkpoint.save(network, start)
        write_whole(kept, text.encode())
    content = dump_recipe(loaded) | {
        "network": {"name": network.name, **network.config_dict()}, "init": str(start), **(changes or {}),
    }  # fmt: skip
    path = train(check_recipe(content), folder)
    if path.name == "latest.safetensors":
        raise UserError(f"{folder}: the run was stopped: the same command goes on with it")
    return checkpoint.load_network(path)


def fingerprint(network: Network) -> int:
    """A number that tells a network's weights from others."""
    checksum = 0
    for value in network.state_dict().values():
        checksum = zlib.crc32(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy(), checksum)
    return checksum
