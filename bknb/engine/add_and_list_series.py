"""Registering point-in-time series: tables, or functions that return them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..market.point_in_time_series import Published
from ..market.series_tables import Columns, checked_columns, is_table, read_frame, read_published
from .registration_checks import checked_name
from .registry import AnyFunction, registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True, slots=True)
class SeriesSource:
    """A registered point-in-time series.

    Attributes
    ----------
    name : str
    columns : Columns
        How its tables are read.
    table : Published or None
        Its rows; ``None`` where a function is asked for them.
    function : callable or None
    """

    name: str
    columns: Columns = field(repr=False)
    table: Published | None = field(default=None, repr=False, compare=False)
    function: AnyFunction | None = None


def add_series(
    name: str,
    source: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]] | AnyFunction,
    *,
    time: str = "published_at",
    delay: str | timedelta = "0m",
    tz: str | None = None,
    key: str | Sequence[str] | None = None,
    strict: bool = False,
) -> SeriesSource:
    """Register a point-in-time series: news, sentiment, funding, fundamentals, whatever is published now and then.

    A strategy reads it with ``bknb.get_series`` or ``ctx.series``, and sees what was known at the moment of its
    question: rows whose ``time`` plus ``delay`` has come.

    Parameters
    ----------
    name
        The name strategies use.
    source
        A DataFrame, a mapping of columns or a list of mappings, one row for each publication; it is copied. Or a
        function ``(since, until)``, sync or async, that returns such a table of the rows that were published from
        ``since`` to ``until`` (UTC ms, both included; ``since`` is 0 at first). A run asks it at its first use; a live
        run asks again at each later question, about the last day and the delay before it too. Columns may hold
        numbers, text and aware datetimes; one called ``symbol`` (or ``ticker``, ``pair``, ``instrument``) says whose a
        row is.
    time
        The column that says when a row was published: when people could know it, not what it is about. Aware
        datetimes, text with an offset, or numbers since 1970 (s, ms, us, ns); also the index, where it is named so.
    delay
        How long after that a strategy knows it, as a span (``"30s"``, ``"5m"``, ``"2h"``, ``"1d"``) or a timedelta.
    tz
        The zone of times that have none, such as ``"UTC"`` or ``"America/New_York"``; without it they are refused.
    key
        Column or columns that say what a row is about, such as the period. A row equal in them, and in its symbol, to
        one published before is a revision of it; one without a value in them is not. By default ``event_time``, where
        there is such a column.
    strict
        Refuse to replace a series of that name.

    Raises
    ------
    UsageError
        When it is no such table or function, when there is no column of times, or when times have no zone.
    DataError
        When a value is missing in it or is of another kind. What was registered before stays.

    Notes
    -----
    Where a table holds final numbers beside the times of their first publication, it has the future in it, and nothing
    can see that: keep each revision as a row of its own.

    Examples
    --------
    >>> import bknb
    >>> rows = [{"published_at": "2024-01-01 08:00+00:00", "symbol": "BTCUSDT", "rate": 0.01},
    ...         {"published_at": "2024-01-01 16:00+00:00", "symbol": "BTCUSDT", "rate": 0.03}]
    >>> bknb.add_series("funding", rows, delay="5m").name
    'funding'
    >>> bknb.list_series()
    ['funding']
    """
    checked_name("series", name)
    columns = checked_columns(name, time=time, delay=delay, tz=tz, key=key)
    made = _source(columns, source)
    return registry.series.add(name, made, strict=strict)  # type: ignore[no-any-return]  # its table knows no type


def _source(columns: Columns, source: object) -> SeriesSource:
    if is_table(source):
        table = read_published(read_frame(source, columns), columns)
        if not len(table):
            raise UsageError(
                f"{columns.where} has no rows\ngive a table with some, or a function (since, until) that returns them"
            )
        return SeriesSource(columns.name, columns, table=table)
    if not callable(source):
        read_frame(source, columns)  # says what it must be
        raise UsageError(f"{columns.where} needs a table or a function (since, until), got nothing")
    try:
        inspect.signature(source).bind(0, 0)
    except TypeError:
        raise UsageError(
            f"{columns.where}: the function {getattr(source, '__name__', source)!r} must take two arguments, since and "
            "until (UTC ms)\nlet it return the rows that were published from since to until"
        ) from None
    except ValueError:  # it does not say what it takes
        pass
    return SeriesSource(columns.name, columns, function=source)


def list_series() -> list[str]:
    """Names of the registered point-in-time series, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_series("score", {"published_at": [1_704_067_200], "value": [0.5]})
    >>> "score" in bknb.list_series()
    True
    """
    return registry.series.names()
