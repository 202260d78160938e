"""The rows of a table that are one series: their clock, the running candle, and what cannot be one series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..errors import BadCandle, UsageError
from .candles import Candles
from .column_names import ColumnNames
from .daylight_saving import checked_zone, to_utc
from .measured_bar_length import Spacing, are_weekly, measured
from .swapped_columns_wicks_and_years import WICK, far_wicks, swapped_in, years_notes
from .time_units import Times, read_times, without_zone
from .values_no_market_has import describe

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from .time_units import Place

_CLOSES: Final = (MINUTE_MS - 1000, MINUTE_MS - 1)  # past the minute, where candles bear the time of their close
_FEW: Final = 3  # candles that show how far apart they are before one more is called a stray
_THURSDAY: Final = 3  # the weekday of 1970-01-01, Monday being 0
_WORKING_DAYS: Final = 5  # from Monday on


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
    decimal, thousands : str, str or None
        The decimal mark of numbers that are text, and what stands between their thousands.
    from_text : bool
        Whether it comes from a text file, whose marks have options.
    guessed : bool
        Whether the columns bear no names: their order is then proven by their values.
    is_checked_later : bool
        Whether a feed checks the candles: what is missing, doubled or not in order is then left to it.
    """

    where: str
    place: Place
    tz: str | None = None
    time_format: str | None = None
    stamp: str | None = None
    columns: Mapping[str, Any] | None = None
    decimal: str = "."
    thousands: str | None = None
    from_text: bool = False
    guessed: bool = False
    is_checked_later: bool = False

    def __post_init__(self) -> None:
        if self.stamp not in (None, "open", "close"):
            raise UsageError(
                f"stamp must be 'open' or 'close', the moment a candle bears the time of; got {self.stamp!r}"
            )
        if self.tz is not None:
            checked_zone(self.tz)
        form: object = self.time_format
        if form is not None and not isinstance(form, str):
            raise UsageError(f"time_format must be a text such as '%d/%m/%Y %H:%M', got {form!r:.80}")


