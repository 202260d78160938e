"""Base bars, mostly minutes, to a higher interval, on UTC boundaries, complete buckets only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import MINUTE_MS, ceil_to, floor_to, interval_ms
from .candles import Candles

_PIECE: Final = 1_024  # candles at a time: what they are made of stays in the cache of the processor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid


def resample(
    candles: Candles,
    interval: str,
    *,
    allow_gaps: bool = False,
    since: int | None = None,
    until: int | None = None,
    sessions: Sessions | None = None,
    base_ms: int = MINUTE_MS,
    grid: BarGrid | None = None,
) -> Candles:
    """Candles of a higher interval, made of one-minute candles or of longer base bars.

    Open is the first minute's, close the last one's, high and low the extremes, volume the sum, added minute
    by minute in order (so that it equals the plain-Python version to the last bit).

    Parameters
    ----------
    candles
        One-minute candles, sorted, without duplicates.
    interval
        The interval wanted; ``"1m"`` gives the candles back.
    allow_gaps
        ``False``: a bucket counts when every one of its minutes is there. ``True``: when any is.
    since, until
        The range the minutes are known for, UTC milliseconds. A bucket that reaches beyond it is left out:
        its other minutes exist, they are just not here. By default the range the candles span.
    sessions
        When the market is open: only those minutes are needed to make a bucket complete.
    base_ms
        Length of the given candles in milliseconds, where they are no minutes.
    grid
        Where they open, where that is not at multiples of their length; candles of the interval open there, too.

    Returns
    -------
    Candles
        Oldest first; a bucket without minutes gives no candle.

    Raises
    ------
    UsageError
        For an unknown interval.

    Examples
    --------
    >>> minutes = Candles.from_rows([(i * 60_000, 10 + i, 11 + i, 9 + i, 10.5 + i, 1.0) for i in range(7)])
    >>> for candle in resample(minutes, "5m"):
    ...     print(candle)
    {'timestamp': 0, 'open': 10.0, 'high': 15.0, 'low': 9.0, 'close': 14.5, 'volume': 5.0}
    """
    step = interval_ms(interval)
    if step == base_ms or not len(candles):
        return candles
    times = candles.timestamp
    known_from = int(times[0]) if since is None else since
    known_to = int(times[-1]) + base_ms if until is None else until
    if grid is None:
        first, end = ceil_to(known_from, step), floor_to(known_to, step)
    else:
        first, end = grid.ceil(known_from, step), grid.floor(known_to, step)
    low, high = np.searchsorted(times, [first, end])
    candles = candles[int(low) : int(high)]
    if not len(candles):
        return Candles.empty()
    if grid is None and sessions is None and _is_whole(candles.timestamp, step, base_ms):
        return _of_whole(candles, step // base_ms)
    opens = candles.timestamp - candles.timestamp % step if grid is None else grid.starts(candles.timestamp, step)
    starts = np.concatenate([[0], np.flatnonzero(opens[1:] != opens[:-1]) + 1])
    ends = np.append(starts[1:], len(candles))
    made = Candles.from_columns(
        timestamp=opens[starts],
        open=candles.open[starts],
        high=np.maximum.reduceat(candles.high, starts),
        low=np.minimum.reduceat(candles.low, starts),
        close=candles.close[ends - 1],
        volume=_summed(candles, starts, ends, (candles.timestamp - opens) // base_ms, count=step // base_ms),
    )
    if allow_gaps:
        return made
    if grid is not None:
        needed: int | NDArray[np.int64] = grid.bars_in(made.timestamp, step, base_ms, sessions)
    elif sessions is None:
        needed = step // base_ms
    elif base_ms == MINUTE_MS:
        needed = sessions.open_minutes(made.timestamp, step)
    else:
        slots = made.timestamp[:, None] + np.arange(0, step, base_ms)
        needed = (sessions.open_minutes(slots.ravel(), base_ms) > 0).reshape(slots.shape).sum(axis=1)
    full = ends - starts == needed
    return made if full.all() else made.take(full)


def _is_whole(times: NDArray[np.int64], step: int, base_ms: int) -> bool:
    """Whether candles fill whole buckets and none is missing, as is usual."""
    is_regular = int(times[-1]) - int(times[0]) == (len(times) - 1) * base_ms
    return is_regular and int(times[0]) % step == 0 and len(times) % (step // base_ms) == 0


def _of_whole(candles: Candles, per: int) -> Candles:
    """Each ``per`` candles as one."""
    starts = np.arange(0, len(candles), per)
    return Candles.from_columns(
        timestamp=candles.timestamp[::per],
        open=candles.open[::per],
        high=np.maximum.reduceat(candles.high, starts),
        low=np.minimum.reduceat(candles.low, starts),
        close=candles.close[per - 1 :: per],
        volume=_added(candles.volume.reshape(-1, per).T),
    )


def _summed(
    candles: Candles,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    position: NDArray[np.int64],
    *,
    count: int,
) -> NDArray[np.float64]:
    """Volume of each bucket, added in order of time; ``position`` is the place of each candle in its bucket.

    ``np.add.reduceat`` adds pairwise, in an order that differs between builds of numpy; this order does not.
    """
    table = np.zeros((count, len(starts)))
    table[position, np.repeat(np.arange(len(starts)), ends - starts)] = candles.volume
    return _added(table)


def _added(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the rows of a table, shape (columns,), added from the first on."""
    total = np.zeros(table.shape[1])
    for at in range(0, table.shape[1], _PIECE):
        part = total[at : at + _PIECE]
        for row in table[:, at : at + _PIECE]:
            part += row
    return total


def resample_plainly(
    candles: Candles,
    interval: str,
    *,
    allow_gaps: bool = False,
    since: int | None = None,
    until: int | None = None,
    sessions: Sessions | None = None,
) -> Candles:
    """The specification of :func:`resample`: the same, candle by candle.

    Examples
    --------
    >>> minutes = Candles.from_rows([(i * 60_000, 10.0, 11.0, 9.0, 10.5, 1.0) for i in range(7)])
    >>> resample_plainly(minutes, "3m") == resample(minutes, "3m")
    True
    """
    step = interval_ms(interval)
    if step == MINUTE_MS or not len(candles):
        return candles
    rows = list(candles)
    known_from = int(rows[0]["timestamp"]) if since is None else since
    known_to = int(rows[-1]["timestamp"]) + MINUTE_MS if until is None else until
    buckets: dict[int, list[dict[str, float]]] = {}
    for row in rows:
        buckets.setdefault(floor_to(int(row["timestamp"]), step), []).append(row)
    made = []
    for start, minutes in sorted(buckets.items()):
        open_minutes = [m for m in range(start, start + step, MINUTE_MS) if sessions is None or sessions.is_open(m)]
        complete = len(minutes) == len(open_minutes)
        if start < known_from or start + step > known_to or not (complete or allow_gaps):
            continue
        volume = 0.0
        for minute in minutes:
            volume += minute["volume"]
        made.append(
            (
                start,
                minutes[0]["open"],
                max(minute["high"] for minute in minutes),
                min(minute["low"] for minute in minutes),
                minutes[-1]["close"],
                volume,
            )
        )
    return Candles.from_rows(made)
