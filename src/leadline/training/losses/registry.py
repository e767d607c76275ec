"""Names of the losses, what each looks at, and the checks of their options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from leadline.errors import UserError, unknown_name
from leadline.models.network import Task
from leadline.training.options import check_options

Function = Callable[..., Tensor]
F = TypeVar("F", bound=Function)


class Kind(StrEnum):
    """What a loss is called with."""

    SUPERVISED = "supervised"  # prediction, truth, valid
    DISTRIBUTION = "distribution"  # scores, spacing, truth, valid
    IMAGES = "images"  # prediction, and the network's two images
    BOTH_VIEWS = "both views"  # left prediction, right prediction; of flow: forward, backward
    BOTH_WITH_IMAGES = "both views with images"  # the same, and the network's two images
    MOTION = "motion"  # a network's flows, the true flow, where it is known
    FRAMES = "frames"  # prediction, batch (of monocular depth), motions to its frames
    OWN = "own"  # a value that the network itself works out in training, by its name


@dataclass(frozen=True)
class Entry:
    kind: Kind
    function: Function
    tasks: frozenset[Task] = frozenset({Task.STEREO})


_LOSSES: dict[str, Entry] = {}
_GIVEN = {
    Kind.SUPERVISED: 3,
    Kind.DISTRIBUTION: 4,
    Kind.IMAGES: 3,
    Kind.BOTH_VIEWS: 2,
    Kind.MOTION: 3,
    Kind.FRAMES: 3,
    Kind.OWN: 1,
    Kind.BOTH_WITH_IMAGES: 4,
}


def loss(name: str, kind: Kind = Kind.SUPERVISED, tasks: Iterable[Task] = (Task.STEREO,)) -> Callable[[F], F]:
    """Gives a function the name under which recipes know it, for the tasks that it suits."""

    def keep(function: F) -> F:
        _LOSSES[name] = Entry(kind, function, frozenset(tasks))
        return function

    return keep


def names(task: Task | None = None) -> list[str]:
    """The registered names, sorted; those of one task, or all."""
    return sorted(name for name, entry in _LOSSES.items() if task is None or task in entry.tasks)


def make_loss(name: str, task: Task = Task.STEREO, **options: Any) -> Entry:
    """A loss with its options set.

    Raises:
        UserError: a name that is unknown or for other tasks, an unknown option, or a value that it does not take.
    """
    if name not in _LOSSES:
        raise unknown_name("loss", name, names(task))
    entry = _LOSSES[name]
    if task not in entry.tasks:
        raise UserError(
            f"loss {name} is for {' and '.join(sorted(entry.tasks))}: for {task.value} take one of "
            f"{', '.join(names(task))}"
        )
    options = check_options(f"loss {name}", entry.function, options, skip=_GIVEN[entry.kind])
    return Entry(entry.kind, partial(entry.function, **options), entry.tasks)
