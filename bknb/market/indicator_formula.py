"""How values of an indicator are made of a block of candles: which columns a function takes, what it may return."""

from __future__ import annotations

import contextvars
import inspect
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..errors import UsageError
from .candles import COLUMNS, Candles
from .talib_functions import check_switches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TALIBS: Final = {"real": "close"}  # what functions of TA-Lib call the values they take
_TIMES: Final = COLUMNS.index("timestamp")


class Made(NamedTuple):
    """Values of a block, shape (outputs, rows), and how several of them are called; ``None``: there is one."""

    values: Floats
    names: tuple[str, ...] | None


class Formula(NamedTuple):
    """A function of candles, and what it is given.

    Attributes
    ----------
    name : str
        For messages.
    function : callable
    takes : tuple
        Its arguments in order: a column or ``"candles"`` by name, parameters as :class:`Parameter`.
    lookback : int
        How many candles before a value decide it.
    is_known : bool
        Whether it is one of ours, which are tested; others show first that they are causal.
    looks_back_by_hand : bool
        Whether somebody chose a look-back of which it is not known that it suffices.
    has_switches : bool
        Whether a global switch of TA-Lib may change its values.
    """

    name: str
    function: Callable[..., Any]
    takes: tuple[str | Parameter, ...]
    lookback: int
    is_known: bool = False
    looks_back_by_hand: bool = True
    has_switches: bool = True

    def of(self, block: Floats) -> Made:
        """The values for candles in a block of memory, shape (6, n), all of whose columns may be written to.

        Raises
        ------
        UsageError
            When the function returns something else than arrays of their length, or a switch of TA-Lib was changed.
        """
        if self.has_switches:
            check_switches()
        given = (self._given(each, block) for each in self.takes)
        # no context variable is set in an empty context: it sees what it is given, not the moment of a question
        answer = contextvars.Context().run(_without_warnings, self.function, *given)
        return read_values(answer, block.shape[1], self.name)

    def _given(self, what: str | Parameter, block: Floats) -> Any:
        if isinstance(what, Parameter):
            return what.value
        if what == "candles":
            return Candles(block)
        column = block[COLUMNS.index(what)]
        return column.view(np.int64) if what == "timestamp" else column


