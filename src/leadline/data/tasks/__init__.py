"""What a task's training data is: one module per task with the same four functions.

- `render(seed, numbers, size, scenes, device) -> Batch`: procedural scenes at (h, w) px;
- `from_sample(sample) -> Batch`: a Sample as a batch of one;
- `random_window(item, size, draw) -> Batch`: a window of a batch of one, which is enlarged where it is too small;
- `augment(scenes, crop, config, draw) -> Batch`: a random crop of each item, changed at random.

All randomness comes from the numbers and generators that they are given.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from leadline.models.network import Task


def data_of(task: Task) -> Any:
    """The module of a task."""
    return import_module(f"leadline.data.tasks.{task.value}")