@dataclass(frozen=True, slots=True)
class Rows:
    """A table with its columns read, to be parted into series.

    Attributes
    ----------
    frame : DataFrame
        The table.
    names : ColumnNames
        Its columns.
    reading : Reading
        How it is read.
    source : str
        Its name, for messages.
    times : Times
        The time of each row.
    values : dict
        Open, high, low, close and volume of each row.
    notes : list of str
        What was left out or decided; making candles adds to it.
    nights : dict
        The days on which the clocks went back, in the order in which they were found; making candles adds to it.
    """

    frame: pd.DataFrame
    names: ColumnNames
    reading: Reading
    source: str
    times: Times
    values: dict[str, NDArray[np.float64]]
    notes: list[str]
    nights: dict[str, None] = field(default_factory=dict)

    def candles(self, at: NDArray[np.intp], where: str) -> Candles:
        """The candles of some rows, which are one series."""
        clocks = ms = self.times.ms[at]
        if self.times.naive and self.reading.tz is not None:
            ms, nights = to_utc(ms, self.reading.tz, where=where)
            self.nights.update(dict.fromkeys(nights))
        if self.reading.is_checked_later:
            return Candles.from_columns(timestamp=ms, **{name: column[at] for name, column in self.values.items()})
        given = ms
        if are_weekly(ms):
            from .weeks_of_bars import weeks_of  # few tables hold weeks

            clock = clocks if self.times.naive else self._clocks(at)
            ms, running, told = weeks_of(ms, self.reading.stamp, where, clock)
            self.notes.extend(told)
            at, ms, given = at[~running], ms[~running], given[~running]
        elif self.reading.stamp == "close":
            ms = _opened(ms, where, self.notes)
        running = _running(ms)
        if running.any():
            last = utc_text(int(ms.max()))
            self.notes.append(
                f"{where}: left out: the row of {last}, which is no candle, and what had not closed by then"
            )
            at, ms, given = at[~running], ms[~running], given[~running]
        self._check_grid(at, ms, given, where)
        self._check_twice(at, ms, where)
        candles = Candles.from_columns(timestamp=ms, **{name: column[at] for name, column in self.values.items()})
        if (part := swapped_in(candles)) is not None:
            names = (str(self.names.values[name]).strip() for name in ("open", "close"))
            self.notes.append(
                f"{where}: {' and '.join(names)} look swapped{part}: each open is far from the close before it, and "
                "each close is at the open before it"
            )
        self._tell_wicks(at, candles, where)
        self.notes.extend(years_notes(ms, where))
        return candles

    def _clocks(self, at: NDArray[np.intp]) -> NDArray[np.int64] | None:
        """What the clocks of their zone show at times that bear one; ``None`` where they stand in two columns."""
        if len(self.names.times) > 1:
            return None
        given: Any = self.frame[self.names.times[0]] if self.names.times else self.frame.index.to_series()
        form = self.reading.time_format
        clocks = without_zone(given.iloc[at])
        if form is not None and clocks.dtype == object:
            return None
        return read_times(clocks, where=self.source, place=self.reading.place).ms

    def _tell_wicks(self, at: NDArray[np.intp], candles: Candles, where: str) -> None:
        """Note a high or a low so far from open and close that it may be a number with its point in another place."""
        far = far_wicks(candles)
        if far.any():
            first, others = int(np.argmax(far)), int(np.count_nonzero(far)) - 1
            self.notes.append(
                f"{where}, {self.reading.place(self.frame.index[at[first]])}: {describe(candles, first)} reaches more "
                f"than {WICK} times above or below its open and close" + (f" ({others} more like it)" if others else "")
            )

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

    def _check_grid(self, at: NDArray[np.intp], ms: NDArray[np.int64], given: NDArray[np.int64], where: str) -> None:
        """Refuse open times that are no full minutes, as they were ``given``."""
        off = ms % MINUTE_MS
        if not off.any():
            return
        spacing = measured(ms)
        if spacing is not None and spacing.step < MINUTE_MS:
            return  # told as what they are
        if bool((off == off[0]).all()):
            closes = self.reading.stamp != "close" and int(off[0]) in _CLOSES
            advice = 'candles that bear the time of their close: stamp="close"; otherwise correct the times'
            raise UsageError(
                f"{where}: every time is {off[0] / 1000:g} s past a full minute, the first {utc_text(int(given[0]))}\n"
                + (advice if closes else "one-minute candles begin at full minutes: correct the times")
            )
        lengths, counts = np.unique(off, return_counts=True)
        first = int(np.argmax(off != lengths[int(np.argmax(counts))]))
        label = self.frame.index[at[first]]
        raise BadCandle(
            f"{where}, {self.reading.place(label)}: {utc_text(int(given[first]))} is no full minute\n"
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


def _opened(ms: NDArray[np.int64], where: str, notes: list[str]) -> NDArray[np.int64]:
    """When candles opened that bear the time of their close, also 1 ms or 1 s before the full minute.

    Daily ones get the UTC day in which they closed, so that none is known before; what was decided is noted.
    """
    past = ms % MINUTE_MS
    ms = np.where(np.isin(past, _CLOSES), ms - past + MINUTE_MS, ms)
    step = _proven(measured(ms))
    if step < DAY_MS:
        return ms - step
    if step > DAY_MS:
        raise UsageError(
            f'{where}: stamp="close" is for candles of up to a day or a week, and these are {step // DAY_MS} d long\n'
            "give the day on which a candle opens"
        )
    return _days_closed(ms, where, notes)


def _days_closed(ms: NDArray[np.int64], where: str, notes: list[str]) -> NDArray[np.int64]:
    """The UTC days of daily bars that closed at some moments: a close at midnight is that of the day before."""
    if not (ms % DAY_MS).any():
        weekdays = (ms // DAY_MS + _THURSDAY) % 7
        if len(ms) > _WORKING_DAYS and int(weekdays.min()) == 0 and int(weekdays.max()) < _WORKING_DAYS:
            raise UsageError(
                f'{where}: with stamp="close" these daily bars, stamped 00:00 UTC from Monday to Friday, would be those'
                " of Sunday to Thursday\nthey bear the dates of their days: leave stamp= out"
            )
        notes.append(f"{where}: daily bars stamped 00:00 UTC are taken for those of the day before, which closed then")
    return -(-ms // DAY_MS) * DAY_MS - DAY_MS


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
    moment = int(ms[last])
    if moment == int(rest.max()):
        return nothing  # a row that stands twice
    # A full minute may be one more of a market with few trades: bars must be longer whether it is counted or not.
    step = _proven(spacing if moment % MINUTE_MS else measured(ms))
    if step == MINUTE_MS and moment % MINUTE_MS == 0:
        return nothing
    if step >= DAY_MS:
        stray = moment - int(rest.max()) < DAY_MS - MINUTE_MS * 60
    else:
        stray = bool((rest % step == rest[0] % step).all()) and moment % step != rest[0] % step
    return ms > moment - step if stray else nothing


def _proven(spacing: Spacing | None) -> int:
    """The length of bars that cannot be minutes with holes, and otherwise a minute; milliseconds."""
    return spacing.step if spacing is not None and spacing.wider_than(MINUTE_MS) else MINUTE_MS


def in_order(candles: Candles, where: str, notes: list[str]) -> Candles:
    """The candles in order of time; what was not in order is noted.

    Parameters
    ----------
    candles
        Candles of one series.
    where
        The name of the series, for the note.
    notes
        What was decided; a series that is the other way round is common, and nothing is added of it.

    Examples
    --------
    >>> rows = [(minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in (2, 0, 1)]
    >>> notes: list[str] = []
    >>> in_order(Candles.from_rows(rows), "mine", notes).timestamp.tolist(), notes
    ([0, 60000, 120000], ['mine: sorted: 1 candles were older than the one before them'])
    """
    times = candles.timestamp
    back = times[1:] < times[:-1]
    if not back.any():
        return candles
    if not bool((times[1:] <= times[:-1]).all()):
        notes.append(f"{where}: sorted: {int(back.sum())} candles were older than the one before them")
    return candles.take(np.argsort(times, kind="stable"))
