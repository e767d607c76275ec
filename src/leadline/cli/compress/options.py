"""What the commands of `leadline compress` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from leadline.errors import UserError
from leadline.files import writable_folder

if TYPE_CHECKING:
    from leadline.models import Network
    from leadline.training.recipe import Recipe


def load_trainable(model: str) -> Network:
    """The network of a zoo name or a checkpoint.

    Raises:
        UserError: as `leadline.load`; or something that is no network, or exported already.
    """
    from leadline.artifacts import is_artifact
    from leadline.checkpoint import load_network
    from leadline.classical import ClassicalStereo
    from leadline.zoo import find_checkpoint

    if model in ClassicalStereo.NAMES:
        raise UserError(f"{model}: only networks can be compressed, and this is OpenCV's algorithm")
    if is_artifact(model):
        raise UserError(f"{model}: is exported already: give the zoo name or the checkpoint that it was made of")
    return load_network(find_checkpoint(model))


def recipe_with(path: Path | None, changes: tuple[str, ...]) -> Recipe | None:
    """The recipe of --finetune with the changes of --set."""
    if path is None:
        if changes:
            raise UserError("--set changes the recipe of --finetune: give that too, or leave it out")
        return None
    from leadline.training.recipe import load_recipe

    return load_recipe(path, changes)


def check_output(output: Path) -> None:
    """Raises UserError where a checkpoint could not be written, before anything is computed."""
    if output.suffix != ".safetensors":
        raise UserError(f"-o {output}: a checkpoint's name ends in .safetensors")
    if output.is_dir():
        raise UserError(f"-o {output}: is a folder: name a file")
    writable_folder(output.parent)


def run_folder(output: Path) -> Path:
    """Where the fine-tuning of this output is kept."""
    return output.with_suffix(".run")
