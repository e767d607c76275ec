"""What training shows of a task while it goes on: one module per task.

- `ERRORS`: names of the errors of a validation, the first of which a plateau schedule follows (smaller is better);
- `error_sums(prediction, batch) -> (len(ERRORS) + 1,)`: their numerators, and at the end what they are divided by;
- `picture(batch, prediction) -> (3, h, w)`: the first item of a batch for TensorBoard, and `PICTURE`, what is on it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from leadline.models.network import Task


def training_of(task: Task) -> Any:
    """The module of a task."""
    return import_module(f"leadline.training.tasks.{task.value}")
