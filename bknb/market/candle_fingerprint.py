"""Fingerprint of candles: a digest that proves they are the same, and daily sums that locate changed ones.

The digest is SHA-256 of the columns as little-endian bytes. Beside it every UTC day keeps three sums over its
candles, modulo 2**64: of ``h``, of ``i h`` and of ``i i h``, where ``i`` is the position of a candle in its day and
``h`` a 64-bit hash of its numbers. If one candle changed, the differences of the first two sums are ``d`` and ``i d``,
which gives ``i``; if two changed, ``i`` and ``j`` are the pair with ``s2 - (i + j) s1 + i j s0 = 0`` (the two-error
case of Reed and Solomon, 1960, Polynomial codes over certain finite fields). More than two in one day are reported as
that day.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ..domain.formatting import day_text, utc_text
from ..domain.interval import DAY_MS, MINUTE_MS, WEEK_MS, interval_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .candles import Candles

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_GAPS_KEPT: Final = 20
_HOUR: Final = 60  # minutes
_SHIFT: Final = np.uint64(33)
_GOLDEN: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_FACTORS: Final = (np.uint64(0xFF51_AFD7_ED55_8CCD), np.uint64(0xC4CE_B9FE_1A85_EC53))
_BLOCK: Final = 16_384  # candles of days whose sums are made together, within the cache of a processor
_MANY: Final = 100_000  # candles
_ALL_BELOW: Final = 2_000  # candles; of more, ``data_hash`` takes those at full hours, where there are any


class Day(msgspec.Struct, frozen=True, array_like=True):
    """The candles of one UTC day: how many, and the three sums in hexadecimal."""

    count: int
    sums: str

    def parts(self) -> tuple[int, int, int]:
        """The three sums as numbers."""
        return int(self.sums[:16], 16), int(self.sums[16:32], 16), int(self.sums[32:], 16)


class CandleRange(msgspec.Struct, frozen=True, kw_only=True):
    """Fingerprint of the candles of one symbol and interval in a run.

    Attributes
    ----------
    exchange, symbol, interval : str
    count : int
    first, last : int
        Open times of the first and the last candle, UTC ms; 0 when there is none.
    digest : str
        SHA-256 of the columns.
    gaps : tuple of (int, int)
        Missing ranges ``[first, end)``, UTC ms; the first 20.
    days : dict of str to Day
        By date, ``"2024-01-31"``.
    """

    exchange: str
    symbol: str
    interval: str
    count: int
    first: int
    last: int
    digest: str
    gaps: tuple[tuple[int, int], ...] = ()
    days: dict[str, Day] = {}

    @property
    def name(self) -> str:
        """Symbol and interval, for messages."""
        return f"{self.symbol} {self.interval} ({self.exchange})"


class SeriesRange(msgspec.Struct, frozen=True, kw_only=True):
    """Fingerprint of a point-in-time series that a run read: its rows that were known at the end of the run.

    Attributes
    ----------
    name : str
    count : int
    first, last : int
        When the first and the last row were published, UTC ms; 0 when there is none.
    delay_ms : int
        How long after that a row is known, milliseconds.
    digest : str
        SHA-256 of columns and moments.
    """

    name: str
    count: int
    first: int
    last: int
    delay_ms: int
    digest: str


class Changed(msgspec.Struct, frozen=True):
    """Changed candles: their open times (UTC ms), or a whole day when there are many."""

    moments: tuple[int, ...]
    day: str | None = None
    before: int = 0
    after: int = 0


def fingerprint(candles: Candles, *, exchange: str, symbol: str, interval: str) -> CandleRange:
    """The fingerprint of candles: digest, gaps and daily sums.

    Examples
    --------
    >>> from bknb.market.candles import Candles
    >>> candles = Candles.from_rows([(0, 1.0, 2.0, 0.5, 1.5, 10.0), (60_000, 1.5, 1.5, 1.5, 1.5, 0.0)])
    >>> made = fingerprint(candles, exchange="paper", symbol="BTCUSDT", interval="1m")
    >>> made.count, made.digest[:12], len(made.days)
    (2, '61ce2cd13f79', 1)
    """
    times = candles.timestamp
    step = interval_ms(interval)
    digest_of_all, days = _digest_and_days(candles, step)
    holes = np.flatnonzero(np.diff(times) > step)[:_GAPS_KEPT]
    return CandleRange(
        exchange=exchange,
        symbol=symbol,
        interval=interval,
        count=len(candles),
        first=int(times[0]) if len(times) else 0,
        last=int(times[-1]) if len(times) else 0,
        digest=digest_of_all,
        gaps=tuple((int(times[at]) + step, int(times[at + 1])) for at in holes),
        days=days,
    )


def _digest_and_days(candles: Candles, step: int) -> tuple[str, dict[str, Day]]:
    """The digest and the sums of candles; of many at the same time, as both take long and leave other threads alone."""
    if len(candles) < _MANY:
        return digest(candles), dict(_days(candles, step))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        made = beside.submit(digest, candles)
        days = dict(_days(candles, step))
        return made.result(), days


def series_fingerprint(name: str, time_ms: NDArray[np.int64], values: NDArray[np.float64]) -> SeriesRange:
    """The fingerprint of a series of values by their moments (UTC ms); both of shape (n,).

    Examples
    --------
    >>> series_fingerprint("index", np.array([0, 60_000]), np.array([100.0, 101.0])).count
    2
    """
    made = hashlib.sha256(time_ms.astype("<i8").tobytes())
    made.update((values + 0.0).astype("<f8").tobytes())
    first, last = (int(time_ms[0]), int(time_ms[-1])) if len(time_ms) else (0, 0)
    return SeriesRange(name=name, count=len(time_ms), first=first, last=last, delay_ms=0, digest=made.hexdigest())


def digest(candles: Candles) -> str:
    """SHA-256 of the six columns; the same on every machine and numpy."""
    made = hashlib.sha256()
    made.update(np.ascontiguousarray(candles.timestamp, dtype="<i8").data)
    for column in (candles.open, candles.high, candles.low, candles.close, candles.volume):
        made.update(np.ascontiguousarray(column + 0.0, dtype="<f8").data)  # -0.0 is 0.0
    return made.hexdigest()


def data_hash(times: NDArray[np.int64], high: NDArray[np.float64], low: NDArray[np.float64]) -> str:
    """A hash that tells candles apart, whatever their exchange is called: of their highs and lows at full hours.

    Examples
    --------
    >>> minutes = np.arange(5000) * 60_000
    >>> one, other = (data_hash(minutes, minutes + at, minutes - at) for at in (1.0, 2.0))
    >>> one == other
    False
    """
    rows = _full_hours(times) if len(times) >= _ALL_BELOW else slice(None)
    made = hashlib.blake2b(digest_size=12)
    for column in (times, high, low):
        made.update(np.ascontiguousarray(column[rows]).tobytes())
    return made.hexdigest()


def hash_in(
    start: int, last: int, times: NDArray[np.int64], high: NDArray[np.float64], low: NDArray[np.float64]
) -> str:
    """The ``data_hash`` of those candles that open from ``start`` to ``last`` (UTC ms)."""
    rows = slice(int(times.searchsorted(start)), int(times.searchsorted(last + 1)))
    return data_hash(times[rows], high[rows], low[rows])


def _full_hours(times: NDArray[np.int64]) -> Any:
    """What picks the candles at full hours; all, where there is none at one."""
    first, last = int(times[0]), int(times[-1])
    if first % MINUTE_MS == 0 and last - first == (len(times) - 1) * MINUTE_MS:  # without a hole
        return slice(-first // MINUTE_MS % _HOUR, None, _HOUR)
    found = times % (_HOUR * MINUTE_MS) == 0
    return found if found.any() else slice(None)


def _hashes(candles: Candles) -> NDArray[np.uint64]:
    """A 64-bit hash of each candle; the mixing step is the finaliser of MurmurHash3 (A. Appleby, 2011)."""
    value, spare = candles.timestamp.view(np.uint64) + _GOLDEN, np.empty(len(candles), dtype=np.uint64)
    _mix(value, spare)
    for column in (candles.open, candles.high, candles.low, candles.close, candles.volume):
        value *= _GOLDEN
        np.add(column, 0.0, out=spare.view(np.float64))  # -0.0 is 0.0
        value ^= spare
        _mix(value, spare)
    return value


def _mix(value: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
    """Mix the bits of hashes, in place; ``spare`` is written over."""
    for factor in _FACTORS:
        value ^= np.right_shift(value, _SHIFT, out=spare)
        value *= factor
    value ^= np.right_shift(value, _SHIFT, out=spare)


def _bucket(step: int) -> int:
    """How long the time is (ms) of which sums are kept: a day, of longer bars one; weeks by the day they open on."""
    return DAY_MS if step == WEEK_MS else max(DAY_MS, step)


def _days(candles: Candles, step: int) -> Iterator[tuple[str, Day]]:
    if not len(candles):
        return
    length, times = _bucket(step), candles.timestamp
    first, last = int(times[0]) // length, int(times[-1]) // length
    bounds = times.searchsorted(np.arange(first, last + 2, dtype=np.int64) * length)
    days = np.flatnonzero(np.diff(bounds))  # those with candles
    starts, counts = bounds[days], np.diff(bounds)[days]
    at = 0
    while at < len(days):  # whole days, of which there are few at once
        behind = max(int(starts.searchsorted(starts[at] + _BLOCK)), at + 1)
        part = slice(at, behind)
        some = candles[int(starts[at]) : int(starts[behind - 1] + counts[behind - 1])]
        sums = _sums(some, starts[part] - starts[at], length, step)
        for day, count, *of_day in zip(days[part], counts[part], *sums, strict=True):
            text = "".join([f"{int(each):016x}" for each in of_day])
            yield day_text((first + int(day)) * length), Day(int(count), text)
        at = behind


def _sums(candles: Candles, starts: NDArray[np.int64], length: int, step: int) -> list[NDArray[np.uint64]]:
    """The three sums over days of candles, of which each begins at one of ``starts``."""
    weighted, position = _hashes(candles), (candles.timestamp % length // step).view(np.uint64)
    sums = [np.add.reduceat(weighted, starts)]
    for _ in range(2):
        weighted *= position
        sums.append(np.add.reduceat(weighted, starts))
    return sums


def compare(before: CandleRange, after: CandleRange) -> list[Changed]:
    """The changed candles, day by day."""
    if before.digest == after.digest:
        return []
    step = interval_ms(before.interval)
    length = _bucket(step)
    found = []
    for day in sorted({*before.days, *after.days}):
        old, new = before.days.get(day), after.days.get(day)
        if old == new:
            continue
        counts = (old.count if old else 0, new.count if new else 0)
        where = locate(old, new, positions=max(length // step, 1)) if old and new else None
        if where is None:
            found.append(Changed((), day, *counts))
        else:
            midnight = round(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * 1000
            found.append(Changed(tuple(midnight + position * step for position in where), None, *counts))
    return found


def locate(old: Day, new: Day, *, positions: int) -> tuple[int, ...] | None:
    """Positions in the day of one or two changed candles; ``None`` for more."""
    s0, s1, s2 = ((b - a) & _MASK for a, b in zip(old.parts(), new.parts(), strict=True))
    for i in range(positions):
        if (i * s0) & _MASK == s1 and (i * s1) & _MASK == s2:
            return (i,)
    every = np.arange(positions, dtype=np.uint64)
    for i in range(positions):
        # s2 - i s1 = j (s1 - i s0), for every j behind i at once
        left, right = np.uint64((s2 - i * s1) & _MASK), np.uint64((s1 - i * s0) & _MASK)
        hits = np.flatnonzero(every[i + 1 :] * right == left)
        if len(hits):
            return (i, i + 1 + int(hits[0]))
    return None


def changes(before: CandleRange, after: CandleRange) -> list[str]:
    """The changed candles as sentences; those of which no sums of days are kept are told as a whole."""
    if before.digest != after.digest and any(part.count and not part.days for part in (before, after)):
        return [f"{before.name}: candles are not what they were"]
    return [_change_text(before, change) for change in compare(before, after)]


def _change_text(part: CandleRange, change: Changed) -> str:
    if change.day is not None:
        counts = f"{change.before:,} candles -> {change.after:,}" if change.before != change.after else "more than two"
        return f"{part.name}: candles of {change.day} are not what they were ({counts})"
    when = " and ".join(utc_text(moment) for moment in change.moments)
    if change.before == change.after:
        return f"{part.name}: candle {when} is not what it was"
    return f"{part.name}: candle {when} is {'missing' if change.after < change.before else 'new'}"


def explain(stored: dict[str, Any], candles: Candles) -> str:
    """The changes of candles against a fingerprint stored as plain data, in words."""
    try:
        before = msgspec.convert(stored, CandleRange)
    except msgspec.ValidationError:
        return "its checksum does not match"
    after = fingerprint(candles, exchange=before.exchange, symbol=before.symbol, interval=before.interval)
    found = changes(before, after)
    return found[0] if found else "its checksum does not match, though its candles do"
