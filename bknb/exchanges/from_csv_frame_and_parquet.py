"""Sources over candles of your own: a DataFrame, a CSV file, a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import MissingDependency, UsageError
from ..market.candle_rows import Reading
from ..market.candle_tables import Tables, read_table
from ..market.candles import Candles
from ..market.price_spikes_and_unit_changes import step_notes
from ..market.sessions import Sessions, as_sessions
from ..market.table_notes import TableNotes
from ..stores.atomic import as_path
from .csv_reading import csv_table
from .dataframe_source import FrameSource

if TYPE_CHECKING:
    import pandas as pd


def from_frame(
    frame: pd.DataFrame | Candles,
    *,
    symbol: str | None = None,
    name: str = "frame",
    sessions: Sessions | str | None = None,
    columns: Mapping[str, Any] | None = None,
    tz: str | None = None,
    time_format: str | None = None,
    stamp: str | None = None,
    adjust: pd.DataFrame | str | None = None,
    negative: bool = False,
) -> FrameSource:
    """A source over candles in a DataFrame (or ``Candles``): minutes, or longer bars such as days.

    How long the bars are is measured. With longer ones than minutes, ``bknb.backtest`` fills orders at their opens and
    in their ranges. Daily bars bear the UTC day they belong to; days of the week on which there is never one, and
    holidays, are no holes.

    Parameters
    ----------
    frame
        Columns ``open, high, low, close, volume`` in any case, and times as a column (``timestamp``, ``date``,
        ``unix``, ...; also ``date`` and ``time``) or as the index. Times are datetimes, text (ISO 8601,
        ``dd.mm.yyyy``, ...) or numbers since 1970 in s, ms, us or ns, recognised by their size. A column ``symbol``,
        ``ticker``, ``pair``, ``tic`` or ``instrument`` makes it the candles of many, and so do two levels of
        columns, as yfinance gives them, in either order. The values are copied.
    symbol
        ``None``: one series of candles is served under every symbol. Otherwise only this symbol is served.
    name
        For reports and messages.
    sessions
        When the market is open: ``"fx"``, ``"us-equities"``, an exchange's calendar such as ``"XLON"``, or
        :class:`bknb.Sessions`; ``None``: always, or of longer bars than minutes as they show it.
    columns
        Where names differ: from ``timestamp, open, high, low, close, volume, symbol`` to the name in the table; for
        the volume, a number for every row.
    tz
        The zone of times that bear none, such as ``"America/New_York"``; ``None``: they are UTC.
    time_format
        The form of times that are text, as ``strptime`` writes it; ``None``: recognised.
    stamp
        ``"close"`` for candles that bear the time of their close, ``"open"`` for those that bear that of their open;
        ``None``: the open, and weekly bars bear a Monday.
    adjust
        A table of splits and dividends, for prices as they were traded: dates as the index or a column ``date``, with
        the zone ``tz``; a column ``splits`` (shares for each one before: 4 is four for one), ``dividends`` (per share
        as it was then), or both; a column ``symbol`` where there are candles of several. Prices before each are put in
        the terms of those after it, as far as there are candles. Or the name of a column of adjusted closes, such as
        ``"Adj Close"``: prices are multiplied by what it is of the close, and volumes are left as they are.
    negative
        Whether prices at or below zero are traded, as of spreads, power, or oil in April 2020; else they are refused.

    Raises
    ------
    UsageError
        A column is missing.
    DataError
        The bars are of no interval, or of several lengths; the message holds what was measured.
    BadCandle
        A value is missing or is not a number, a time may be two, or two candles contradict each other.

    Examples
    --------
    >>> import asyncio, pandas as pd
    >>> times = pd.date_range("2022-01-01", periods=3, freq="min")
    >>> frame = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, index=times)
    >>> from_frame(frame).symbols is None, from_frame(frame, symbol="BTCUSDT").symbols
    (True, ('BTCUSDT',))
    >>> from_frame(pd.concat({"AAPL": frame, "MSFT": frame}, axis=1)).symbols
    ('AAPL', 'MSFT')
    >>> asyncio.run(from_frame(frame, tz="America/New_York").get_candles("AAPL", "1m", 0, 100_000_000))
    Candles(3, 2022-01-01T05:00 .. 2022-01-01T05:02 UTC)
    """
    if not isinstance(frame, Candles) and not (hasattr(frame, "columns") and hasattr(frame, "index")):
        raise UsageError(f"from_frame needs a DataFrame or bknb.Candles, got {type(frame).__name__}")
    if isinstance(frame, Candles):
        if isinstance(adjust, str):
            raise UsageError(
                f"adjust={adjust!r} is the name of a column, and bknb.Candles have no others\n"
                "give the DataFrame that has it, or a table of splits and dividends"
            )
        given = Tables(frame if symbol is None else {symbol: frame})
        return _source(given, name=name, sessions=sessions, adjust=adjust, tz=tz, negative=negative)
    reading = Reading(where=name, place="row {}".format, tz=tz, time_format=time_format, stamp=stamp, columns=columns)
    table = read_table(frame, reading, symbol=symbol)
    by = _by_column(adjust, columns, lambda named: read_table(frame, replace(reading, columns=named), symbol=symbol))
    return _source(table, name=name, sessions=sessions, adjust=by, tz=tz, negative=negative)


def from_csv(
    path: str | Path,
    *,
    symbol: str | None = None,
    name: str | None = None,
    sessions: Sessions | str | None = None,
    columns: Mapping[str, Any] | Sequence[str | None] | None = None,
    tz: str | None = None,
    time_format: str | None = None,
    stamp: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    adjust: pd.DataFrame | str | None = None,
    negative: bool = False,
) -> FrameSource:
    r"""A source over candles in a CSV file, also compressed (``.csv.gz``, ``.zip``, ``.xz``).

    Separator, decimal mark, encoding, header and lines above it are found out; the files of MetaTrader, TradingView,
    Yahoo, Stooq, Binance, Kraken and CryptoDataDownload need no option. For columns and times see :func:`from_frame`.

    Parameters
    ----------
    path
        The file; it is read now, and again where a finished run needs candles that were released meanwhile.
    name
        For reports and messages; by default the file's name.
    symbol, sessions, tz, time_format, stamp, adjust, negative
        As in :func:`from_frame`.
    columns
        As in :func:`from_frame`; or the names of all columns of a file without a header line, in their order, with
        ``None`` for those that are not read.
    separator, decimal, encoding
        Where they cannot be found out.
    thousands
        What stands between thousands, such as ``"."`` in ``1.234,50``; ``None``: nothing.

    Raises
    ------
    UsageError
        The file cannot be read, or a column is missing; the message names the option that may help.
    DataError
        The bars are of no interval, or of several lengths; the message holds what was measured.
    BadCandle
        A value is missing or is not a number; the message holds the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "btc.csv"
    ...     _ = path.write_text("Datum;o;h;l;c;v\n01.02.2024 00:00;1,5;1,5;1,5;1,5;5\n")
    ...     source = from_csv(path, columns={"timestamp": "Datum"})
    >>> source.name
    'btc.csv'
    """
    file = existing_file(path)
    named = columns if isinstance(columns, Mapping) else None
    if columns is not None and (isinstance(columns, str) or not isinstance(columns, Iterable)):
        raise UsageError(f"columns must be a mapping or the names of all columns in their order, got {columns!r}")
    names = None if columns is None or isinstance(columns, Mapping) else tuple(columns)
    times: dict[str, Any] = {"tz": tz, "time_format": time_format, "stamp": stamp}
    marks: dict[str, Any] = {"separator": separator, "decimal": decimal, "thousands": thousands, "encoding": encoding}
    for option, mark in marks.items():
        if mark is not None and not (isinstance(mark, str) and mark):
            raise UsageError(f"{option} must be a text, or left out where it can be found out; got {mark!r}")
    table = csv_table(file, partial(Reading, columns=named, **times), symbol=symbol, names=names, **marks)
    by = _by_column(
        adjust,
        named,
        lambda other: csv_table(file, partial(Reading, columns=other, **times), symbol=symbol, names=names, **marks),
    )
    source = _source(table, name=name or file.name, sessions=sessions, adjust=by, tz=tz, negative=negative)
    again = partial(from_csv, file.resolve(), name=source.name, symbol=symbol, sessions=sessions, columns=columns)
    source.reopen = partial(again, **times, **marks, adjust=adjust, negative=negative)
    return source


def from_parquet(
    path: str | Path,
    *,
    symbol: str | None = None,
    name: str | None = None,
    sessions: Sessions | str | None = None,
    columns: Mapping[str, Any] | None = None,
    tz: str | None = None,
    time_format: str | None = None,
    stamp: str | None = None,
    adjust: pd.DataFrame | str | None = None,
    negative: bool = False,
) -> FrameSource:
    """A source over candles in a Parquet file; for bars and columns see :func:`from_frame`.

    Parameters
    ----------
    path, name
        As in :func:`from_csv`.
    symbol, sessions, columns, tz, time_format, stamp, adjust, negative
        As in :func:`from_frame`.

    Raises
    ------
    MissingDependency
        pyarrow is not installed.
    UsageError
        The file cannot be read, or a column is missing.
    DataError
        The bars are of no interval, or of several lengths; the message holds what was measured.
    BadCandle
        A value is missing or is not a number.

    Examples
    --------
    >>> source = from_parquet("btc-2022.parquet")  # doctest: +SKIP
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingDependency("pyarrow", purpose="reading a Parquet file", extra="parquet") from None
    import pandas as pd

    file = existing_file(path)
    try:
        frame = pd.read_parquet(file, engine="pyarrow")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as Parquet: {str(error).strip().splitlines()[0]}") from error
    times: dict[str, Any] = {"tz": tz, "time_format": time_format, "stamp": stamp}
    reading = Reading(where=str(file), place="row {}".format, columns=columns, **times)
    table = read_table(frame, reading, symbol=symbol)
    by = _by_column(adjust, columns, lambda named: read_table(frame, replace(reading, columns=named), symbol=symbol))
    source = _source(table, name=name or file.name, sessions=sessions, adjust=by, tz=tz, negative=negative)
    again = partial(from_parquet, file.resolve(), name=source.name, symbol=symbol, sessions=sessions, columns=columns)
    source.reopen = partial(again, **times, adjust=adjust, negative=negative)
    return source


