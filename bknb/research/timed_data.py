"""Time-stamped data of any shape (pandas, numpy, mappings, rows): cut off after a moment, or its rows exchanged."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..market.candles import Candles
from .moment_parsing import EARLIEST_MS, are_moments, as_moments, as_time_stamps, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Places = NDArray[np.int64]
    Span = tuple[int, int]

PUBLISHED: Final = ("published_at", "released_at", "available_at", "known_at")
_SURE: Final = (*PUBLISHED, "timestamp", "time", "date", "datetime", "open_time", "t")
_TIME_NAMES: Final = (*_SURE, "when", "ts", "dt", "created_at", "seen_at", "as_of")
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
    exchanged : callable
        The same moments, with what stands beside others: from places, one for each row.
    is_sure : bool
        Whether the moments are time stamps, or milliseconds, where moments stand: in an index, in keys, in a column of
        the usual names.
    is_published : bool
        Whether its name says that a row was not known before its time stamp.
    """

    known_at: NDArray[np.int64]
    opens_at: NDArray[np.int64]
    take: Callable[[Mask], Any]
    exchanged: Callable[[Places], Any]
    is_sure: bool = True
    is_published: bool = False


def timed(value: Any, span: Span | None = None) -> Timed | None:
    """The time-stamped rows of ``value``; ``None`` when it has none.

    Parameters
    ----------
    value
        Anything.
    span
        First and last moment of the market, UTC ms: with it periods, texts and numbers in other units than
        milliseconds are read as moments, and moments in columns of other names than the usual ones are.
    """
    found = _of(value, span)
    return found if found is None or found.is_sure or span is not None else None


def _of(value: Any, span: Span | None) -> Timed | None:
    if isinstance(value, Candles):
        return _timed(value.timestamp, value.take, lambda _: value, candles=True)
    if hasattr(value, "iloc") and hasattr(value, "index"):
        return _of_pandas(value, span)
    if isinstance(value, Mapping):
        return _of_mapping(value, span)
    if isinstance(value, np.ndarray):
        return _of_array(value, span)
    rows = isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))
    if (rows or isinstance(value, deque)) and len(value) > 1:
        return _of_rows(value, span)
    if isinstance(value, Set) and len(value) > 1 and span is not None:
        return _of_set(value, span)
    return None


def beside(value: Any) -> dict[Any, NDArray[Any]]:
    """What stands beside the moments of rows: columns by their names, or places, one without a name where it is one."""
    if isinstance(value, Mapping):
        return {"": _objects(list(value.values()))}
    if isinstance(value, Set):
        return {}
    if hasattr(value, "iloc"):
        if not hasattr(value, "columns"):
            return {"": value.to_numpy()}
        named = _named(value.columns)
        places = {name: at for at, name in enumerate(value.columns) if named is None or name != named}
        return {name: value.iloc[:, at].to_numpy() for name, at in places.items()}
    if isinstance(value, np.ndarray):
        if value.dtype.names:
            return {name: value[name] for name in value.dtype.names if name != _named(value.dtype.names)}
        return dict(enumerate(value.reshape(len(value), -1).T[1:], start=1))
    rows = [_fields(row) for row in value]
    if not rows[0]:
        return {}
    named = _named(rows[0]) or next(iter(rows[0]))
    return {name: _objects([row.get(name) for row in rows]) for name in rows[0] if name != named}


def backwards(value: Any, data: Timed, name: Any, since: int) -> Any:
    """The same with a column of ``beside`` in the opposite order after a moment; of what is no table, all of them."""
    places = np.arange(len(data.opens_at))
    places = np.where(data.opens_at > since, places[::-1], places)
    if not hasattr(value, "columns"):
        return data.exchanged(places)
    new = value.copy()
    new[name] = new[name].to_numpy()[places]
    return new


def _objects(values: list[Any]) -> NDArray[Any]:
    if all(isinstance(one, float) for one in values):
        return np.array(values, dtype=np.float64)
    return np.fromiter(values, dtype=object, count=len(values))


def has_floats(value: Any) -> bool:
    """Whether there are numbers among what stands beside moments."""
    if hasattr(value, "dtypes"):
        kinds = value.dtypes if hasattr(value, "columns") else [value.dtype]
        return any(getattr(kind, "kind", "O") in "fib" for kind in kinds)
    if isinstance(value, Mapping):
        return all(isinstance(one, (int, float)) for one in list(value.values())[:64])
    if isinstance(value, Set):
        return False
    if isinstance(value, (list, tuple, deque)) and value:
        return any(isinstance(one, float) for one in _fields(value[0]).values())
    return True