def _without_warnings(function: Callable[..., Any], *given: Any) -> Any:
    """What a function returns: in rows that stand still much is divided by zero, and thrown away."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return function(*given)


class Parameter(NamedTuple):
    """What a function is given beside candles."""

    value: Any


def arguments_of(function: Callable[..., Any], given: tuple[Any, ...], name: str) -> tuple[str | Parameter, ...]:
    """What a function takes, in order: columns by the names of its parameters, what was given for the others.

    Where no parameter has the name of a column, the first one is given the candles. ``real`` is that of the close, as
    in TA-Lib.

    Raises
    ------
    UsageError
        When it takes fewer or more.

    Examples
    --------
    >>> arguments_of(lambda high, low, length: None, (20,), "f")
    ('high', 'low', Parameter(value=20))
    >>> arguments_of(lambda c: None, (), "f")
    ('candles',)
    """
    try:
        taken = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return "candles", *map(Parameter, given)
    rest = [Parameter(value) for value in given]
    plain = [each for each in taken if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    by_name = {each.name for each in plain} & {*COLUMNS, *_TALIBS, "candles"}
    found: list[str | Parameter] = []
    for place, each in enumerate(plain):
        if each.name in by_name or (not by_name and not place):
            found.append(_TALIBS.get(each.name, each.name) if by_name else "candles")
        elif rest:
            found.append(rest.pop(0))
        elif each.default is not each.empty:
            break
        else:
            raise UsageError(f"{name} takes {each.name!r}, and nothing is given for it\ngive it behind the interval")
    alone = [each.name for each in taken if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if alone:
        raise UsageError(
            f"{name} takes {alone[0]!r} by name alone, and an indicator gives none by name\nput it in front of the *, "
            "or give it a default"
        )
    behind = {each.name for each in plain[len(found) :]} & by_name
    if behind:
        raise UsageError(f"{name} takes {min(behind)!r} behind parameters that are not given\nput columns first")
    if not by_name and not plain and not any(each.kind is each.VAR_POSITIONAL for each in taken):
        raise UsageError(
            f"{name} takes no candles\nan indicator is a function of candles, or of columns by their names"
        )
    if rest and not any(each.kind is each.VAR_POSITIONAL for each in taken):
        raise UsageError(f"{name} takes {len(given) - len(rest)} parameters behind the interval, got {len(given)}")
    return *(found or ("candles",)), *rest


def read_values(answer: Any, rows: int, name: str) -> Made:
    """What a function of candles returned, as floats.

    Raises
    ------
    UsageError
        When it is not one array of ``rows`` values, or several: a tuple, a mapping, a table with columns; or when its
        rows are in another order than the candles.
    """
    fields: tuple[str, ...] | None = None
    if isinstance(answer, Mapping):
        fields, parts = tuple(map(str, answer)), [*answer.values()]
    elif hasattr(answer, "columns") and hasattr(answer, "to_numpy"):
        fields = tuple(map(str, answer.columns))
        parts = [answer.iloc[:, at].to_numpy() for at in range(len(fields))]
    elif isinstance(answer, tuple):
        parts = [*answer]
        fields = getattr(answer, "_fields", tuple(f"_{at}" for at in range(len(parts))))
    else:
        parts = [answer]
    if any(map(_is_reordered, (answer, *parts))):
        raise UsageError(
            f"the indicator {name} must return its values in the order of the candles, the oldest first; got a "
            f"{type(answer).__name__} whose index is in another order\nput it in order before, as .sort_index() does"
        )
    if any(np.iscomplexobj(part) for part in parts):
        raise UsageError(
            f"the indicator {name} must return a number for each of its {rows} candles\ngot an array of complex "
            "numbers: take .real or np.abs of it"
        )
    try:
        arrays = [np.asarray(part, dtype=np.float64) for part in parts]
    except (TypeError, ValueError):
        arrays = []
    if not arrays or any(each.shape != (rows,) for each in arrays):
        got = f"{type(answer).__name__} of the shape {np.shape(parts[0])}" if len(parts) == 1 else f"{answer!r:.60}"
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            got = f"{type(answer).__name__}; it must be a plain function"
        raise UsageError(
            f"the indicator {name} must return a number for each of its {rows} candles, as one array, or several "
            f"arrays as a tuple, a dict or a DataFrame\ngot {got}"
        )
    return Made(np.stack(arrays), fields)


def _is_reordered(answer: Any) -> bool:
    """Whether rows that have numbers or times of their own, as those of a series of pandas, are in another order."""
    index: Any = getattr(answer, "index", None)
    if not hasattr(index, "is_monotonic_increasing"):
        return False
    if index.nlevels > 1:  # of groups; the rows they were made of are behind
        index = index.get_level_values(-1)
    return bool(index.dtype.kind in "iuM" and index.is_unique and not index.is_monotonic_increasing)


def maker_of(names: tuple[str, ...] | None) -> Callable[..., Any] | None:
    """The kind of tuple in which several outputs are handed out; ``None``: there is one."""
    return None if names is None else namedtuple("Values", names, rename=True)


def padded(known: Floats, rows: int, step: int) -> Floats:
    """Candles in a block of ``rows``: behind the known ones the newest, at times that go on by ``step`` ms.

    Examples
    --------
    >>> block = np.array([[0.0], [1.0], [2.0], [1.0], [1.5], [9.0]])
    >>> padded(block, 3, 60_000)[4].tolist()
    [1.5, 1.5, 1.5]
    """
    count = known.shape[1]
    block = np.empty((len(COLUMNS), max(rows, count)))
    block[:, :count] = known
    if count < rows:
        block[:, count:] = known[:, count - 1 : count]
        times = block[_TIMES].view(np.int64)
        times[count:] += step * np.arange(1, rows - count + 1)
    return block
