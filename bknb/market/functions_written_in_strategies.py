"""Functions that are written where an indicator is asked for: each question makes another object of the same text."""

from __future__ import annotations

from functools import partial
from types import CellType, FunctionType
from typing import Any, NamedTuple

from numpy import ndarray

from ..errors import UsageError
from .candles import Candles


class Written(NamedTuple):
    """A function as it is now.

    Attributes
    ----------
    key : object
        Equal for functions of the same text that hold the same values. The ``function`` keeps what it is made of alive.
    function : callable
        One that does not change when variables of the strategy do.
    """

    key: object
    function: Any


def written(function: Any, context: object) -> Written:
    """What a function is made of, and a copy of it that holds its values as they are now.

    Functions that it holds, and that of a ``partial``, are taken in the same way. A list or another thing that can be
    changed is the same as long as it is the same object, an array as long as its numbers are the same.

    Parameters
    ----------
    function : callable
    context
        Of the question, or the candles of ``get_signals``: it may not hold this one, nor another of its class.

    Raises
    ------
    UsageError
        When it holds the context of a question, or candles.

    Examples
    --------
    >>> one, two, other = (written(lambda close, by=by: close * by, ...) for by in (2, 2, 3))
    >>> one.key == two.key, one.key == other.key
    (True, False)
    """
    return Written(*_taken(function, (getattr(function, "__name__", "function"), type(context)), {}))


def _taken(value: Any, told: tuple[str, type], known: dict[int, Any]) -> tuple[object, Any]:
    """A key of what a function holds, and a copy.

    ``told`` is what the function is called, and of which class it holds nothing; ``known`` are copies of functions by
    the originals.
    """
    if isinstance(value, told[1]):
        what = "the candles of get_signals" if told[1] is Candles else "ctx"
        raise UsageError(
            f"the indicator {told[0]} reads {what}, so its values would be of the moment "
            "of one question and not of their candles\nuse it with what the indicator returns"
        )
    if type(value) is partial:
        parts = [_taken(each, told, known) for each in (value.func, *value.args, *value.keywords.values())]
        count = 1 + len(value.args)
        copy = partial(parts[0][1], *(each[1] for each in parts[1:count]))
        copy.keywords.update(zip(value.keywords, (each[1] for each in parts[count:]), strict=True))
        return (partial, count, tuple(value.keywords), *(each[0] for each in parts)), copy
    if type(value) is not FunctionType:
        return _value(value)
    if id(value) in known:
        return id(value.__code__), known[id(value)]
    return _function(value, told, known)


def _value(value: Any) -> tuple[object, Any]:
    if isinstance(value, ndarray) and value.dtype != object:
        return (value.dtype.str, value.shape, value.tobytes()), value.copy()
    try:
        hash(value)
    except TypeError:
        return (type(value), id(value)), value
    return (type(value), value), value


def _function(value: FunctionType, told: tuple[str, type], known: dict[int, Any]) -> tuple[object, FunctionType]:
    cells = value.__closure__ or ()
    copies = tuple(CellType() for _ in cells)
    copy = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, copies or None)
    copy.__kwdefaults__ = value.__kwdefaults__
    copy.__dict__.update(value.__dict__)
    known[id(value)] = copy
    held: list[object] = []
    for cell, own in zip(cells, copies, strict=True):
        try:
            now = cell.cell_contents
        except ValueError:  # nothing yet
            held.append(None)
            continue
        key, own.cell_contents = _taken(now, told, known)
        held.append(key)
    given = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    keys = tuple(_taken(each, told, known)[0] for each in given)
    return (id(value.__code__), id(value.__globals__), tuple(held), keys), copy