def is_row_of_numbers(value: Any) -> bool:
    """Whether ``value`` is a long row (or table) of numbers without time stamps."""
    if isinstance(value, (list, tuple)):
        return len(value) >= _MANY and all(isinstance(one, (int, float)) for one in value[:_MANY])
    array = getattr(value, "values", value) if hasattr(value, "iloc") else value
    return isinstance(array, np.ndarray) and array.dtype.kind in "iuf" and array.ndim > 0 and len(array) >= _MANY


def scrambled(value: Any, begin: int) -> Any:
    """The same row with other numbers from place ``begin`` on: mirrored around the middle of all, and rescaled."""
    if hasattr(value, "iloc"):
        changed = value.astype(np.float64)
        other = scrambled(value.to_numpy(), begin)
        for at in range(begin, len(value)) if hasattr(value, "columns") else ():
            changed.iloc[at] = other[at]
        return changed if hasattr(value, "columns") else value.__class__(other, index=value.index, name=value.name)
    array = np.array(value, dtype=np.float64)
    array[begin:] = (np.nanmin(array) + np.nanmax(array) - array[begin:]) * 1.5 + 1.0
    return array.tolist() if isinstance(value, list) else tuple(array.tolist()) if isinstance(value, tuple) else array


def _timed(
    times: Any,
    take: Callable[[Mask], Any],
    exchanged: Callable[[Places], Any],
    *,
    candles: bool,
    is_sure: bool = True,
    is_published: bool = False,
) -> Timed | None:
    opens = np.asarray(times, dtype=np.int64)
    if not are_moments(opens):
        return None
    steps = np.diff(distinct(opens)) if candles else opens[:0]
    step = int(np.median(steps)) if len(steps) else 0
    return Timed(opens + step, opens, take, exchanged, is_sure, is_published)


def _moments(values: Any, span: Span | None) -> tuple[NDArray[np.int64] | None, bool]:
    """The moments that values mean, and whether they are sure to be moments."""
    import pandas as pd

    with contextlib.suppress(TypeError, ValueError, OverflowError):
        found = as_time_stamps(values if hasattr(values, "dtype") else pd.Index(values))
        if found is not None and len(found) and found[0] > EARLIEST_MS and are_moments(found):
            return found, True
        if span is not None:
            return as_moments(values, span), False
    return None, False


def _named(columns: Any) -> Any:
    lower = {str(name).lower(): name for name in columns if isinstance(name, str)}
    return next((lower[name] for name in _TIME_NAMES if name in lower), None)


def _of_pandas(value: Any, span: Span | None) -> Timed | None:
    lower = {str(name).lower(): name for name in getattr(value, "columns", ())}
    named = _named(lower.values())
    levels = range(value.index.nlevels) if value.index.nlevels > 1 else ()
    parts = [value.index] if not levels else [value.index.get_level_values(at) for at in levels]
    times, is_sure, name = None, False, None
    for part in parts:
        if times is None:
            (times, is_sure), name = _moments(part, span if part.dtype.kind != "f" else None), part.name
    if times is None and named is not None:
        (times, is_sure), name = _moments(value[named], span), named
        is_sure = is_sure and str(named).lower() in _SURE
    if times is None:
        return None

    def exchanged(places: Places) -> Any:
        new = value.iloc[places].copy()
        new.index = value.index
        names = list(lower.values()) if lower and value.columns.is_unique else []
        for kept in [name for name in names if name == named or _is_key(value[name], times)]:
            new[kept] = value[kept]
        return new

    return _timed(
        times,
        lambda mask: value.iloc[np.flatnonzero(mask)],
        exchanged,
        candles="close" in lower and str(name).lower() not in PUBLISHED,
        is_sure=is_sure and not levels,
        is_published=str(name).lower() in PUBLISHED,
    )


def _is_key(column: Any, times: Any) -> bool:
    """Whether a column says, for rows with the same moment, of what they are: of a symbol."""
    if column.dtype.kind in "fib" or len(np.unique(times)) == len(times):
        return False
    with contextlib.suppress(TypeError):
        return len(set(zip(times.tolist(), column.tolist(), strict=True))) == len(times)
    return False


