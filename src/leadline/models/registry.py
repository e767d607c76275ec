"""Names of networks and the factories behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from leadline.errors import UserError, unknown_name
from leadline.models.network import Network

Factory = Callable[..., Network]
F = TypeVar("F", bound=Factory)
_FACTORIES: dict[str, Factory] = {}


def register(name: str) -> Callable[[F], F]:
    """Gives a factory the name under which `create`, recipes and checkpoints know it."""

    def keep(factory: F) -> F:
        _FACTORIES[name] = factory
        return factory

    return keep


def names() -> list[str]:
    """The registered network names, sorted."""
    return sorted(_FACTORIES)


def create(name: str, **config: Any) -> Network:
    """An untrained network by name.

    Args:
        name: a registered name, as `leadline models` lists them.
        config: fields of the network's config that differ from the named size.

    Raises:
        UserError: unknown name or config field, or a value that the architecture does not allow.
    """
    if name not in _FACTORIES:
        raise unknown_name("network", name, names())
    try:
        network = _FACTORIES[name](**config)
    except TypeError as error:
        default = _FACTORIES[name]()
        fields = [field.name for field in dataclasses.fields(default.config)]
        for key, value in config.items():
            if key not in fields:
                raise unknown_name(f"option of {name}", key, fields) from error
            usual = getattr(default.config, key)
            if not isinstance(value, type(usual)):
                raise UserError(f"{name}: {key} is a {type(usual).__name__} such as {usual}, not {value!r}") from error
        raise UserError(f"{name}: {error}") from error
    network.name = name
    return network
