"""Moments in whatever a user writes them: time stamps, periods, dates, texts, numbers since 1970 in any unit."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Moments = NDArray[np.int64]

_Number = TypeVar("_Number", np.int64, np.float64)

EARLIEST_MS, LATEST_MS = 10**11, 10**13  # 1973 .. 2286: what can be taken for milliseconds
_TEXT: Final = re.compile(r"\d{4}-?\d\d-?\d\d([ T]\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?\s*(Z|UTC|[+-]\d\d:?\d\d)?)?\Z")
_DIGITS: Final = re.compile(r"\d{9,19}\Z")
_PER_UNIT: Final = (1.0, 1000.0, float(MINUTE_MS), 60.0 * MINUTE_MS, float(DAY_MS), 1e-3, 1e-6)
"""Milliseconds in what numbers may count: milliseconds, seconds, minutes, hours, days, micro- and nanoseconds."""

_FEWEST_INSIDE: Final = 3  # numbers that are moments of the market in some unit; fewer may be so by chance


def as_time_stamps(values: Any) -> Moments | None:
    """Time stamps and whole numbers as UTC ms; ``None`` when the values are none."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        stamps = pd.DatetimeIndex(values)
        stamps = stamps.tz_convert("UTC").tz_localize(None) if stamps.tz is not None else stamps
        return np.asarray(stamps.to_numpy().astype("datetime64[ms]").astype(np.int64))
    if pd.api.types.is_integer_dtype(values):
        return np.asarray(values, dtype=np.int64)
    return None


def are_moments(values: Moments) -> bool:
    """Whether all numbers, UTC ms, lie in the time of markets."""
    return len(values) > 1 and bool(((values > EARLIEST_MS) & (values < LATEST_MS)).all())


def as_moments(values: Any, span: tuple[int, int]) -> Moments | None:
    """The moments (UTC ms) that values mean; ``None`` when they mean none.

    Parameters
    ----------
    values
        Periods (their begin), dates, texts as ``2024-01-02 13:00``, or numbers of milliseconds, seconds, minutes, hours
        or days since 1970, also as text.
    span
        First and last moment of the market, UTC ms. Numbers are moments in the unit in which some of them lie there.
    """
    import pandas as pd

    index: Any = values if isinstance(values, pd.Index) else pd.Index(np.asarray(values, dtype=object).tolist())
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    first = index[0] if len(index) > 1 else None
    if isinstance(first, dt.date):
        index = pd.to_datetime(index, utc=True, errors="coerce")
    elif isinstance(first, str) and _TEXT.match(first):
        index = pd.to_datetime(index, utc=True, errors="coerce", format="mixed")
    elif isinstance(first, str) and _DIGITS.match(first):
        index = pd.Index(pd.to_numeric(index.to_numpy(), errors="coerce"))
    if isinstance(index, pd.DatetimeIndex):
        moments = None if index.hasnans else as_time_stamps(index)
        return moments if moments is not None and are_moments(moments) else None
    if isinstance(first, (bool, np.bool_)) or index.dtype.kind not in "iuf" or len(index) < _FEWEST_INSIDE:
        return None
    return _in_some_unit(index.to_numpy(dtype=np.float64), span)


def distinct(moments: NDArray[_Number]) -> NDArray[_Number]:
    """The different ones of some moments, ascending; those that ascend already are handed back.

    Examples
    --------
    >>> distinct(np.array([3, 1, 3])).tolist(), distinct(np.array([1, 3])).tolist()
    ([1, 3], [1, 3])
    """
    return moments if bool((moments[1:] > moments[:-1]).all()) else np.unique(moments)


def _in_some_unit(numbers: NDArray[np.float64], span: tuple[int, int]) -> Moments | None:
    if not np.isfinite(numbers).all():
        return None
    for unit in _PER_UNIT:
        moments = numbers * unit
        inside = distinct(moments[(moments >= span[0]) & (moments <= span[1])])
        if len(inside) >= _FEWEST_INSIDE and moments.min() > EARLIEST_MS and moments.max() < LATEST_MS:
            whole = numbers == np.floor(numbers)
            return moments.astype(np.int64) if unit <= 1000.0 or whole.all() else None
    return None
