"""Columns of numbers, flags and positions as a user's table holds them, one value per candle."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import utc_text
from ..errors import BadCandle, UsageError
from ..market.column_names import looks_like_time
from ..market.time_units import read_times

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

INVALID: Final = 2
"""The code of a position that is none of 1, 0, -1 and NaN."""
LONG_LEAVES, SHORT_LEAVES, TWO_TARGETS, TWO_ENTRIES, OF_ONE_SIDE = range(INVALID + 1, INVALID + 6)
"""Codes of positions in rows that contradict themselves."""
EITHER_SIDE: Final = INVALID + 6
"""The code of a position that is a long or a short, whichever fills first."""
_FEWEST: Final = 19_000_101  # the smallest number that is a written date, such as 20240131
_SECONDS: Final = 100_000_000  # the smallest that is a time since 1970: 1973 in seconds
_PER_MS: Final = {"ms": 1, "us": 1_000, "ns": 1_000_000}


@lru_cache(maxsize=16)
def constant(value: float, count: int) -> NDArray[np.float64]:
    """One value for all rows, read-only; made once, since the combinations of a sweep ask for the same.

    Examples
    --------
    >>> constant(1.0, 2)
    array([1., 1.])
    """
    column = np.full(count, value)
    column.setflags(write=False)
    return column


@lru_cache(maxsize=8)
def no_flags(count: int) -> NDArray[np.bool_]:
    """False for all rows, read-only.

    Examples
    --------
    >>> no_flags(2)
    array([False, False])
    """
    column = np.zeros(count, dtype=np.bool_)
    column.setflags(write=False)
    return column


def numbers(column: Any, count: int, what: str, name: str) -> NDArray[np.float64]:
    """The column ``what`` of the strategy ``name`` as floats, shape (count,); a scalar holds for all rows.

    Raises
    ------
    UsageError
        When it holds no numbers, or not one per candle.
    """
    try:
        if hasattr(column, "to_numpy"):
            values = np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"strategy {name!r}: the column {what} of get_signals must hold numbers\n{error}") from None
    if values.ndim == 0:
        return constant(float(values), count)
    if values.shape != (count,):
        got = " x ".join(map(str, values.shape))
        nothing = "the weight is NaN" if what == "weight" else "the position is 0"
        raise UsageError(
            f"strategy {name!r}: get_signals must return one row per candle, {count} rows; {what} has {got}\n"
            f"keep every row (no dropna): where nothing is to be done {nothing}"
        )
    return values


def check_index(column: Any, times: NDArray[np.int64], what: str, name: str) -> None:
    """See that the rows of a pandas object are those of the candles, which they are taken for by their place.

    Moments are compared with the open times of the candles: datetimes, starts of periods, ISO 8601 text, numbers that
    are times since 1970 or written dates by their size. Other numbers must ascend; other labels say nothing of order.

    Parameters
    ----------
    column
        Anything; only a DataFrame or a Series has an index.
    times : ndarray of int64, shape (n,)
        Open times, UTC ms.
    what, name
        What is indexed, and the strategy.

    Raises
    ------
    UsageError
        When a row is of another moment than the candle of its place, or rows are not in ascending order.
    """
    index: Any = getattr(column, "index", None)
    if not hasattr(index, "dtype") or len(index) != len(times):
        return
    advice = (
        "rows are taken by their place: keep the order of the candles and the index of candles.to_pandas(); where "
        f"another index is meant, return {what} without one: .reset_index(drop=True)"
    )
    moments = _moments(index)
    if moments is None:
        if index.dtype.kind in "iuf" and not index.is_monotonic_increasing:
            raise UsageError(
                f"strategy {name!r}: the index of {what} must ascend as the candles do, it does not\n{advice}"
            )
        return
    if np.array_equal(moments.asi8, times // 1_000 if moments.unit == "s" else times * _PER_MS[moments.unit]):
        return  # the fast way, as a sweep comes here with each of its combinations
    opens = moments.to_numpy(dtype="datetime64[ms]").astype(np.int64)
    if (other := np.flatnonzero(opens != times)).size:
        row = int(other[0])
        got = "no time" if moments[row] != moments[row] else utc_text(int(opens[row]))
        raise UsageError(
            f"strategy {name!r}: row {row} of {what} must be of the candle that opens at "
            f"{utc_text(int(times[row]))}, its index says {got}\n{advice}"
        )


def _moments(index: Any) -> pd.DatetimeIndex | None:
    """An index of moments, of the starts of periods too; None for one of other labels."""
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex):
        return index
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    if isinstance(index, pd.MultiIndex):  # of symbols and moments
        levels = (_moments(index.get_level_values(level)) for level in range(index.nlevels))
        return next((level for level in levels if level is not None), None)
    if isinstance(index, pd.CategoricalIndex):
        return _moments(pd.Index(index.to_list()))
    kind = index.dtype.kind
    if kind == "M":  # of Arrow
        return pd.DatetimeIndex(index)
    if kind in "iuf":
        return _numbered(index)
    moments: pd.DatetimeIndex | None = None
    inferred = getattr(index, "inferred_type", None)
    if inferred in ("datetime", "datetime64", "date"):
        moments = pd.to_datetime(index, utc=True)
    elif inferred == "string" and len(index) and looks_like_time(index[0]):
        moments = pd.to_datetime(index, utc=True, format="ISO8601", errors="coerce")
        moments = _read(index) if moments.isna().all() else moments
    return moments


def _numbered(index: Any) -> pd.DatetimeIndex | None:
    """Numbers that are moments by their size, such as milliseconds since 1970; None for numbers of rows."""
    import pandas as pd

    least = index.min()
    if pd.isna(least) or least < _FEWEST:
        return None
    return _read(index, is_since_1970=bool(least >= _SECONDS))


def _read(index: Any, *, is_since_1970: bool = False) -> pd.DatetimeIndex | None:
    """Text or numbers as moments; None where they are none."""
    import pandas as pd

    try:
        found = read_times(index.to_series(), where="", place=str)
    except BadCandle:
        return None
    return None if found.units and not is_since_1970 else pd.DatetimeIndex(found.ms.astype("datetime64[ms]"))


def flags(column: Any, count: int, what: str, name: str, *, meaning: str) -> NDArray[np.bool_]:
    """A column of True and False, shape (count,); what is missing is false. ``meaning`` says what both stand for.

    Raises
    ------
    UsageError
        When it holds anything else, or not one value per candle.
    """
    given = np.asarray(column)
    if given.dtype == np.bool_ and given.shape == (count,):  # as it should be: no way through floats
        ready: NDArray[np.bool_] = given
        return ready
    values = np.nan_to_num(numbers(column, count, what, name), nan=0.0)
    wanted: NDArray[np.bool_] = values == 1
    if (odd := np.flatnonzero(~wanted & (values != 0))).size:
        raise UsageError(
            f"strategy {name!r}: the column {what} of get_signals must hold True or False, "
            f"got {values[odd[0]]:g}\n{meaning}"
        )
    return wanted


def positions(column: Any, count: int, name: str) -> NDArray[np.int8]:
    """The column ``position`` as 1, 0, -1 and ``INVALID``, shape (count,); what is missing is 0."""
    given = np.asarray(column)
    if given.dtype in (np.int8, np.bool_) and given.shape == (count,):  # as it should be: no way through floats
        small: NDArray[np.int8] = given.astype(np.int8)
        small[(small > 1) | (small < -1)] = INVALID
        return small
    values = numbers(column, count, "position", name)
    with np.errstate(invalid="ignore"):
        codes = values.astype(np.int8)
    odd = codes != values
    odd |= np.abs(codes) > 1
    if odd.any():
        codes[odd] = INVALID
        codes[np.isnan(values)] = 0
    return codes
