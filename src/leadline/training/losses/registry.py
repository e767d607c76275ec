"""Names of the losses, what each looks at, and the checks of their options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from leadline.errors import unknown_name
from leadline.training.options import check_options

Function = Callable[..., Tensor]
F = TypeVar("F", bound=Function)


class Kind(StrEnum):
    """What a loss is called with."""

    SUPERVISED = "supervised"  # prediction, truth, valid
    DISTRIBUTION = "distribution"  # scores, spacing, truth, valid
    IMAGES = "images"  # prediction, left, right
    BOTH_VIEWS = "both views"  # left prediction, right prediction


@dataclass(frozen=True)
class Entry:
    kind: Kind
    function: Function


_LOSSES: dict[str, Entry] = {}
_GIVEN = {Kind.SUPERVISED: 3, Kind.DISTRIBUTION: 4, Kind.IMAGES: 3, Kind.BOTH_VIEWS: 2}


def loss(name: str, kind: Kind = Kind.SUPERVISED) -> Callable[[F], F]:
    """Gives a function the name under which recipes know it."""

    def keep(function: F) -> F:
        _LOSSES[name] = Entry(kind, function)
        return function

    return keep


def names() -> list[str]:
    """The registered names, sorted."""
    return sorted(_LOSSES)


def make_loss(name: str, **options: Any) -> Entry:
    """A loss with its options set.

    Raises:
        UserError: unknown name or option, or a value that the option does not take.
    """
    if name not in _LOSSES:
        raise unknown_name("loss", name, names())
    entry = _LOSSES[name]
    options = check_options(f"loss {name}", entry.function, options, skip=_GIVEN[entry.kind])
    return Entry(entry.kind, partial(entry.function, **options))
