"""From a table as people have it to candles: which columns are read, and which rows are one series."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import BadCandle, UnknownName, UsageError
from ..market.candles import COLUMNS, Candles
from .candle_rows import Reading, Rows
from .column_names import ColumnNames, find_columns, plain_name
from .time_units import Times, plain_value, read_times

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_PRICES: Final = frozenset({"open", "high", "low", "close"})


@dataclass(slots=True)
class Tables:
    """What a table holds.

    Attributes
    ----------
    candles : Candles or dict
        One series without a name, or the series of each symbol.
    notes : list of str
        What was left out or decided; a feed reports it.
    """

    candles: Candles | dict[str, Candles]
    notes: list[str] = field(default_factory=list)


def read_table(frame: pd.DataFrame, reading: Reading, *, symbol: str | None = None) -> Tables:
    """The candles of a table.

    Parameters
    ----------
    frame
        A table with one row per candle.
    reading
        How it is to be read.
    symbol
        The only symbol wanted; where the table names none, the symbol of all its candles.

    Raises
    ------
    UsageError
        A column is missing, or the table holds what cannot be told apart.
    BadCandle
        A value is missing or is not a number.
    UnknownName
        The table holds symbols, and not this one.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"t": [0, 60_000], "o": 1.0, "h": 2.0, "l": 1.0, "c": 2.0, "v": 5.0})
    >>> read_table(frame, Reading(where="mine", place=str, columns={"timestamp": "t"})).candles
    Candles(2, 1970-01-01T00:00 .. 1970-01-01T00:01 UTC)
    """
    import pandas as pd

    read = _of_tickers if isinstance(frame.columns, pd.MultiIndex) else _of_columns
    found = read(frame, reading)
    if isinstance(found.candles, Candles):
        return found if symbol is None else Tables({symbol: found.candles}, found.notes)
    if symbol is not None:
        if symbol not in found.candles:
            raise UnknownName("symbol", symbol, known=found.candles)
        found.candles = {symbol: found.candles[symbol]}
    return found


def _of_tickers(frame: pd.DataFrame, reading: Reading) -> Tables:
    """The candles of a table with two levels of columns, prices and tickers, whichever stands above."""
    levels = [frame.columns.get_level_values(at) for at in range(frame.columns.nlevels)]
    fields = [at for at, names in enumerate(levels) if {plain_name(name) for name in names} >= _PRICES]
    if len(levels) != 2 or len(fields) != 1:
        names = ", ".join(str(label) for label in list(frame.columns)[:3])
        raise UsageError(
            f"{reading.where}: the columns have {len(levels)} levels, and bknb reads two: one of open, high, low, "
            f"close, volume and one of symbols\nfound: {names}, ..."
        )
    tickers = levels[1 - fields[0]]
    candles: dict[str, Candles] = {}
    notes: list[str] = []
    for ticker in dict.fromkeys(tickers):
        part = frame.loc[:, tickers == ticker].dropna(how="all")
        part.columns = part.columns.get_level_values(fields[0])
        found = _of_columns(part, reading, what=f"{reading.where}, {ticker}")
        if not isinstance(found.candles, Candles):
            raise UsageError(
                f"{reading.where}: the columns name tickers on one level and in {sorted(found.candles)[:3]}"
            )
        candles[str(ticker)] = found.candles
        notes += found.notes
    return Tables(candles, notes)


def _of_columns(frame: pd.DataFrame, reading: Reading, *, what: str | None = None) -> Tables:
    import pandas as pd

    where = what or reading.where
    index_name = plain_name(frame.index.name) if frame.index.name is not None else ""
    has_times = isinstance(frame.index, pd.DatetimeIndex) or index_name in ("timestamp", "date", "datetime", "time")
    names = find_columns(frame.columns, where=where, has_times=has_times, columns=reading.columns)
    notes = [*names.notes]
    times = _times(frame, names, reading, where)
    if len(times.units) > 1:
        notes.append(f"{where}: times came in {' and in '.join(times.units)} since 1970; each was read by its size")
    values = _values(frame, names, reading, where, notes)
    rows = Rows(frame, names, reading, where, times, values, notes)
    if names.key is None:
        return Tables(rows.candles(np.arange(len(frame)), where), notes)
    keys = frame[names.key]
    blank = (keys.isna() | (keys.astype(str).str.strip() == "")).to_numpy()
    if blank.any():
        at = int(np.argmax(blank))
        raise BadCandle(
            f"{where}, {reading.place(frame.index[at])}: {str(names.key).strip()} must name the symbol, and is empty\n"
            "fill it in, or leave the row out"
        )
    keys = keys.astype(str).str.strip()
    parts = keys.groupby(keys, sort=False).indices
    candles = {}
    for key in dict.fromkeys(keys):
        places = np.sort(parts[key])
        rows.one_instrument(places, key)
        candles[key] = rows.candles(places, f"{where}, {key}")
    return Tables(candles, notes)


def _times(frame: pd.DataFrame, names: ColumnNames, reading: Reading, where: str) -> Times:
    if len(names.times) == 2:
        date, clock = (frame[label] for label in names.times)
        clock = clock.astype(str).str.strip()
        digits = clock.str.fullmatch(r"\d+")
        if bool(digits.any()) and not bool(clock.str.len().isin((4, 6)).all()):
            raise UsageError(
                f"{where}: the times of day in {str(names.times[1]).strip()!r} have lost their leading zeros, so that "
                "100 may be 01:00 or 00:01\nread that column as text"
            )
        given = (date.astype(str).str.strip() + " " + clock).rename(names.times[0])
        given = given.where(date.notna())
    else:
        given = frame[names.times[0]] if names.times else frame.index.to_series()
    return read_times(given, where=where, place=reading.place, time_format=reading.time_format)


def _values(
    frame: pd.DataFrame, names: ColumnNames, reading: Reading, where: str, notes: list[str]
) -> dict[str, NDArray[np.float64]]:
    values = {}
    for name in COLUMNS[1:]:
        label = names.values[name]
        values[name] = (
            np.full(len(frame), label) if isinstance(label, float) else _numbers(frame[label], reading, where)
        )
    ticks = names.ticks
    if ticks is not None and ticks is not names.values["volume"] and len(frame) and not values["volume"].any():
        values["volume"] = _numbers(frame[ticks], reading, where)
        notes.append(
            f"{where}: the volume is 0 everywhere; that of {str(ticks).strip()!r}, price changes, stands for it"
        )
    if reading.guessed:
        highest = np.maximum(np.maximum(values["open"], values["close"]), values["low"])
        lowest = np.minimum(np.minimum(values["open"], values["close"]), values["high"])
        if (values["high"] < highest).any() or (values["low"] > lowest).any() or (values["volume"] < 0).any():
            raise UsageError(
                f"{where}: has no header line, and its columns are not time, open, high, low, close, volume in this "
                'order\nname them: columns=["timestamp", "open", "high", "low", "close", "volume", ...]'
            )
    return values


def _numbers(given: pd.Series[Any], reading: Reading, where: str) -> NDArray[np.float64]:
    import pandas as pd

    texts = not pd.api.types.is_numeric_dtype(given)
    if texts and reading.decimal != ".":
        plain = given.astype(str)
        plain = plain.where(~plain.str.contains(".", regex=False)).str.replace(reading.decimal, ".", regex=False)
        numbers = pd.to_numeric(plain, errors="coerce")
    else:
        numbers = pd.to_numeric(given, errors="coerce")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~np.isfinite(values)
    if bad.any():
        at = int(np.argmax(bad))
        value = plain_value(given.iloc[at])
        advice = "correct the value or leave the row out"
        if isinstance(value, str) and "," in value:
            advice = 'numbers with a decimal comma: decimal=","; with commas between thousands: take them out'
        raise BadCandle(
            f"{where}, {reading.place(given.index[at])}: {str(given.name).strip()} must be a number, got {value!r}\n"
            f"{advice}"
        )
    return values