def existing_file(path: str | Path) -> Path:
    """The path of a file that is there.

    Raises
    ------
    UsageError
        It does not exist, or is a folder.

    Examples
    --------
    >>> existing_file("no such.csv")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: no such.csv: does not exist (looked from ...)
    """
    file = as_path(path).expanduser()
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else f"does not exist (looked from {Path.cwd()})"
        raise UsageError(f"{file}: {what}")
    return file


def _by_column(
    adjust: pd.DataFrame | str | None,
    columns: Mapping[str, Any] | None,
    read: Callable[[dict[str, Any]], Tables],
) -> pd.DataFrame | AdjustedCloses | None:
    """A table of splits and dividends as it is; for the name of a column its numbers, read in place of the prices."""
    if not isinstance(adjust, str):
        return adjust
    return AdjustedCloses(adjust, read({**(columns or {}), **dict.fromkeys(("open", "high", "low", "close"), adjust)}))


class AdjustedCloses(NamedTuple):
    """A column of adjusted closes: its name, and candles whose prices all are its numbers."""

    column: str
    table: Tables


def _source(
    table: Tables,
    *,
    name: str,
    sessions: Sessions | str | None,
    adjust: pd.DataFrame | AdjustedCloses | None,
    tz: str | None,
    negative: bool,
) -> FrameSource:
    given: object = negative
    if not isinstance(given, bool):
        raise UsageError(f"negative must be True or False, got {given!r:.60}")
    if adjust is None:
        source = FrameSource(table.candles, name=name, sessions=sessions)
        source.negative = negative
        source.notes = table.notes + _steps(table.candles, name) + source.notes
        return source
    if isinstance(adjust, AdjustedCloses):
        from .adjusted_closes import adjust_by_closes  # few need either

        candles, made, notes = adjust_by_closes(table.candles, adjust.table.candles, column=adjust.column, name=name)
    else:
        from .adjusted_for_splits_and_dividends import adjust_series

        candles, made, notes = adjust_series(table.candles, adjust, tz=tz, name=name, sessions=as_sessions(sessions))
    source = FrameSource(candles, name=name, sessions=sessions)
    source.negative = negative
    told = TableNotes()
    for symbol, each in made.items():
        told.add([f"{name if symbol is None else f'{name}, {symbol}'}: {each}"], symbol)
    source.notes = table.notes + notes + _steps(candles, name) + told + source.notes
    source.adjustments = made
    return source


def _steps(candles: Candles | Mapping[str, Candles], name: str) -> TableNotes:
    """What is told of prices that may be of two units, in one series or in those of several symbols."""
    if isinstance(candles, Candles):
        return TableNotes(step_notes(candles, name))
    notes = TableNotes()
    for symbol, series in candles.items():
        notes.add(step_notes(series, f"{name}, {symbol}"), symbol)
    return notes
