"""Columns of numbers, flags and positions as a user's table holds them, one value per candle."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import utc_text
from ..errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

INVALID: Final = 2
"""The code of a position that is none of 1, 0, -1 and NaN."""
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
        raise UsageError(
            f"strategy {name!r}: get_signals must return one row per candle, {count} rows; {what} has {got}\n"
            "keep every row (no dropna): where nothing is to be done the position is 0"
        )
    return values


def check_index(column: Any, times: NDArray[np.int64], what: str, name: str) -> None:
    """See that the rows of a pandas object are those of the candles, which they are taken for by their place.

    Moments and starts of periods are compared with the open times of the candles, numbers must ascend; other labels
    say nothing of an order.

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
    if index.dtype.kind in "iuf":
        if not index.is_monotonic_increasing:
            raise UsageError(
                f"strategy {name!r}: the index of {what} must ascend as the candles do, it does not\n{advice}"
            )
    elif (index := _moments(index)) is not None:
        if np.array_equal(index.asi8, times // 1_000 if index.unit == "s" else times * _PER_MS[index.unit]):
            return  # the fast way, as a sweep comes here with each of its combinations
        moments = index.to_numpy(dtype="datetime64[ms]").astype(np.int64)
        if (other := np.flatnonzero(moments != times)).size:
            row = int(other[0])
            got = "no time" if index[row] != index[row] else utc_text(int(moments[row]))
            raise UsageError(
                f"strategy {name!r}: row {row} of {what} must be of the candle that opens at "
                f"{utc_text(int(times[row]))}, its index says {got}\n"
                f"{advice}"
            )


def _moments(index: Any) -> pd.DatetimeIndex | None:
    """An index of moments, of the starts of periods too; None for one of other labels."""
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex):
        return index
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    if index.dtype.kind == "M":  # of Arrow
        return pd.DatetimeIndex(index)
    return pd.to_datetime(index, utc=True) if getattr(index, "inferred_type", None) == "datetime" else None


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
            f"strategy {name!r}: the column {what} of get_signals must hold True or False, got {values[odd[0]]:g}\n"
            f"{meaning}"
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
