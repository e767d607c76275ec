"""Names of what can be imitated, what each looks at, and the checks of their options."""

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


class Sees(StrEnum):
    """What a term is called with."""

    PREDICTIONS = "predictions"  # student, teacher, weight
    SCORES = "scores"  # student's scores and their spacing, those of each teacher, weight
    LAYERS = "layers"  # student's features, teacher's features


@dataclass(frozen=True)
class Term:
    sees: Sees
    function: Function
    adapted: bool = False  # the student's features go through a trained 1x1 convolution first


_TERMS: dict[str, Term] = {}
_GIVEN = {Sees.PREDICTIONS: 3, Sees.SCORES: 4, Sees.LAYERS: 2}


def term(name: str, sees: Sees, adapted: bool = False) -> Callable[[F], F]:
    """Gives a function the name under which recipes know it."""

    def keep(function: F) -> F:
        _TERMS[name] = Term(sees, function, adapted)
        return function

    return keep


def names() -> list[str]:
    """The registered names, sorted."""
    return sorted(_TERMS)


def make_term(name: str, **options: Any) -> Term:
    """A term with its options set.

    Raises:
        UserError: unknown name or option, or a value that the option does not take.
    """
    if name not in _TERMS:
        raise unknown_name("thing to imitate", name, names())
    found = _TERMS[name]
    options = check_options(f"distill {name}", found.function, options, skip=_GIVEN[found.sees])
    return Term(found.sees, partial(found.function, **options), found.adapted)
