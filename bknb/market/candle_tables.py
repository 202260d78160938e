"""From a table as people have it to candles: which columns are read, and which rows are one series."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS
from ..errors import BadCandle, UnknownName, UsageError
from .candle_numbers import check_order, read_numbers
from .candle_rows import Reading, Rows
from .candles import COLUMNS, Candles
from .column_names import TIMES, ColumnNames, find_columns, looks_like_time, plain_name, zone_in
from .daylight_saving import to_utc
from .symbol_column import symbol_text, symbols_in_column
from .table_notes import TableNotes
from .time_units import Times, read_times

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_PRICES: Final = frozenset({"open", "high", "low", "close"})
_SAME_AS_UTC: Final = ("UTC", "GMT", "Etc/UTC", "Etc/GMT", "Z")
_EARLY: Final = (94_694_400_000, 946_684_800_000)  # 1973 to 2000: there are few minutes of then, and other epochs
_ZONES_MS: Final = 26 * 60 * MINUTE_MS  # between the clocks of two places; what is further off is another kind of time
_SHOWN: Final = 3  # nights that a note names


@dataclass(slots=True)
class Tables:
    """What a table holds.

    Attributes
    ----------
    candles : Candles or dict
        One series without a name, or the series of each symbol.
    notes : TableNotes
        What was left out or decided, and of which symbols; a feed reports it.
    """

    candles: Candles | dict[str, Candles]
    notes: TableNotes = field(default_factory=TableNotes)


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

    if isinstance(frame.index, pd.MultiIndex):  # symbols and times beside each row
        frame = frame.reset_index(allow_duplicates=True)
    read = _of_tickers if isinstance(frame.columns, pd.MultiIndex) else _of_columns
    found = read(frame, reading)
    if isinstance(found.candles, Candles):
        return found if symbol is None else Tables({symbol: found.candles}, found.notes)
    if symbol is not None:
        if symbol not in found.candles:
            raise UnknownName("symbol", symbol, known=found.candles)
        found = Tables({symbol: found.candles[symbol]}, TableNotes(found.notes.of(symbol)))
    return found


def _of_tickers(frame: pd.DataFrame, reading: Reading) -> Tables:
    """The candles of a table with two levels of columns, prices and tickers, whichever stands above."""
    import pandas as pd

    labels = [tuple(str(each).strip() for each in label) for label in frame.columns]
    alone = np.array(["" in label for label in labels], dtype=bool)  # such as the times after reset_index()
    levels = [frame.columns.get_level_values(at) for at in range(frame.columns.nlevels)]
    fields = [at for at, names in enumerate(levels) if {plain_name(name) for name in names[~alone]} >= _PRICES]
    if len(levels) != 2 or len(fields) != 1:
        found = ", ".join(str(label) for label in list(frame.columns)[:3])
        raise UsageError(
            f"{reading.where}: the columns have {len(levels)} levels, and bknb reads two: one of open, high, low, "
            f"close, volume and one of symbols\nfound: {found}, ..."
        )
    frame = frame.loc[frame.loc[:, ~alone].notna().any(axis=1)]
    shared = frame.loc[:, alone]
    shared.columns = pd.Index(["".join(label) for label, each in zip(labels, alone, strict=True) if each])
    tickers = levels[1 - fields[0]]
    candles: dict[str, Candles] = {}
    notes = TableNotes()
    nights: dict[str, None] = {}
    times: Times | None = None
    for ticker in dict.fromkeys(tickers[~alone]):
        if (symbol := symbol_text(ticker)) is None:
            raise UsageError(f"{reading.where}: the columns name the number {ticker} as a symbol\ngive symbols as text")
        if symbol in candles:
            raise UsageError(f"{reading.where}: two tickers of the columns are written {symbol}\nrename one of them")
        part = frame.loc[:, (tickers == ticker) & ~alone]
        there = part.notna().any(axis=1).to_numpy()
        part.columns = part.columns.get_level_values(fields[0])
        part = pd.concat([shared, part], axis=1)
        where = f"{reading.where}, {symbol}"
        names = _names(part, reading, where)
        if names.key is not None:
            raise UsageError(
                f"{where}: the columns name tickers on one level, and the column {str(names.key).strip()!r} names them "
                "too\nleave one of them out"
            )
        if times is None:  # all tickers have the same
            times = _times(part, names, reading, reading.where)
            notes.add(_told_of_times(times, names, part, reading, reading.where))
        of_it = Times(times.ms[there], naive=times.naive, units=times.units)
        rows = _rows(part.loc[there], names, of_it, reading, where)
        candles[symbol] = rows.candles(np.arange(len(rows.frame)), where)
        notes.add(rows.notes, symbol)
        nights |= rows.nights
    notes.add(_told_of_nights(nights, reading))
    return Tables(candles, notes)


def _of_columns(frame: pd.DataFrame, reading: Reading) -> Tables:
    where = reading.where
    names = _names(frame, reading, where)
    times = _times(frame, names, reading, where)
    told = _told_of_times(times, names, frame, reading, where)
    rows = _rows(frame, names, times, reading, where)
    if names.key is None:
        only = rows.candles(np.arange(len(frame)), where)
        return Tables(only, TableNotes(told + rows.notes + _told_of_nights(rows.nights, reading)))
    keys = symbols_in_column(frame[names.key], where, reading.place)
    parts = keys.groupby(keys, sort=False).indices
    candles, notes = {}, TableNotes(told + rows.notes)
    for key in dict.fromkeys(keys):
        places, before = np.sort(parts[key]), len(rows.notes)
        rows.one_instrument(places, key)
        candles[key] = rows.candles(places, f"{where}, {key}")
        notes.add(rows.notes[before:], key)
    notes.add(_told_of_nights(rows.nights, reading))
    return Tables(candles, notes)


def _names(frame: pd.DataFrame, reading: Reading, where: str) -> ColumnNames:
    """The columns that are read; of an index of dates beside a column of times of day, both."""
    import pandas as pd

    index = frame.index
    has_times = isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex))
    if index.name is not None:
        has_times = has_times or plain_name(index.name) in TIMES
    elif not {plain_name(label) for label in frame.columns} & {*TIMES}:
        has_times = has_times or (len(index) > 0 and looks_like_time(index[0]))
    return find_columns(frame.columns, where=where, has_times=has_times, columns=reading.columns)


def _times(frame: pd.DataFrame, names: ColumnNames, reading: Reading, where: str) -> Times:
    dates: Any = frame[names.times[0]] if names.times else frame.index.to_series()
    clock = names.times[1] if len(names.times) == 2 else None
    if not names.times and len(frame):
        beside = next((label for label in frame.columns if plain_name(label) == "time"), None)
        clock = beside if beside is not None and _are_days(dates) else None
    if clock is None:
        return read_times(dates, where=where, place=reading.place, time_format=reading.time_format)
    hours = frame[clock].astype(str).str.strip()
    digits = hours.str.fullmatch(r"\d+")
    if bool(digits.any()) and not bool(hours.str.len().isin((4, 6)).all()):
        raise UsageError(
            f"{where}: the times of day in {str(clock).strip()!r} have lost their leading zeros, so that "
            "100 may be 01:00 or 00:01\ngive them their zeros back: .astype(str).str.zfill(4) where they are hours and "
            "minutes, .str.zfill(6) with seconds; those of a file: in a table of pandas, for bknb.exchanges.from_frame"
        )
    given = (dates.astype(str).str.strip() + " " + hours.set_axis(dates.index)).rename(dates.name)
    given = given.where(dates.notna()).set_axis(frame.index)
    return read_times(given, where=where, place=reading.place, time_format=reading.time_format)


def _are_days(dates: pd.Series[Any]) -> bool:
    """Whether each is a date without a time of day."""
    import pandas as pd

    if isinstance(dates.dtype, pd.PeriodDtype):
        dates = dates.dt.start_time
    if pd.api.types.is_datetime64_any_dtype(dates):
        return bool((dates == dates.dt.normalize()).all())
    return bool(dates.astype(str).str.strip().str.fullmatch(r"\d{8}|\d{1,4}([-./])\d{1,2}\1\d{1,4}").all())


def _told_of_times(times: Times, names: ColumnNames, frame: pd.DataFrame, reading: Reading, where: str) -> list[str]:
    """What is decided of the times and may be otherwise; what their column's name contradicts is refused.

    Raises
    ------
    UsageError
        The zone in the name of the column is not the one they would be read in.
    """
    notes = []
    tz = None if reading.tz is None else str(reading.tz)  # an object of a zone by its name
    if len(times.units) > 1:
        notes.append(f"{where}: times came in {' and in '.join(times.units)} since 1970; each was read by its size")
    if times.units and tz not in (None, *_SAME_AS_UTC):
        notes.append(f"{where}: tz={tz!r} is not used: the times are numbers since 1970, which are in UTC")
    given = frame[names.times[0]] if names.times else frame.index
    if not (times.units or times.naive) and tz not in (None, *_SAME_AS_UTC, str(getattr(given.dtype, "tz", None))):
        notes.append(f"{where}: tz={tz!r} is not used: the times bear offsets or a zone of their own")
    notes += _told_of_other_times(times, names, frame, reading, where)
    early = times.ms[(times.ms >= _EARLY[0]) & (times.ms < _EARLY[1])] if times.units else times.ms[:0]
    if len(early):
        # Of answers page by page the text must be the same each time, so that it is told once.
        what = "times are before 2000" if reading.is_checked_later else f"the first time is {utc_text(int(early[0]))}"
        notes.append(
            f"{where}: by {' and '.join(times.units)} since 1970 {what}; numbers that count from another day must be "
            "changed into those since 1970"
        )
    label = names.times[0] if names.times else frame.index.name
    zone = None if label is None or not times.naive else zone_in(label)
    if zone == "UTC" and not names.named_times and tz not in (None, *_SAME_AS_UTC):
        raise UsageError(
            f"{where}: tz={tz!r} contradicts the name of the column {str(label).strip()!r}\n"
            f'leave tz out; where the name is wrong: columns={{"timestamp": "{str(label).strip()}"}}'
        )
    if zone not in (None, "UTC") and reading.tz is None:
        raise UsageError(
            f"{where}: the times of {str(label).strip()!r} bear no offset, and by its name they are not in UTC\n"
            'name their zone: tz="America/New_York"; where they are in UTC all the same: tz="UTC"'
        )
    return notes


def _told_of_other_times(
    times: Times, names: ColumnNames, frame: pd.DataFrame, reading: Reading, where: str
) -> list[str]:
    """Columns, or an index, whose first time is another one than that which is read."""
    import pandas as pd

    if not len(frame):
        return []
    first = times.ms[:1]
    if times.naive and reading.tz is not None:
        return []  # which of the hours that come twice it is shows later
    there = [
        (repr(str(label).strip()), frame[label])
        for label in frame.columns
        if label not in names.times and plain_name(label) in TIMES
    ]
    read_of = repr(str(names.times[0]).strip()) if names.times else "the index"
    if names.times and isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
        there.append(("the index", frame.index.to_series()))
    notes = []
    for name, every in there:
        other = every.iloc[:1]
        if _are_days(every if pd.api.types.is_datetime64_any_dtype(every) else other):
            continue
        try:
            read = read_times(other, where=where, place=reading.place)
            ms = to_utc(read.ms, reading.tz, where=where)[0] if read.naive and reading.tz is not None else read.ms
        except (BadCandle, UsageError):
            continue  # it is not read
        off = int(ms[0]) - int(first[0])
        if MINUTE_MS <= abs(off) <= _ZONES_MS:
            other_is = "they are" if reading.is_checked_later else f"the first one is {utc_text(int(ms[0]))},"
            notes.append(
                f"{where}: the times are those of {read_of}; by {name} {other_is} {abs(off) / MINUTE_MS:g} min "
                f"{'later' if off > 0 else 'earlier'}"
            )
    return notes


def _told_of_nights(nights: dict[str, None], reading: Reading) -> list[str]:
    """One note for all nights in which the clocks went back."""
    if not nights:
        return []
    found = sorted(nights)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    told = (
        f"{reading.where}: the clocks of {reading.tz} went back in the night{'' if len(found) == 1 else 's'} of "
        f"{', '.join(found[:_SHOWN])}{more}: the hour that came twice was read in order"
    )
    return [told]


def _rows(frame: pd.DataFrame, names: ColumnNames, times: Times, reading: Reading, where: str) -> Rows:
    notes = [*names.notes]
    values: dict[str, NDArray[np.float64]] = {}
    for name in COLUMNS[1:]:
        label = names.values[name]
        values[name] = (
            np.full(len(frame), label) if isinstance(label, float) else read_numbers(frame[label], reading, where)
        )
    ticks = names.ticks
    if ticks is not None and ticks is not names.values["volume"] and len(frame) and not values["volume"].any():
        values["volume"] = read_numbers(frame[ticks], reading, where)
        notes.append(
            f"{where}: the volume is 0 everywhere; that of {str(ticks).strip()!r}, price changes, stands for it"
        )
    if reading.guessed:
        notes += check_order(frame, values, where)
    return Rows(frame, names, reading, where, times, values, notes)
