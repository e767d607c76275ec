"""Fitting networks: recipes, losses, optimizers, schedules, and runs that can be interrupted."""

from importlib import import_module
from typing import Any

_WHERE = {
    "train": "leadline.training.fit",
    "Recipe": "leadline.training.recipe",
    "load_recipe": "leadline.training.recipe",
}

__all__ = ["Recipe", "load_recipe", "train"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'leadline.training' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
