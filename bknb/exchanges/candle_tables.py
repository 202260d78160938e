"""From a table as people have it to candles: columns, times, instruments, and the row of the running candle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..errors import BadCandle, UnknownName, UsageError
from ..market.candles import COLUMNS, Candles
from ..market.spacing import measured
from .column_names import ColumnNames, find_columns, plain_name
from .time_units import Times, plain_value, read_times, to_utc

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from .time_units import Place

_PRICES: Final = frozenset({"open", "high", "low", "close"})
_MANY: Final = 20  # candles that show whether prices go on from one to the next
_FEW: Final = 3  # candles that show how far apart they are before one more is called a stray


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a table is to be read.

    Attributes
    ----------
    where : str
        The name of the source, for messages.
    place : callable
        From a label of the index to the words for its row.
    tz, time_format, stamp, columns
        As in :func:`bknb.exchanges.from_frame`.
    decimal : str
        The decimal mark of numbers that are text.
    guessed : bool
        Whether the columns bear no names: their order is then proven by their values.
    """

    where: str
    place: Place
    tz: str | None = None
    time_format: str | None = None
    stamp: str = "open"
    columns: Mapping[str, Any] | None = None
    decimal: str = "."
    guessed: bool = False

    def __post_init__(self) -> None:
        if self.stamp not in ("open", "close"):
            raise UsageError(
                f"stamp must be 'open' or 'close', the moment a candle bears the time of; got {self.stamp!r}"
            )


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
    rows = _Rows(frame, names, reading, where, times, values, notes)
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


@dataclass(frozen=True, slots=True)
class _Rows:
    """A table with its columns read, to be parted into series."""

    frame: pd.DataFrame
    names: ColumnNames
    reading: Reading
    source: str
    times: Times
    values: dict[str, NDArray[np.float64]]
    notes: list[str]

    def candles(self, at: NDArray[np.intp], where: str) -> Candles:
        """The candles of some rows, which are one series."""
        ms = self.times.ms[at]
        if self.times.naive and self.reading.tz is not None:
            ms, told = to_utc(ms, self.reading.tz, where=where)
            self.notes.extend(told)
        if self.reading.stamp == "close":
            ms = _opened(ms, where)
        running = _running(ms)
        if running.any():
            last = utc_text(int(ms.max()))
            self.notes.append(
                f"{where}: left out: the row of {last}, which is no candle, and what had not closed by then"
            )
            at, ms = at[~running], ms[~running]
        self._check_grid(at, ms, where)
        self._check_twice(at, ms, where)
        candles = Candles.from_columns(timestamp=ms, **{name: column[at] for name, column in self.values.items()})
        if _swapped(candles):
            names = (str(self.names.values[name]).strip() for name in ("open", "close"))
            self.notes.append(
                f"{where}: {' and '.join(names)} look swapped: each open is far from the close before it, and each "
                "close is at the open before it"
            )
        return candles

    def one_instrument(self, at: NDArray[np.intp], key: str) -> None:
        """Refuse rows of one symbol that another column calls by several names."""
        for label in self.names.others:
            found = list(dict.fromkeys(self.frame[label].iloc[at].astype(str).str.strip()))
            if len(found) > 1:
                name, other = str(self.names.key).strip(), str(label).strip()
                raise UsageError(
                    f"{self.source}: {name!r} is {key!r} for {found[0]!r} and {found[1]!r} of {other!r}: these "
                    f'are two instruments\nname the column to go by: columns={{"symbol": "{other}"}}'
                )

    def _check_grid(self, at: NDArray[np.intp], ms: NDArray[np.int64], where: str) -> None:
        """Refuse times that are no full minutes."""
        off = ms % MINUTE_MS
        if not off.any():
            return
        spacing = measured(ms)
        if spacing is not None and spacing.step < MINUTE_MS:
            return  # told as what they are
        if bool((off == off[0]).all()):
            raise UsageError(
                f"{where}: every time is {off[0] / 1000:g} s past a full minute, the first {utc_text(int(ms[0]))}\n"
                'candles that bear the time of their close: stamp="close"; otherwise correct the times'
            )
        lengths, counts = np.unique(off, return_counts=True)
        first = int(np.argmax(off != lengths[int(np.argmax(counts))]))
        label = self.frame.index[at[first]]
        raise BadCandle(
            f"{where}, {self.reading.place(label)}: {utc_text(int(ms[first]))} is no full minute\n"
            "correct the time or leave the row out"
        )

    def _check_twice(self, at: NDArray[np.intp], ms: NDArray[np.int64], where: str) -> None:
        """Refuse two different candles of one moment, naming the column that may tell them apart."""
        order = np.argsort(ms, kind="stable")
        again = np.flatnonzero(np.diff(ms[order]) == 0)
        one, other = at[order[again]], at[order[again + 1]]
        differs = np.zeros(len(again), dtype=bool)
        for column in self.values.values():
            differs |= column[one] != column[other]
        if not differs.any():
            return
        first = int(np.argmax(differs))
        rows = [self.reading.place(self.frame.index[each[first]]) for each in (one, other)]
        used = {*self.names.times, *(each for each in self.names.values.values()), self.names.key}
        telling = [
            str(label).strip()
            for label in self.frame.columns
            if label not in used
            and not _is_number(self.frame[label])
            and self.frame[label].iloc[one[first]] != self.frame[label].iloc[other[first]]
        ]
        when = int(ms[order[again[first]]])
        advice = "keep one of them"
        if telling:
            advice = f'two instruments? name the column that tells them apart: columns={{"symbol": "{telling[0]}"}}'
        raise BadCandle(
            f"{where}: two different candles of {utc_text(when)}: {rows[0]} and {rows[1]}\n{advice}",
            open_time=when,
        )


def _is_number(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column))


def _swapped(candles: Candles) -> bool:
    """Whether prices go on from candle to candle only where opens and closes change their names."""
    if len(candles) <= _MANY:
        return False
    order = np.argsort(candles.timestamp, kind="stable")
    opened, close = candles.open[order], candles.close[order]
    as_named = np.abs(opened[1:] - close[:-1]).sum()
    swapped = np.abs(close[1:] - opened[:-1]).sum()
    return bool(swapped * 10 < as_named)


def _opened(ms: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    """When candles opened that bear the time of their close, also 1 ms or 1 s before the full minute."""
    past = ms % MINUTE_MS
    ms = np.where((past == MINUTE_MS - 1) | (past == MINUTE_MS - 1000), ms - past + MINUTE_MS, ms)
    spacing = measured(ms)
    step = MINUTE_MS if spacing is None else spacing.step
    if step >= DAY_MS:
        raise UsageError(
            f'{where}: stamp="close" is for candles of less than a day, and these are {step // DAY_MS} d long\n'
            "give the day a candle belongs to"
        )
    return ms - step


def _running(ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The last row when it bears the moment of the last trade, and the candle that had not closed by then."""
    nothing = np.zeros(len(ms), dtype=bool)
    if len(ms) <= _FEW:
        return nothing
    last = int(np.argmax(ms))
    rest = np.delete(ms, last)
    spacing = measured(rest)
    if spacing is None or spacing.closer or spacing.step < MINUTE_MS:
        return nothing
    step, moment = spacing.step, int(ms[last])
    if step >= DAY_MS:
        stray = moment - int(rest.max()) < DAY_MS - MINUTE_MS * 60
    else:
        stray = bool((rest % step == rest[0] % step).all()) and moment % step != rest[0] % step
    return ms > moment - step if stray else nothing
