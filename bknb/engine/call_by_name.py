"""Calling a user's function with what it asks for by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from ..errors import UsageError
from ..market.strategy_context import Context

Ask = Callable[[Context], Any]

_ARGUMENTS: Final[dict[str, Callable[[Context], Any]]] = {
    "ctx": lambda ctx: ctx,
    "symbol": lambda ctx: ctx.symbol,
    "when": lambda ctx: ctx.when,
    "price": lambda ctx: ctx.price,
}


def calling_by_name(function: Callable[..., Any]) -> Ask:
    """A function of one context that calls ``function`` with what its parameters ask for.

    Raises
    ------
    UsageError
        When it has a parameter without default that bknb does not offer.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function
    wanted: list[str] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in _ARGUMENTS and parameter.kind != parameter.POSITIONAL_ONLY:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            name = getattr(function, "__name__", "get_signal")
            raise UsageError(
                f"{name} asks for {parameter.name!r}\na strategy may ask for any of {', '.join(_ARGUMENTS)} by name; "
                "give other parameters a default"
            )
    if wanted == ["ctx"]:
        return lambda ctx: function(ctx=ctx)
    getters = [(name, _ARGUMENTS[name]) for name in wanted]
    return lambda ctx: function(**{name: get(ctx) for name, get in getters})
