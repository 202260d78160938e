"""Marked equity by calendar: returns of periods, a calendar table, the deepest drawdowns."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.whole_number import whole_number
from ..errors import UsageError
from ..metrics.account_sharpe_sortino_and_drawdown import period_returns, under_water
from ..metrics.compounding import drawdown

if TYPE_CHECKING:
    import pandas as pd

    from ..metrics.marked_equity import MarkedEquity
    from ..metrics.marked_positions import Times

Period: TypeAlias = Literal["day", "week", "month", "quarter", "year"]

_CODES: Final = {"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}


def returns_of(marked: MarkedEquity, freq: str, *, sessions: bool = False) -> pd.Series:
    """Returns of periods as fractions, by their beginnings; a mark at the end of a period belongs to that period.

    With ``sessions`` periods without a bar are left out.
    """
    import pandas as pd

    edges = edges_of(freq, int(marked.time_ms[0]), int(marked.time_ms[-1]))
    begins, returns = period_returns(marked, edges, sessions=sessions)
    index = pd.DatetimeIndex(pd.to_datetime(begins, unit="ms", utc=True))
    return pd.Series(returns + 0.0, index=index, name="returns")


def edges_of(freq: object, start: int, end: int) -> Times:
    """Beginnings of the periods that a frame touches, and the end of the last one; UTC ms.

    Lengths of time are counted from the midnight at or before the start. Periods that pandas names by their last day
    ("W", "ME", "QE") begin on the day after the last day of the one before.
    """
    import pandas as pd
    from pandas.tseries.frequencies import to_offset
    from pandas.tseries.offsets import BaseOffset

    expected = f"returns need a pandas frequency such as '1D', '1h', 'W' or 'MS', got {freq!r}"
    if not isinstance(freq, str | timedelta | BaseOffset):
        raise UsageError(expected)
    try:
        offset: Any = to_offset(freq)
    except ValueError as error:
        raise UsageError(f"{expected} ({error})") from None
    if offset.n < 1:
        raise UsageError(f"{expected}; it must be longer than nothing")
    behind, midnight = max(end, start + 1), start // DAY_MS * DAY_MS
    if isinstance(offset, pd.offsets.Tick | pd.offsets.Day):
        length = pd.Timedelta(offset.n, unit="D") if isinstance(offset, pd.offsets.Day) else pd.Timedelta(offset)
        minutes, rest = divmod(length, pd.Timedelta(1, unit="min"))
        if rest or not minutes:
            raise UsageError(f"{expected}; the account is marked once a minute, so it must be whole minutes")
        step = int(minutes) * MINUTE_MS
        first = midnight + (start - midnight) // step * step
        return np.arange(first, behind + step, step, dtype=np.int64)
    named = type(offset).__name__
    last_day = pd.Timedelta(1 if named == "Week" or named.endswith("End") else 0, unit="D")
    edges = [offset.base.rollback(pd.Timestamp(midnight, unit="ms") - last_day)]
    until = pd.Timestamp(behind, unit="ms")
    while edges[-1] + last_day < until:
        edges.append(edges[-1] + offset)
    return (pd.DatetimeIndex(edges) + last_day).as_unit("ms").asi8


def calendar_of(marked: MarkedEquity, trades: pd.DataFrame, period: str, *, sessions: bool = False) -> pd.DataFrame:
    """One row per calendar period: ``return`` and ``max_drawdown`` in percent, ``positions`` closed in it.

    With ``sessions`` periods without a bar are left out.
    """
    import pandas as pd

    if period not in _CODES:
        raise UsageError(f"calendar() needs one of {', '.join(map(repr, _CODES))}, got {period!r}")
    code = _CODES[period]
    start, end = (pd.Timestamp(int(marked.time_ms[at]), unit="ms") for at in (0, -1))
    # A mark at midnight ends the period before; the start begins its own.
    newest = max(end - pd.Timedelta(1, unit="ms"), start)
    names = pd.period_range(start.to_period(code), newest.to_period(code))
    edges = np.append(names.start_time.as_unit("ms").asi8, (names[-1] + 1).start_time.as_unit("ms").value // 10**6)
    begins, returns = period_returns(marked, edges, sessions=sessions)
    numbers = np.searchsorted(edges, begins)
    until = np.searchsorted(marked.path_time_ms, edges[1:], side="right")[numbers]
    since = np.concatenate(([0], until - 1))[: len(until)]
    closed = pd.DatetimeIndex(trades["closed_at"]).tz_localize(None)
    ended = closed.where(closed < end, newest).to_period(code)
    rows = [
        {
            "return": change * 100 + 0.0,
            "max_drawdown": -float(drawdown(marked.path[first:behind]).min()) + 0.0,
            "positions": int((ended == name).sum()),
        }
        for change, first, behind, name in zip(returns, since, until, names[numbers], strict=True)
    ]
    return pd.DataFrame(rows, index=names[numbers].rename(period), columns=["return", "max_drawdown", "positions"])


def drawdowns_of(marked: MarkedEquity, n: int) -> pd.DataFrame:
    """The ``n`` deepest drawdowns, the deepest first."""
    import pandas as pd

    from ..reports.time_columns import with_times

    count = whole_number("n of drawdowns()", n, least=1)
    found = [
        (
            fall.peak_ms,
            fall.trough_ms,
            fall.end_ms if fall.recovered else None,
            fall.percent,
            (fall.end_ms - fall.peak_ms) / DAY_MS,
        )
        for fall in under_water(marked)
    ]
    found.sort(key=lambda row: (-row[3], row[0]))
    table = pd.DataFrame(found[:count], columns=["peak", "trough", "recovered", "drawdown", "days"])
    return with_times(table, ("peak", "trough", "recovered")).astype({"drawdown": "float64", "days": "float64"})
