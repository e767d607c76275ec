"""Options of what a recipe names: losses and schedules are functions whose signatures say which options they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from leadline.errors import UserError, unknown_name


def check_options(what: str, function: Callable[..., Any], options: dict[str, Any], skip: int) -> dict[str, Any]:
    """The options as the function's annotations want them (1 for a float becomes 1.0).

    Args:
        what: "loss huber": for the messages.
        function: its parameters are the options; an Annotated one may carry a range.
        options: as the recipe has them.
        skip: how many of the first parameters are no options.

    Raises:
        UserError: an unknown option, a missing one, a value of another type or out of its range.
    """
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    known = [parameter.name for parameter in parameters]
    for option in options:
        if option not in known:
            if not known:
                raise UserError(f"{what} has no option {option!r}: it takes none")
            raise unknown_name(f"option of {what}", option, known)
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and parameter.name not in options:
            raise UserError(f"{what}: {parameter.name!r} is missing")
    hints = get_type_hints(function, include_extras=True)
    return {option: _as(hints[option], value, f"{what}: {option}") for option, value in options.items()}


def _as(kind: Any, value: Any, where: str) -> Any:
    try:
        return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, got {value!r}") from error


def check_against_defaults(what: str, function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The same for functions of torch, whose annotations say less than their defaults: numbers, pairs of numbers.

    Raises:
        UserError: a value of another type than the default's.
    """
    parameters = inspect.signature(function).parameters
    checked = {}
    for option, value in options.items():
        default = parameters[option].default
        if isinstance(default, bool):
            good, form = isinstance(value, bool), "true or false"
        elif isinstance(default, int | float):
            good, form = _is_number(value), "a number"
        elif isinstance(default, tuple):
            good = isinstance(value, list | tuple) and len(value) == len(default)
            good = good and all(_is_number(part) or part is None for part in value)
            value, form = tuple(value) if good else value, f"a list of {len(default)} numbers"
        elif isinstance(default, str):
            good, form = isinstance(value, str), "a word"
        else:
            good, form = True, ""
        if not good:
            raise UserError(f"{what}: {option} is {form}, got {value!r}")
        checked[option] = value
    return checked


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
