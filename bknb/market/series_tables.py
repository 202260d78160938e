"""Tables of point-in-time series as people have them: which columns are read, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

import numpy as np

from ..domain.formatting import exact_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..errors import BadCandle, DataError, UsageError
from .column_names import KEYS, plain_name
from .daylight_saving import checked_zone
from .point_in_time_series import SYMBOL, Published
from .time_units import read_times, to_ms

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_UTC: Final = ("UTC", "GMT", "Etc/UTC", "Z")
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_UNIT_MS: Final = {"s": 1000, "m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_EVENT: Final = "event_time"
_EXACT: Final = 2.0**53  # from there on float64 holds no longer every whole number
_LEAST_MS: Final = 10**11  # March 1973: years and counts of days are less, in whatever unit they are read
_CONVERT: Final = 'pd.to_datetime(column, format="%d/%m/%Y %H:%M", utc=True)'


def span_ms(span: object, what: str) -> int:
    """A span such as ``"5m"`` or a timedelta as milliseconds.

    Raises
    ------
    UsageError
        It is no span, or below 0.

    Examples
    --------
    >>> span_ms("90m", "delay"), span_ms(timedelta(hours=1), "delay")
    (5400000, 3600000)
    """
    found = _SPAN.fullmatch(span.strip()) if isinstance(span, str) else None
    if found is not None:
        return round(float(found[1]) * _UNIT_MS[found[2]])
    if isinstance(span, timedelta) and span >= timedelta(0):
        return round(span.total_seconds() * 1000)
    raise UsageError(
        f"{what} must be a span such as '30s', '5m', '24h', '7d' or '2w', or a timedelta, got {span!r:.80}"
    )


@dataclass(frozen=True, slots=True)
class Columns:
    """How the tables of one series are read.

    Attributes
    ----------
    name
        Of the series, for messages.
    time
        The column that says when a row was published.
    delay_ms
        How long after that it is known, milliseconds.
    tz
        The zone of times that have none; ``None``: such times are refused.
    key
        Columns in which a revision is equal to the row it revises; ``None``: ``event_time``, where there is one.
    """

    name: str
    time: str
    delay_ms: int
    tz: str | None = None
    key: tuple[str, ...] | None = None

    @property
    def where(self) -> str:
        """The series, for messages."""
        return f"series {self.name!r}"


def checked_columns(name: str, *, time: object, delay: object, tz: object, key: object) -> Columns:
    """How the tables of a series are to be read, from the options of ``add_series``.

    Raises
    ------
    UsageError
        An option is not what it must be.
    """
    if not isinstance(time, str) or not time:
        raise UsageError(f"time must be the name of a column such as 'published_at', got {time!r:.80}")
    names = (key,) if isinstance(key, str) else key
    if names is not None and not (isinstance(names, Sequence) and names and all(isinstance(one, str) for one in names)):
        raise UsageError(f"key must be the name of a column such as 'event_time', or a list of names, got {key!r:.80}")
    zone = None if tz is None else checked_zone(tz)  # type: ignore[arg-type]  # it looks what it is
    return Columns(name, time, span_ms(delay, "delay"), zone, None if names is None else tuple(names))


def is_table(source: object) -> bool:
    """Whether ``source`` is meant for a table: a DataFrame, a mapping of columns, or a sequence of mappings."""
    return hasattr(source, "iloc") or isinstance(source, Mapping) or _is_rows(source)


def _is_rows(source: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(source, Sequence) and not isinstance(source, (str, bytes))


def read_frame(source: object, columns: Columns) -> pd.DataFrame:
    """A table of any form as a DataFrame with the times as a column.

    Raises
    ------
    UsageError
        It is no table, or has no such column of times.
    """
    import pandas as pd

    where = columns.where
    if source is None:
        return pd.DataFrame()
    if isinstance(source, pd.DataFrame):
        frame = source
    elif isinstance(source, Mapping) or (_is_rows(source) and all(isinstance(row, Mapping) for row in source)):
        try:
            frame = pd.DataFrame(cast("Any", source))
        except ValueError as error:
            raise UsageError(f"{where}: the columns do not make a table: {error}\ngive columns of one length") from None
    else:
        raise UsageError(
            f"{where} needs a DataFrame, a mapping of columns or a list of mappings, got {type(source).__name__}\n"
            "or give a function (since, until) that returns one of them"
        )
    levels = list(frame.index.names)
    if columns.time in levels and set(levels).isdisjoint(frame.columns):
        frame = frame.reset_index()
    if not len(frame) and not len(frame.columns):
        return frame
    names = [str(name) for name in frame.columns]
    if columns.time not in names:
        helps = f"name that column with time=, such as time={names[0]!r}"
        if isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            helps = f"where the index holds the times, name it: table.rename_axis({columns.time!r})"
        elif isinstance(frame.index, pd.MultiIndex):
            helps = "where the index holds the times, make columns of it with table.reset_index()"
        raise UsageError(
            f"{where} needs a column {columns.time!r} that says when each row was published; its columns: "
            f"{', '.join(names)}\n{helps}"
        )
    if len(set(names)) < len(names):
        raise UsageError(f"{where}: two columns have the same name among {', '.join(names)}\nrename one of them")
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def read_published(frame: pd.DataFrame, columns: Columns) -> Published:
    """All rows of a table, checked.

    Raises
    ------
    UsageError
        Times have no zone, or a column of the key is missing.
    DataError
        A value is missing, or is neither number, text nor time.
    """
    if not len(frame.columns):
        time: dict[str, NDArray[Any]] = {columns.time: np.zeros(0, dtype=np.int64)}
        return Published(time, time=columns.time, times=(columns.time,), delay_ms=columns.delay_ms)
    found: dict[str, NDArray[Any]] = {}
    times: list[str] = []
    symbol = next((name for key in KEYS for name in frame.columns if plain_name(name) == key), None)
    for name in frame.columns:
        if name == columns.time or frame[name].dtype.kind == "M":
            found[name] = _moments(frame[name], columns)
            times.append(name)
        elif name == symbol:
            found[SYMBOL] = _symbols(frame[name], columns)
        else:
            found[name] = _values(frame[name], columns)
    key = columns.key
    if key is None:
        key = (_EVENT,) if _EVENT in found else ()
    key = tuple(SYMBOL if name == symbol else name for name in key)
    missing = [name for name in key if name not in found]
    if missing:
        raise UsageError(f"{columns.where}: key names {missing[0]!r}, and its columns are {', '.join(found)}")
    of_rows = tuple(name for name in key if name != SYMBOL)
    for name in of_rows:
        large = found[name].dtype.kind == "f" and np.abs(found[name]) > _EXACT
        if np.any(large):
            raise DataError(
                f"{columns.where}, row {int(np.argmax(large))}: {name} is a key, and whole numbers beyond 2**53 cannot "
                f"be told apart, got {frame[name].iloc[int(np.argmax(large))]!r:.80}\n"
                f"give them as text: table[{name!r}].astype(str)"
            )
    return Published(found, time=columns.time, times=tuple(times), delay_ms=columns.delay_ms, key=of_rows)


def _moments(given: pd.Series[Any], columns: Columns) -> NDArray[np.int64]:
    where, name = columns.where, str(given.name)
    if not len(given):
        return np.zeros(0, dtype=np.int64)
    if given.dtype.kind == "b":
        raise DataError(
            f"{where}, row 0: {name} must be a time, got {given.iloc[0]!r}\nname the column of times with time="
        )
    try:
        times = read_times(given, where=where, place=lambda row: f"row {row}")
    except BadCandle as error:
        text = str(error)
        if "time_format=" in text:
            text = f"{text.splitlines()[0]}\ncorrect it or leave the row out, or convert the column before: {_CONVERT}"
        raise DataError(text) from None
    if times.units and int(np.abs(times.ms).max()) < _LEAST_MS:
        raise DataError(
            f"{where}: the numbers of {name} are too small for times since 1970, such as {given.iloc[0]!r:.80}, so "
            "that every row would be known from the first question on\n"
            f"give them in s, ms, us or ns since 1970, as text with an offset, or as aware datetimes: {_CONVERT}"
        )
    if not times.naive or columns.tz in _UTC:
        return times.ms
    if columns.tz is None:
        raise UsageError(
            f"{where}: the times of {name} have no time zone, so nobody can tell when a row was known\n"
            "say which zone they are of: tz='UTC', or one such as tz='America/New_York'"
        )
    return _of_zone(times.ms, columns.tz, f"{where}, row", name)


def _of_zone(ms: NDArray[np.int64], tz: str, row: str, name: str) -> NDArray[np.int64]:
    """Times of a local clock as UTC; rows come in any order, which tells nothing of an hour that came twice."""
    import pandas as pd

    local = pd.DatetimeIndex(ms.astype("datetime64[ms]"))
    known = local.tz_localize(tz, ambiguous="NaT", nonexistent="NaT")
    unclear = np.flatnonzero(known.isna())
    if len(unclear):
        at = int(unclear[0])
        twice = bool(local[at : at + 1].tz_localize(tz, ambiguous="NaT", nonexistent="shift_forward").isna()[0])
        what, helps = (
            ("came twice in", "give the times with their offset or in UTC, or leave that hour out")
            if twice
            else ("does not exist in", "the times are those of another zone; name it with tz=")
        )
        way = "back" if twice else "forward"
        raise DataError(
            f"{row} {at}: {name} {exact_text(int(ms[at]))} {what} {tz}, as the clocks went {way} that night\n{helps}"
        )
    return to_ms(known.tz_convert("UTC").tz_localize(None).to_series())


def _symbols(given: pd.Series[Any], columns: Columns) -> NDArray[Any]:
    bad = [row for row, value in enumerate(given) if not (isinstance(value, str) and value)]
    if bad:
        raise DataError(
            f"{columns.where}, row {bad[0]}: {given.name} must be a symbol such as 'BTCUSDT', got "
            f"{given.iloc[bad[0]]!r:.80}\nname the symbol of each row, or leave the column out for rows of all symbols"
        )
    return given.to_numpy(dtype=object)


def _values(given: pd.Series[Any], columns: Columns) -> NDArray[Any]:
    """Numbers as float64, text as object."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(given) and not pd.api.types.is_complex_dtype(given):
        return given.to_numpy(dtype=np.float64, na_value=np.nan)
    absent = given.isna().to_numpy()
    values = given.to_numpy(dtype=object).copy()
    values[absent] = None
    if all(value is None or isinstance(value, (int, float)) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    bad = next((row for row, value in enumerate(values) if value is not None and not isinstance(value, str)), None)
    if bad is not None:
        raise DataError(
            f"{columns.where}, row {bad}: {given.name} must hold numbers, text or aware datetimes, got "
            f"{values[bad]!r:.80}\nconvert the column, or leave it out"
        )
    return values
