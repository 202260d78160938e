"""Times of candles in whatever unit and form they come: numbers since 1970, text, datetimes, periods."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import BadCandle, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    Place = Callable[[Any], str]

# Sizes that are times between 1973 and 2103 in one unit, and in no other; with the milliseconds of one unit.
_UNITS: Final = (
    ("s", 1e8, 4.2e9, 1000.0),
    ("ms", 1e11, 4.2e12, 1.0),
    ("us", 1e14, 4.2e15, 1e-3),
    ("ns", 1e17, 4.2e18, 1e-6),
)
_PER_MS: Final = {"ms": 1, "us": 1_000, "ns": 1_000_000}
_DATES: Final = ((8, "%Y%m%d"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S"))  # numbers that are written dates
_OFFSET: Final = r"\s*(?:UTC|GMT)?([+-]\d{2}):?(\d{2})$"
_FORMS: Final = (
    "ISO8601",
    "%Y%m%d %H%M%S",
    "%Y%m%d %H%M",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d %H:%M",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %I:%M %p",
    "%Y-%m-%d %I-%p",
    "%b %d, %Y",
    "%d-%b-%Y",
    "%d %b %Y",
)
RULE: Final = "a time (s, ms, us or ns since 1970, ISO 8601, or dd.mm.yyyy)"
_CORRECT: Final = "correct it or leave the row out"
_HINT: Final = f'{_CORRECT}; where all are written so, name the form: time_format="%d/%m/%y %H:%M"'
_SHORT_YEAR: Final = (
    "say what stands first, the day, the month or the year: "
    'time_format="%d/%m/%y %H:%M", "%m/%d/%y %H:%M" or "%y/%m/%d %H:%M"'
)


@dataclass(frozen=True, slots=True)
class Times:
    """Times as they were written.

    Attributes
    ----------
    ms : ndarray of int64, shape (n,)
        Milliseconds since 1970: UTC, or of a clock without a zone.
    naive : bool
        Whether they came without a zone.
    units : tuple of str
        The units of numbers that were found: ``"s"``, ``"ms"``, ``"us"``, ``"ns"``.
    """

    ms: NDArray[np.int64]
    naive: bool
    units: tuple[str, ...] = ()


def read_times(given: pd.Series[Any], *, where: str, place: Place, time_format: str | None = None) -> Times:
    """Times of candles, in milliseconds.

    Numbers are recognised by their size, each for itself: files are known whose seconds or milliseconds become
    microseconds in the middle. Numbers like ``20240131`` are dates.

    Parameters
    ----------
    given
        Numbers, text, datetimes or periods; of a period, the moment it begins.
    where, place
        The name of the source, and from a label of the index to the words for its row; for messages.
    time_format
        The form of the text as ``strptime`` writes it; ``None``: recognised.

    Raises
    ------
    BadCandle
        A value is no time, or may be two.
    UsageError
        ``time_format`` is no such form.

    Examples
    --------
    >>> import pandas as pd
    >>> given = pd.Series([1_735_689_540_000, 1_735_689_600_000_000])
    >>> times = read_times(given, where="mine", place=str)
    >>> times.ms.tolist(), times.units
    ([1735689540000, 1735689600000], ('ms', 'us'))
    """
    import pandas as pd

    if time_format is None and (regular := _regular(given)) is not None:
        return regular
    if isinstance(given.dtype, pd.PeriodDtype):
        given = given.dt.start_time
    bad = _Bad(given, where, place)
    if pd.api.types.is_datetime64_any_dtype(given):
        bad.where(given.isna())
        return _datetimes(given)
    if time_format is not None:
        return _formatted(given, time_format, bad)
    numbers = pd.to_numeric(given, errors="coerce")
    if 2 * int(numbers.notna().sum()) >= len(given):
        return _numbers(numbers, bad)
    bad.where(given.isna())
    if pd.api.types.infer_dtype(given, skipna=False) != "string":
        moments = pd.to_datetime(given, utc=True, errors="coerce")
        bad.where(moments.isna())
        zones = {getattr(value, "tzinfo", None) is None for value in given}
        if len(zones) > 1:
            raise BadCandle(f"{where}: some times have a time zone and some have none; give all of them one")
        return Times(to_ms(moments.dt.tz_localize(None)), naive=zones == {True})
    return _texts(given.astype(str).str.strip(), bad)


def _regular(given: pd.Series[Any]) -> Times | None:
    """Datetimes without a missing one, or whole numbers of one unit: the usual cases, many times faster."""
    import pandas as pd

    if not len(given):
        return None
    if isinstance(given.dtype, pd.DatetimeTZDtype) or given.dtype.kind == "M":
        index = pd.DatetimeIndex(given)
        if index.unit not in _PER_MS or index.hasnans:
            return None
        return Times(index.asi8 // _PER_MS[index.unit], naive=index.tz is None)
    if not isinstance(given.dtype, np.dtype) or given.dtype.kind not in "iu":
        return None
    values = given.to_numpy()
    lowest, highest = int(values.min()), int(values.max())
    if any(lowest < 2101 * 10 ** (digits - 4) and highest >= 1900 * 10 ** (digits - 4) for digits, _ in _DATES):
        return None  # written dates, perhaps
    for name, least, most, _ in _UNITS:
        if least <= lowest and highest < most:
            whole = values.astype(np.int64)
            return Times(whole * 1000 if name == "s" else whole // _PER_MS[name], naive=False, units=(name,))
    return None


def without_zone(given: pd.Series[Any]) -> pd.Series[Any]:
    """The same times as clocks of their zones show them; numbers since 1970 stay those of UTC.

    Examples
    --------
    >>> import pandas as pd
    >>> without_zone(pd.Series(["2024-06-10 00:00:00-04:00"])).tolist()
    ['2024-06-10 00:00:00']
    """
    import pandas as pd

    if isinstance(given.dtype, pd.DatetimeTZDtype):
        clocks: pd.Series[Any] = given.dt.tz_localize(None)
        return clocks
    kind = pd.api.types.infer_dtype(given, skipna=False)
    if kind == "string":
        texts = given.astype(str).str.strip()
        return texts.str.replace(r"\s*(?:Z|UTC|GMT)$", "", regex=True).str.replace(_OFFSET, "", regex=True)
    if kind == "datetime":
        return given.map(lambda value: value.replace(tzinfo=None))
    return given


def to_ms(moments: pd.Series[Any]) -> NDArray[np.int64]:
    """Datetimes without a zone as milliseconds since 1970, int64 of shape (n,)."""
    return moments.to_numpy().astype("datetime64[ms]").astype(np.int64)


def plain_value(value: Any) -> Any:
    """A value of a column as Python writes it, for messages."""
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True, slots=True)
class _Bad:
    """How a value that is no time is told."""

    given: pd.Series[Any]
    source: str
    place: Place

    def where(self, which: Any, rule: str = RULE, hint: str = _HINT) -> None:
        """Refuse the first value of those that are marked."""
        bad = np.asarray(which)
        if bad.any():
            at = int(np.argmax(bad))
            value, label = plain_value(self.given.iloc[at]), self.given.index[at]
            name = "the index" if self.given.name is None else str(self.given.name).strip()
            raise BadCandle(f"{self.source}, {self.place(label)}: {name} must be {rule}, got {value!r}\n{hint}")


def _datetimes(given: pd.Series[Any]) -> Times:
    if given.dt.tz is None:
        return Times(to_ms(given), naive=True)
    return Times(to_ms(given.dt.tz_convert("UTC").dt.tz_localize(None)), naive=False)


def _formatted(given: pd.Series[Any], time_format: str, bad: _Bad) -> Times:
    import pandas as pd

    texts = given.astype(str).str.strip()
    try:
        moments = pd.to_datetime(texts, format=time_format, errors="coerce", utc=True)
    except ValueError as error:
        raise UsageError(
            f"time_format must be a form such as '%d/%m/%Y %H:%M', got {time_format!r} ({error})"
        ) from None
    bad.where(moments.isna(), rule=f"a time of the form {time_format!r}", hint=f"{_CORRECT}, or correct time_format")
    return Times(to_ms(moments.dt.tz_localize(None)), naive="%z" not in time_format.lower())


def _numbers(numbers: pd.Series[Any], bad: _Bad) -> Times:
    bad.where(~np.isfinite(numbers.to_numpy(dtype=np.float64)), hint=_CORRECT)
    dates = _written_dates(numbers)
    if dates is not None:
        return Times(dates, naive=True)
    values = numbers.to_numpy()
    sizes = np.abs(values.astype(np.float64))
    found = {name: (sizes >= least) & (sizes < most) for name, least, most, _ in _UNITS}
    units = tuple(name for name, which in found.items() if which.any())
    rest = ~np.any([*found.values()], axis=0)
    if rest.any() and len(units) > 1:
        bad.where(rest, rule=f"a time in {' or '.join(units)} since 1970, as the others are", hint=_CORRECT)
    if rest.any():  # the years before 1973, and little numbers that somebody made up
        units = units or ("ms",)
        scale = next(scale for name, _, _, scale in _UNITS if name == units[0])
        late = rest & (sizes * scale >= 1e11)
        bad.where(late, rule="a time before the year 2103 in s, ms, us or ns since 1970", hint=_CORRECT)
        found[units[0]] = found[units[0]] | rest
    ms = np.zeros(len(values), dtype=np.int64)
    for name, _, _, scale in _UNITS:
        which = found[name]
        if not which.any():
            continue
        if name in ("us", "ns") and values.dtype.kind in "iu":
            ms[which] = values[which] // _PER_MS[name]
            continue
        exact = values[which].astype(np.float64) * scale
        whole = np.round(exact)
        if name in ("s", "ms"):
            broken = np.zeros(len(values), dtype=bool)
            broken[which] = np.abs(exact - whole) > 1e-3
            bad.where(broken, rule=f"whole milliseconds; as {name} since 1970 it is not", hint=_CORRECT)
        ms[which] = whole.astype(np.int64)
    return Times(ms, naive=False, units=units)


def _written_dates(numbers: pd.Series[Any]) -> NDArray[np.int64] | None:
    """Numbers such as 20240131 or 202401312359 as the moments they spell, when every one of them does."""
    import pandas as pd

    lowest, highest = float(numbers.min()), float(numbers.max())
    for digits, form in _DATES:
        year = 10.0 ** (digits - 4)
        if lowest >= 1900 * year and highest < 2101 * year:
            whole = numbers.astype(np.int64)
            if bool((whole != numbers).any()):
                return None
            moments = pd.to_datetime(whole.astype(str), format=form, errors="coerce")
            if bool(moments.notna().all()):
                return to_ms(moments)
    return None


def _iso(texts: pd.Series[Any]) -> Times | None:
    """Text that is ISO 8601 in every row, all with an offset or all without one: the usual case, many times faster."""
    import pandas as pd

    letters = texts.to_numpy(dtype="U")
    width = letters.dtype.itemsize // 4
    if width < len("2024-01-31"):
        return None
    codes = letters.view(np.uint32).reshape(len(letters), width)
    if bool((codes[:, [4, 7]] != ord("-")).any()):
        return None
    behind = codes[:, len("2024-01-31") :]
    offset = ((behind == ord("+")) | (behind == ord("-")) | (behind == ord("Z"))).any(axis=1)
    if offset.any() and not offset.all():
        return None
    moments = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    if bool(moments.isna().any()):
        return None
    return Times(to_ms(moments.dt.tz_localize(None)), naive=not offset.any())


def _texts(texts: pd.Series[Any], bad: _Bad) -> Times:
    regular = _iso(texts)
    if regular is not None:
        return regular
    texts = texts.str.replace(r"\s*(?:Z|UTC|GMT)$", "+00:00", regex=True)
    offsets = texts.str.extract(_OFFSET, expand=True)
    # The end of a date such as 31-12-2024 is no offset: an offset follows a time of day.
    has = (offsets[0].notna() & texts.str.contains(":")).to_numpy()
    if has.any() and not has.all():
        bad.where(~has, rule="a time with an offset from UTC, as the others are", hint="give all of them one, or none")
    shift = np.zeros(len(texts), dtype=np.int64)
    if has.any():
        hours = offsets[0].astype(np.int64).to_numpy()
        minutes = offsets[1].astype(np.int64).to_numpy()
        shift = hours * 3_600_000 + np.where(offsets[0].str.startswith("-"), -minutes, minutes) * 60_000
        texts = texts.str.replace(_OFFSET, "", regex=True)
    return Times(_parsed(_year_first(texts, bad), bad) - shift, naive=not has.any())


def _year_first(texts: pd.Series[Any], bad: _Bad) -> pd.Series[Any]:
    """Dates with the year first: the day stands first with dots, and with slashes where it can be nothing else."""
    import pandas as pd

    texts = texts.str.replace(r"^(\d{4})[./](\d{1,2})[./](\d{1,2})", r"\1-\2-\3", regex=True)
    texts = texts.str.replace(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})", r"\3-\2-\1", regex=True)
    parts = texts.str.extract(r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4})\b")
    is_date = parts[0].notna().to_numpy()
    if not is_date.all():
        if 2 * int(is_date.sum()) > len(texts):  # the others are no dates, such as a line of totals
            bad.where(~is_date)
        return texts
    first, second = (pd.to_numeric(parts[at]) for at in (0, 1))
    if bool((first <= 12).all()) and bool((second <= 12).all()) and bool((first != second).any()):
        which = (first != second).to_numpy()
        bad.where(
            which,
            rule="a date that can be read in one way only",
            hint='say whether the day or the month stands first: time_format="%d/%m/%Y %H:%M" or "%m/%d/%Y %H:%M"',
        )
    order = r"\3-\1-\2" if bool((first <= 12).all()) else r"\3-\2-\1"
    return texts.str.replace(r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4})", order, regex=True)


def _parsed(texts: pd.Series[Any], bad: _Bad) -> NDArray[np.int64]:
    import pandas as pd

    best: Any = None
    short = ~texts.str.contains(re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{8}|[A-Za-z]{3}"))
    for form in _FORMS:
        moments = pd.to_datetime(texts, format=form, errors="coerce").mask(short)
        if bool(moments.notna().all()):
            return to_ms(moments)
        if best is None or int(moments.notna().sum()) > int(best.notna().sum()):
            best = moments
    bad.where(
        best.isna(), hint=_SHORT_YEAR if bool(texts.str.match(r"\d{1,2}[-./]\d{1,2}[-./]\d{2}\b").any()) else _HINT
    )
    raise AssertionError("unreachable: some value fits no form")  # pragma: no cover
