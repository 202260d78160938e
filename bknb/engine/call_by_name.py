"""Calling a user's function: give it what it asks for by name, and tell where it failed."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from ..market.context import Context

Ask = Callable[[Context], Any]

_OFFERED: Final[dict[str, Callable[[Context], Any]]] = {
    "ctx": lambda ctx: ctx,
    "symbol": lambda ctx: ctx.symbol,
    "when": lambda ctx: ctx.when,
    "price": lambda ctx: ctx.price,
}
_OUR_FOLDER: Final = str(Path(__file__).resolve().parent.parent)


def asker(function: Callable[..., Any]) -> Ask:
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
        if parameter.name in _OFFERED and parameter.kind != parameter.POSITIONAL_ONLY:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            name = getattr(function, "__name__", "get_signal")
            raise UsageError(
                f"{name} asks for {parameter.name!r}\na strategy may ask for any of {', '.join(_OFFERED)} by name; "
                "give other parameters a default"
            )
    if wanted == ["ctx"]:
        return lambda ctx: function(ctx=ctx)
    getters = [(name, _OFFERED[name]) for name in wanted]
    return lambda ctx: function(**{name: get(ctx) for name, get in getters})


def where_it_failed(error: BaseException) -> str:
    """The innermost line of the user's own code in a traceback, with its text; empty when there is none.

    Lines of bknb itself do not count, so an error that bknb raised is told at the line that called it.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(_OUR_FOLDER) or not frame.lineno:
            continue
        text = (frame.line or linecache.getline(frame.filename, frame.lineno)).strip()
        name = frame.filename if frame.filename.startswith("<") else Path(frame.filename).name
        return f"{name}, line {frame.lineno}: {text}"
    return ""
