"""Rows of a history that hold, from a moment on, what stands in other rows of it.

Another future made by a factor (:mod:`bknb.research.other_future`) changes no sign, no text and no category. What
stands in other rows is of the same kind, whatever that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS
from .moment_parsing import distinct
from .timed_data import Timed, beside, has_floats, timed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .market_values import MarketValues

_FEWEST: Final = 24  # rows that show whether they are a history
_MOST: Final = 2_000  # rows that are looked at for it
_REGULAR: Final = 0.8  # share of steps, and of rows that the time of day tells


def exchanged(
    value: Any,
    when: int,
    known: Callable[[Any, Timed], NDArray[np.int64]],
    market: MarketValues,
    *,
    seed: int,
) -> Any:
    """The data with other rows after a moment (UTC ms); ``value`` itself where it holds no history, or prices.

    Parameters
    ----------
    value
        Anything.
    when
        Rows that were known then stay.
    known
        When the rows of data are known, UTC ms.
    market
        A history of its prices is left alone: a factor changes them as it may.
    seed
        1: rows in any order. 0: rows in the order of one of their columns, backwards.
    """
    data = timed(value, market.span)
    if data is None:
        return value
    late = np.flatnonzero(known(value, data) > when)
    if not len(late) or not is_history(value, data):
        return value
    columns = list(beside(value).values())
    if are_prices(columns, market):
        return value
    places = np.arange(len(data.opens_at))
    other = np.random.default_rng([when // MINUTE_MS, 1]).permutation(places)
    if columns and not seed:
        order = np.argsort(_codes(columns[when // MINUTE_MS % len(columns)]), kind="stable")
        other = np.empty_like(places)
        other[order] = order[::-1]
    places[late] = other[late]
    new = data.exchanged(places)
    return new if is_dense(value, data) else _with_names(value, new)


def are_prices(columns: Sequence[NDArray[Any]], market: MarketValues) -> bool:
    """Whether all columns hold prices of the market."""
    return all(one.dtype.kind == "f" and market.copied_at(one.astype(np.float64)).any() for one in columns)


def _codes(column: NDArray[Any]) -> NDArray[Any]:
    """Numbers in the order of the values of a column."""
    if column.dtype.kind in "biufM":
        return column
    texts: NDArray[Any] = np.unique([repr(one) for one in column], return_inverse=True)[1]
    return texts


def _with_names(value: Any, new: Any) -> Any:
    """The new data with the old names and other text: of what may be a calendar, these are known before."""
    if hasattr(value, "columns"):
        for at, name in enumerate(value.columns):
            if value.iloc[:, at].dtype.kind != "f":
                new[name] = value[name]
        return new
    return new if hasattr(value, "iloc") or isinstance(value, np.ndarray) else value


def is_history(value: Any, data: Timed) -> bool:
    """Whether the moments of data are those at which something was, and not those of a calendar or a schedule.

    Time stamps with numbers beside them are, and what ``is_dense``.
    """
    return (data.is_sure and has_floats(value)) or is_dense(value, data)


def is_dense(value: Any, data: Timed) -> bool:
    """Whether data has a row for every step of less than a day, and the time of day does not tell what stands in it.

    Data whose moments are named as those at which it was published counts as such.
    """
    if data.is_published:
        return True
    times = distinct(data.opens_at)
    steps = np.diff(times)
    if len(times) < _FEWEST or times[-1] - times[0] < 2 * DAY_MS:
        return False
    step = int(np.median(steps))
    if step >= DAY_MS or (steps == step).mean() < _REGULAR:
        return False
    opens = data.opens_at
    if len(opens) > _MOST:
        some = np.arange(len(opens)) >= len(opens) - _MOST
        value, opens = data.take(some), opens[some]
    return _told_by_time_of_day(opens, list(beside(value).values())) < _REGULAR


def was_published(value: Any, market: MarketValues, unmoved: Set[int]) -> bool:
    """Whether rows were not known before their moments, although the statements that made them are known.

    Parameters
    ----------
    value
        Anything.
    market
        Rows that hold its prices, and came out the same over every other future, were not made again.
    unmoved
        Identities of values that these statements make the same over every other future.
    """
    data = timed(value, market.span)
    if data is None or data.is_published or id(value) not in unmoved:
        return data is not None and data.is_published
    return is_dense(value, data) or are_prices(list(beside(value).values()), market)


def _told_by_time_of_day(opens: NDArray[np.int64], columns: list[NDArray[Any]]) -> float:
    """Share of rows that hold what most of those of the same time of day do; 1 where nothing stands beside moments."""
    if any(one.dtype.kind not in "biuf" for one in columns):
        return _told(opens, columns)
    return _told_by_bytes(opens.tobytes(), tuple((one.dtype.str, one.tobytes()) for one in columns))


@lru_cache(maxsize=16)
def _told_by_bytes(opens: bytes, columns: tuple[tuple[str, bytes], ...]) -> float:
    """``_told`` of numbers; the same rows are looked at for every other future."""
    return _told(np.frombuffer(opens, np.int64), [np.frombuffer(content, dtype) for dtype, content in columns])


def _told(opens: NDArray[np.int64], columns: list[NDArray[Any]]) -> float:
    counts: dict[int, dict[str, int]] = {}
    for when, *row in zip((opens % DAY_MS).tolist(), *[one.tolist() for one in columns], strict=True):
        of, text = counts.setdefault(when, {}), repr(row)
        of[text] = of.get(text, 0) + 1
    return sum(max(of.values()) for of in counts.values()) / max(len(opens), 1)
