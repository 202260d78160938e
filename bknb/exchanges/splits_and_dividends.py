"""A table of splits and dividends: what is due when, and on which date, of each symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS
from ..errors import BadCandle, UsageError
from ..market.candle_numbers import as_numbers
from ..market.column_names import KEYS, looks_like_time, plain_name
from ..market.daylight_saving import checked_zone, to_utc
from ..market.symbol_column import symbols_in_column
from ..market.time_units import plain_value, read_times, without_zone

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_TIMES: Final = ("date", "datetime", "timestamp", "time", "ex_date")
_SPLITS: Final = ("splits", "split", "stock_splits", "stock_split")
_DIVIDENDS: Final = ("dividends", "dividend")


class Action(NamedTuple):
    """What changed the price of a share without a trade.

    Attributes
    ----------
    when : int
        The moment from which shares trade with it, UTC milliseconds.
    split : float
        Shares for each one before; 1: no split.
    dividend : float
        Paid for each share before, in quote currency; 0: none.
    date : int
        UTC midnight of the date as it is written, in whatever zone, UTC milliseconds: that of a daily bar.
    """

    when: int
    split: float
    dividend: float
    date: int


def read_actions(table: pd.DataFrame, *, tz: str | None = None) -> dict[str | None, tuple[Action, ...]]:
    """Splits and dividends of each symbol, oldest first; under ``None`` those of a table without symbols.

    Parameters
    ----------
    table
        Dates as the index or a column ``date``; columns ``splits`` (shares for each one before, 4 for four-for-one; 0
        or nothing: none) and ``dividends`` (per share as it was then; 0 or nothing: none), or one of them; perhaps a
        column ``symbol``.
    tz
        The zone of dates that bear none; ``None``: UTC.

    Raises
    ------
    UsageError
        It is no such table.
    BadCandle
        A date or a value cannot be read, or contradicts another.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"date": ["2020-08-31"], "Stock Splits": [4.0]})
    >>> read_actions(table, tz="America/New_York")
    {None: (Action(when=1598846400000, split=4.0, dividend=0.0, date=1598832000000),)}
    """
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise UsageError(
            f"adjust needs a DataFrame of splits and dividends, or a column's name, got {type(table).__name__}"
        )
    known: dict[str, Any] = {}
    for label in table.columns:
        name = plain_name(label)
        if name in known and name in (*_TIMES, *_SPLITS, *_DIVIDENDS, *KEYS):
            raise UsageError(f"adjust: two columns are called {name!r}\nleave one of them out, or rename it")
        known.setdefault(name, label)

    def named(names: tuple[str, ...]) -> Any:
        return next((known[name] for name in names if name in known), None)

    times, key = named(_TIMES), named(KEYS)
    columns = named(_SPLITS), named(_DIVIDENDS)
    dated = isinstance(table.index, pd.DatetimeIndex) or plain_name(table.index.name) in _TIMES
    dated = dated or (table.index.name is None and len(table) > 0 and looks_like_time(table.index[0]))
    if (times is None and not dated) or columns == (None, None):
        raise UsageError(
            "adjust needs dates (the index, or a column 'date') and a column 'splits' or 'dividends'\n"
            f"found: {', '.join(map(str, table.columns))}"
        )
    given = table.index.to_series() if times is None else table[times]
    try:
        read = read_times(given, where="adjust", place="row {}".format)
    except BadCandle as error:
        advice = "write the dates of the table as 2024-01-31, or as datetimes: pd.to_datetime(..., format=...)"
        raise BadCandle(f"{str(error).partition(chr(10))[0]}\n{advice}") from None
    splits, dividends = (_amounts(table, label, least) for label, least in zip(columns, (1.0, 0.0), strict=True))
    keys = [None] * len(table) if key is None else [*symbols_in_column(table[key], "adjust", "row {}".format)]
    found: dict[str | None, list[Action]] = {each: [] for each in keys or ([None] if key is None else [])}
    order = np.argsort(read.ms, kind="stable")
    when = (
        to_utc(read.ms[order], checked_zone(tz), where="adjust")[0] if read.naive and tz is not None else read.ms[order]
    )
    written = read.ms if read.naive else read_times(without_zone(given), where="adjust", place="row {}".format).ms
    dates = written[order] // DAY_MS * DAY_MS
    for at, moment, date in zip(order.tolist(), when.tolist(), dates.tolist(), strict=True):
        if splits[at] != 1 or dividends[at] != 0:
            found[keys[at]].append(Action(moment, float(splits[at]), float(dividends[at]), date))
    return {each: _of_moments(actions) for each, actions in found.items()}


def _amounts(table: pd.DataFrame, label: Any, nothing: float) -> NDArray[np.float64]:
    """A column of numbers; 0 and what is empty are ``nothing``."""
    if label is None:
        return np.full(len(table), nothing)
    given = table[label]
    values = as_numbers(given)
    bad = (np.isnan(values) & given.notna().to_numpy()) | np.isinf(values) | (values < 0)
    if bad.any():
        at = int(np.argmax(bad))
        raise BadCandle(
            f"adjust, row {given.index[at]}: {str(label).strip()} must be a number of at least 0, got "
            f"{plain_value(given.iloc[at])!r}\na split of four for one is 4, one of one for ten 0.1"
        )
    return np.where(np.isnan(values) | (values == 0), nothing, values)


def _of_moments(actions: list[Action]) -> tuple[Action, ...]:
    """One action for each moment: several dividends are paid together, and nothing else can be."""
    found: list[Action] = []
    for action in actions:
        if not found or found[-1].when != action.when:
            found.append(action)
        elif found[-1].split == action.split == 1:
            found[-1] = action._replace(dividend=found[-1].dividend + action.dividend)
        else:
            raise _unordered(action)
    for action in found:
        if action.split != 1 and action.dividend:
            raise _unordered(action)
    return tuple(found)


def _unordered(action: Action) -> BadCandle:
    return BadCandle(
        f"adjust: a split and something else on {utc_text(action.when)}: it is open which comes first\n"
        "give each a moment of its own, the later one a minute later (beside bars shorter than a day the earlier one a "
        "second earlier), or leave out what is there twice"
    )
