"""Values that users write, such as a signal: one that is made with the wrong arguments says what it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec


class _SaysWhatItTakes(msgspec.StructMeta):
    if not TYPE_CHECKING:  # type checkers know the arguments of each class

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().__call__(*args, **kwargs)
            except TypeError:
                fault = _fault(self, args, kwargs)
                if not fault:
                    raise
                raise TypeError(fault) from None


class ByName(msgspec.Struct, frozen=True, metaclass=_SaysWhatItTakes):
    """A frozen struct of which wrong arguments are a ``TypeError`` that names what was expected.

    Examples
    --------
    >>> class Level(ByName, frozen=True, kw_only=True):
    ...     price: float
    >>> Level(5.0)
    Traceback (most recent call last):
    TypeError: Level takes its values by name, such as Level(price=5.0); got 5.0 without a name
    >>> Level(prise=5.0)
    Traceback (most recent call last):
    TypeError: Level has no prise, did you mean price; it takes price
    """


def check_options(
    call: str, given: Iterable[str], known: Iterable[str], instead: Mapping[str, str] | None = None
) -> None:
    """Check that a call knows all options that it was given.

    Parameters
    ----------
    call
        What was called, as a user writes it.
    given, known
        The names of options.
    instead
        What there is instead of options that others have.

    Raises
    ------
    TypeError
        It does not know one of them; the text names the nearest that it knows.

    Examples
    --------
    >>> check_options("bknb.Live.portfolio", ["capitel"], ["capital", "costs"])
    Traceback (most recent call last):
    TypeError: bknb.Live.portfolio takes no 'capitel'; did you mean 'capital'?
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            more = f": {(instead or {})[name]}" if name in (instead or {}) else ""
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(names)}"
            raise TypeError(f"{call} takes no {name!r}{more or hint}")


def _fault(cls: type[msgspec.Struct], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What is wrong with the arguments of a struct, in one line; empty where each has its value."""
    name, fields = cls.__name__, cls.__struct_fields__
    needed = [field.name for field in msgspec.structs.fields(cls) if field.required]
    takes = f"it takes {', '.join(fields)}"
    for given in kwargs:
        if given not in fields:
            near = get_close_matches(given, fields, n=1) or [field for field in fields if given in field][:1]
            return f"{name} has no {given}{f', did you mean {near[0]}' if near else ''}; {takes}"
    if args and not fields:
        return f"{name} takes no values; got {args[0]!r:.60}"
    if args and not cls.__match_args__:
        example = f"{name}({[*needed, *fields][0]}={args[0]!r:.60})"
        return f"{name} takes its values by name, such as {example}; got {args[0]!r:.60} without a name"
    twice = [field for field in fields[: len(args)] if field in kwargs]
    if twice:
        return f"{name} got {twice[0]} twice, with its name and without; {takes}"
    if len(args) > len(fields):
        return f"{name} got {len(args)} values; {takes}"
    missing = next((field for field in needed if field not in (*fields[: len(args)], *kwargs)), "")
    got = ", ".join([*(f"{value!r:.60}" for value in args), *kwargs]) or "nothing"
    return f"{name} needs {missing}, got {got}; {takes}" if missing else ""
