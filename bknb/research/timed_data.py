"""Time-stamped data of any shape (pandas, numpy, mappings, rows), to be cut off after a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..market.candles import Candles

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_TIME_NAMES: Final = ("published_at", "timestamp", "time", "date", "datetime", "open_time", "t")
_EARLIEST_MS, _LATEST_MS = 10**11, 10**13  # 1973 .. 2286: what can be taken for milliseconds
_MANY: Final = 100  # fewer numbers than this are settings, not a history


@dataclass(frozen=True, slots=True)
class Timed:
    """Rows of data with a time stamp each.

    Attributes
    ----------
    known_at : ndarray of int64
        When each row is complete, UTC ms: a candle when it has closed.
    opens_at : ndarray of int64
        The time stamp of the row, UTC ms.
    take : callable
        The same data with only the rows of a mask.
    """

    known_at: NDArray[np.int64]
    opens_at: NDArray[np.int64]
    take: Callable[[NDArray[np.bool_]], Any]


def timed(value: Any) -> Timed | None:
    """The time-stamped rows of ``value``; ``None`` when it has none."""
    if isinstance(value, Candles):
        return _timed(value.timestamp, value.take, candles=True)
    if hasattr(value, "iloc") and hasattr(value, "index"):
        return _of_pandas(value)
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if isinstance(value, np.ndarray):
        return _of_array(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) > 1:
        return _of_rows(value)
    return None


def is_row_of_numbers(value: Any) -> bool:
    """Whether ``value`` is a long row (or table) of numbers without time stamps."""
    if isinstance(value, (list, tuple)):
        return len(value) >= _MANY and all(isinstance(one, (int, float)) for one in value[:_MANY])
    array = getattr(value, "values", value) if hasattr(value, "iloc") else value
    return isinstance(array, np.ndarray) and array.dtype.kind in "iuf" and array.ndim > 0 and len(array) >= _MANY


def scrambled(value: Any, begin: int) -> Any:
    """The same row with other numbers from place ``begin`` on: mirrored around the middle of all, and rescaled."""
    if hasattr(value, "iloc"):
        changed = value.copy()
        other = scrambled(value.to_numpy(), begin)
        for at in range(begin, len(value)) if hasattr(value, "columns") else ():
            changed.iloc[at] = other[at]
        return changed if hasattr(value, "columns") else value.__class__(other, index=value.index, name=value.name)
    array = np.array(value, dtype=np.float64)
    array[begin:] = (np.nanmin(array) + np.nanmax(array) - array[begin:]) * 1.5 + 1.0
    return array.tolist() if isinstance(value, list) else tuple(array.tolist()) if isinstance(value, tuple) else array


def _timed(times: Any, take: Callable[[NDArray[np.bool_]], Any], *, candles: bool) -> Timed | None:
    opens = np.asarray(times, dtype=np.int64)
    if len(opens) < 2 or not ((opens > _EARLIEST_MS) & (opens < _LATEST_MS)).all():
        return None
    steps = np.diff(np.unique(opens))
    step = int(np.median(steps)) if candles and len(steps) else 0
    return Timed(known_at=opens + step, opens_at=opens, take=take)


def _ms(values: Any) -> NDArray[np.int64] | None:
    """Time stamps as UTC ms; ``None`` when the values are none."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        stamps = pd.DatetimeIndex(values)
        stamps = stamps.tz_convert("UTC").tz_localize(None) if stamps.tz is not None else stamps
        return np.asarray(stamps.to_numpy().astype("datetime64[ms]").astype(np.int64))
    if pd.api.types.is_integer_dtype(values):
        return np.asarray(values, dtype=np.int64)
    return None


def _of_pandas(value: Any) -> Timed | None:
    columns = {str(name).lower(): name for name in getattr(value, "columns", ())}
    named = next((columns[name] for name in _TIME_NAMES if name in columns), None)
    times = _ms(value.index)
    if times is None or (len(times) and times[0] < _EARLIEST_MS):
        times = None if named is None else _ms(value[named])
    if times is None:
        return None
    return _timed(times, lambda mask: value.iloc[np.flatnonzero(mask)], candles="close" in columns)


def _of_mapping(value: Mapping[Any, Any]) -> Timed | None:
    import pandas as pd

    keys = list(value)
    if len(keys) < 2 or isinstance(keys[0], (str, bool)):
        return None
    try:
        times = _ms(pd.Index(keys))
    except (TypeError, ValueError):
        return None
    if times is None:
        return None
    return _timed(
        times, lambda mask: {key: value[key] for key, chosen in zip(keys, mask, strict=True) if chosen}, candles=False
    )


def _of_array(value: NDArray[Any]) -> Timed | None:
    if value.dtype.names:
        named = next((name for name in _TIME_NAMES if name in value.dtype.names), None)
        times = None if named is None else value[named]
        candles = "close" in value.dtype.names
    else:
        times = value[:, 0] if value.ndim == 2 and value.dtype.kind in "if" and value.shape[1] > 1 else None
        candles = value.ndim == 2 and value.shape[1] == 6
    if times is None or not len(times) or not np.isfinite(times.astype(np.float64)).all():
        return None
    return _timed(times.astype(np.int64), lambda mask: value[mask], candles=candles)


def _of_rows(value: Sequence[Any]) -> Timed | None:
    first = value[0]
    try:
        if isinstance(first, Mapping):
            named = next((name for name in _TIME_NAMES if name in first), None)
            times = None if named is None else [row[named] for row in value]
            candles = "close" in first
        elif isinstance(first, (list, tuple)) and len(first) > 1:
            times, candles = [row[0] for row in value], len(first) == 6
        else:
            return None
        if times is None:
            return None
        import pandas as pd

        moments = _ms(pd.Index(times))
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    if moments is None:
        return None
    return _timed(moments, lambda mask: [row for row, own in zip(value, mask, strict=True) if own], candles=candles)