def _of_mapping(value: Mapping[Any, Any], span: Span | None) -> Timed | None:
    keys = list(value)
    if len(keys) < 2 or isinstance(keys[0], bool) or (span is None and isinstance(keys[0], str)):
        return None
    times, is_sure = None, False
    if isinstance(keys[0], tuple):
        width = len(keys[0]) if span is not None and all(isinstance(key, tuple) for key in keys) else 0
        for at in range(min(width, *map(len, keys)) if width else 0):
            if times is None:
                times, _ = _moments([key[at] for key in keys], span)
    else:
        times, is_sure = _moments(keys, span)
    if times is None:
        return None

    def made(parts: dict[Any, Any]) -> Any:
        if type(value) is dict or not isinstance(value, MutableMapping):
            return parts
        new = copy.copy(value)
        new.clear()
        new.update(parts)
        return new

    return _timed(
        times,
        lambda mask: made({key: value[key] for key, chosen in zip(keys, mask, strict=True) if chosen}),
        lambda places: made({key: value[keys[at]] for key, at in zip(keys, places.tolist(), strict=True)}),
        candles=False,
        is_sure=is_sure,
    )


def _of_array(value: NDArray[Any], span: Span | None) -> Timed | None:
    named: Any = None
    if value.dtype.names:
        named = _named(value.dtype.names)
        times = None if named is None else value[named]
        candles = "close" in value.dtype.names
    else:
        times = value[:, 0] if value.ndim == 2 and value.dtype.kind in "if" and value.shape[1] > 1 else None
        candles = value.ndim == 2 and value.shape[1] == 6
    if times is None or not len(times) or times.dtype.kind not in "iufM":
        return None
    is_stamp = times.dtype.kind == "M"
    if is_stamp:
        times = times.astype("datetime64[ms]").astype(np.int64)
    if not np.isfinite(times.astype(np.float64)).all():
        return None
    is_sure, is_sorted = are_moments(times.astype(np.int64)), bool((np.diff(times) >= 0).all())
    found = times.astype(np.int64) if is_sure else as_moments(times, span) if span and is_sorted else None
    if found is None:
        return None

    def exchanged(places: Places) -> Any:
        new = value[places].copy()
        if named is None:
            new[:, 0] = value[:, 0]
        else:
            new[named] = value[named]
        return new

    return _timed(found, lambda mask: value[mask], exchanged, candles=candles, is_sure=is_sure and not is_stamp)


def _fields(row: Any) -> dict[Any, Any]:
    """The fields of a row by name, or by place; nothing where it is no row."""
    if isinstance(row, Mapping):
        return dict(row)
    if isinstance(row, tuple) and hasattr(row, "_asdict"):
        return dict(row._asdict())
    if isinstance(row, (list, tuple)):
        return dict(enumerate(row))
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return {}


def _with(row: Any, name: Any, moment: Any) -> Any:
    """A row with another moment."""
    if isinstance(row, Mapping):
        return {**row, name: moment}
    if isinstance(row, tuple) and hasattr(row, "_replace"):
        return row._replace(**{name: moment})
    if isinstance(row, (list, tuple)):
        return type(row)([moment, *row[1:]])
    return dataclasses.replace(row, **{name: moment})


def _of_rows(value: Any, span: Span | None) -> Timed | None:
    first = _fields(value[0])
    if len(first) < 2:
        return None
    is_plain = next(iter(first)) == 0
    named = 0 if is_plain else _named(first)
    if named is None and isinstance(value[0], tuple):
        named = next(iter(first))
    try:
        own = None if named is None else [row[0] if is_plain else _fields(row)[named] for row in value]
    except (KeyError, IndexError, TypeError):
        return None
    times, is_sure = (None, False) if own is None else _moments(own, span)
    if times is None or own is None:
        return None

    def made(rows: list[Any]) -> Any:
        return rows if isinstance(value, list) or type(value) not in (tuple, deque) else type(value)(rows)

    def exchanged(places: Places) -> Any:
        return made([_with(value[at], named, moment) for at, moment in zip(places.tolist(), own, strict=True)])

    return _timed(
        times,
        lambda mask: made([row for row, chosen in zip(value, mask, strict=True) if chosen]),
        exchanged,
        candles=len(first) == 6 if is_plain else "close" in first,
        is_sure=is_sure and (named in _SURE or isinstance(value[0], (list, tuple))) and not isinstance(value, deque),
        is_published=named in PUBLISHED,
    )


def _of_set(value: Any, span: Span) -> Timed | None:
    items = sorted(value, key=repr)
    times, is_sure = _moments(items, span)
    if times is None:
        return None

    def take(mask: Any) -> Any:
        return type(value)(one for one, chosen in zip(items, mask, strict=True) if chosen)

    return _timed(times, take, lambda places: take(places == np.arange(len(items))), candles=False, is_sure=is_sure)
