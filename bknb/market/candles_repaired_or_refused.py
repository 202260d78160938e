"""Checks of the candles a source answered: what is repaired, and what is refused.

What is repaired, what is ignored and what is refused:

==========================  =========================================================================
forming or future candle    dropped silently (every exchange sends the running one)
outside the asked range     ignored with a warning while some are inside; refused when none is
unsorted                    sorted, with a warning
duplicate, same values      one is kept, with a warning
duplicate, other values     refused (``BadCandle``)
off the UTC grid            refused (``BadCandle``)
not finite, price <= 0,     refused (``BadCandle``); prices at or below 0 are allowed where the
volume < 0, high < low, ... source says that they are traded
anomalously low or high     refused (``BadCandle``)
price
wider spaced than asked     refused (``DataError``)
missing candles             refused (``GapError``), unless gaps were allowed
==========================  =========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS, WEEK, interval_ms
from ..errors import BadCandle, DataError, NotEnoughData
from .bar_slots import is_even
from .candles import Candles
from .price_spikes_and_unit_changes import anomalous, is_within
from .prices_at_or_below_zero_refused import any_at_or_below_zero
from .values_no_market_has import check_values, describe, refuse, values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..config import Settings
    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid


def series_text(symbol: str, interval: str, exchange: str) -> str:
    """The name of a series of candles in messages.

    Examples
    --------
    >>> series_text("BTCUSDT", "1h", "demo")
    "BTCUSDT 1h from 'demo'"
    """
    return f"{symbol} {interval} from {exchange!r}"


class CandleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request to a source: exchange, symbol, interval and range; every message names it.

    Attributes
    ----------
    exchange, symbol, interval : str
        The exchange, the symbol, and the interval of the candles.
    since, until : int
        The half-open range of open times, UTC milliseconds, on the grid of the interval.
    longer : str
        Which longer bars of the exchange a run may go over, as a message says it; empty where there are none.
    """

    exchange: str
    symbol: str
    interval: str
    since: int
    until: int
    longer: str = ""

    @property
    def step(self) -> int:
        """Length of one candle in milliseconds."""
        return interval_ms(self.interval)

    def __str__(self) -> str:
        return series_text(self.symbol, self.interval, self.exchange)

    @property
    def range_text(self) -> str:
        """The requested range as text."""
        return f"{utc_text(self.since)} .. {utc_text(self.until)}"


class Page(NamedTuple):
    """One question: ``limit`` candles from ``since`` (UTC ms) on.

    ``interval`` when it is another than that wanted. ``known`` opens a candle in it that has come before (UTC ms):
    nothing is no answer then. ``again`` when that is its first one, which came with the page before. ``look`` when its
    answer only shows where there are candles, and is for :meth:`bknb.market.paging.Paging.looked`.
    """

    since: int
    limit: int
    interval: str | None = None
    known: int | None = None
    again: bool = False
    look: bool = False


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """A repair of an answer; the feed turns it into a warning.

    Attributes
    ----------
    rule : str
        What was done, for example ``"dropped duplicates"``.
    count : int
        Candles concerned.
    first : int
        Open time of the first of them, UTC milliseconds.
    """

    rule: str
    count: int
    first: int

    def __str__(self) -> str:
        noun = "candle" if self.count == 1 else "candles"
        return f"{self.rule}: {self.count} {noun}, the first at {utc_text(self.first)}"


def audit(
    candles: Candles,
    asked: CandleRequest,
    *,
    settings: Settings,
    now: int | None = None,
    before: float | None = None,
    one_by_one: bool = False,
    lasting: int | None = None,
    grid: BarGrid | None = None,
    negative: bool = False,
) -> tuple[Candles, tuple[Repair, ...]]:
    """The candles of an answer that can be used, oldest first, and what had to be repaired.

    Gaps are not looked for here, since a range may come in several answers: see :func:`check_gaps`.

    Parameters
    ----------
    candles
        The answer of a source.
    asked
        What it was asked for.
    settings
        Supplies the two anomaly settings and the number of candles the reference price is taken over.
    now
        The present, UTC milliseconds; candles that have not closed by then are dropped. ``None`` keeps all.
    before, one_by_one, lasting
        As in :func:`bknb.market.price_spikes_and_unit_changes.anomalous`.
    grid
        Where candles open that do not open at multiples of their interval.
    negative
        Whether prices at or below 0 are traded: of them none is anomalous.

    Raises
    ------
    BadCandle
        A candle breaks a rule; the message holds candle and rule.
    NotEnoughData
        The answer is not empty, and all of it lies after the asked range.
    DataError
        The answer is not empty, and nothing of it lies in the asked range.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> rows = [(60_000, 2.0, 2.0, 2.0, 2.0, 1.0), (0, 1.0, 1.0, 1.0, 1.0, 1.0)]
    >>> asked = CandleRequest(exchange="mine", symbol="BTCUSDT", interval="1m", since=0, until=120_000)
    >>> candles, repairs = audit(Candles.from_rows(rows), asked, settings=Settings())
    >>> candles.timestamp.tolist(), repairs
    ([0, 60000], (Repair(rule='sorted', count=1, first=0),))
    """
    repairs: list[Repair] = []
    if grid is not None or not _are_whole(candles, asked, now):
        candles = _closed(candles, asked, now=now, grid=grid)
        candles = _inside(candles, asked, repairs)
        _check_grid(candles, asked, grid)
        candles = _sorted(candles, repairs)
        candles = _unique(candles, asked, repairs)
    known = check_values(candles, asked, negative=negative)
    if negative and any_at_or_below_zero(candles, before):
        return candles, tuple(repairs)
    if known is None or not is_within(np.array(known), before, settings.get_candles_price_anomaly_threshold_factor):
        check_anomalies(candles, asked, settings=settings, before=before, one_by_one=one_by_one, lasting=lasting)
    return candles, tuple(repairs)


def _are_whole(candles: Candles, asked: CandleRequest, now: int | None) -> bool:
    """Whether candles follow each other without a hole, in the range that was asked for: nothing is to be repaired."""
    times, step = candles.timestamp, asked.step
    if not len(times):
        return False
    first, last = int(times[0]), int(times[-1])
    inside = asked.since <= first and last < asked.until and (now is None or last + step <= now)
    return inside and first % step == 0 and is_even(times, step)


def _closed(candles: Candles, asked: CandleRequest, *, now: int | None, grid: BarGrid | None) -> Candles:
    if now is None or not len(candles):
        return candles
    times = candles.timestamp
    closed = (times + asked.step if grid is None else grid.ends(times, asked.step)) <= now
    return candles if closed.all() else candles.take(closed)


def _inside(candles: Candles, asked: CandleRequest, repairs: list[Repair]) -> Candles:
    times = candles.timestamp
    if not len(candles) or (int(times.min()) >= asked.since and int(times.max()) < asked.until):
        return candles
    inside = (times >= asked.since) & (times < asked.until)
    if not inside.any():
        raise _foreign(times, asked)
    repairs.append(_repair("ignored outside the asked range", times[~inside]))
    return candles.take(inside)


def _foreign(times: NDArray[np.int64], asked: CandleRequest) -> DataError:
    first, last = int(times.min()), int(times.max())
    came = f"{len(times)} came, {utc_text(first)} .. {utc_text(last)}, none of them inside"
    if first >= asked.until:
        advice = "either the data begins there, or get_candles ignores `since` (first open time, UTC milliseconds)"
        advice += f"; {asked.longer}" * bool(asked.longer)
        return NotEnoughData(f"{asked}: asked for {asked.range_text}; {came}\n{advice}")
    if asked.since <= first * 1000 < asked.until:
        advice = "these times look like seconds: multiply them by 1000"
    else:
        advice = "get_candles must honour `since` (first open time, UTC milliseconds)"
    return DataError(f"{asked}: asked for {asked.range_text}; {came}\n{advice}")


def _check_grid(candles: Candles, asked: CandleRequest, grid: BarGrid | None = None) -> None:
    times = candles.timestamp
    off = times % asked.step != 0 if grid is None else grid.starts(times, asked.step) != times
    if not off.any():
        return
    at = int(np.argmax(off))
    if grid is not None and asked.interval == WEEK:
        raise BadCandle(
            f"{asked}: {describe(candles, at)}\n"
            f"weekly bars of this source open as on {utc_text(grid.floor(asked.since, asked.step))}\n"
            "a function gives the Mondays at 00:00 UTC; others are read from a table: from_frame(frame, stamp='open')"
        )
    if grid is not None and grid.goes_on:
        raise BadCandle(
            f"{asked}: {describe(candles, at)}\n"
            f"it opens at no whole number of {asked.interval} after the open of its session, as from_open=True says\n"
            "where bars open at multiples of their length in UTC, leave from_open out; else the trading hours differ"
        )
    raise BadCandle(
        f"{asked}: {describe(candles, at)}\n"
        f"its open time is not a multiple of {asked.interval} in UTC: the interval is ignored or the clock is shifted"
        + _read_as_table(asked.step)
    )


def _read_as_table(step: int) -> str:
    """The way out for bars of a market that opens at half past."""
    if not MINUTE_MS < step < DAY_MS:
        return ""
    return (
        "\nwhere bars count from the open of their market, as from 09:30, say so and when it is open: "
        "bknb.exchanges.in_sessions(source, 'us-equities', from_open=True); from a table they are read so by themselves"
    )


def _sorted(candles: Candles, repairs: list[Repair]) -> Candles:
    times = candles.timestamp
    back = times[1:] < times[:-1]
    if not back.any():
        return candles
    repairs.append(_repair("sorted", times[1:][back]))
    return candles.take(np.argsort(times, kind="stable"))


def _unique(candles: Candles, asked: CandleRequest, repairs: list[Repair]) -> Candles:
    times = candles.timestamp
    again = times[1:] == times[:-1]
    if not again.any():
        return candles
    second = np.flatnonzero(again) + 1
    for column in values_of(candles):
        differs = column[second] != column[second - 1]
        if differs.any():
            at = int(second[int(np.argmax(differs))])
            raise BadCandle(
                f"{asked}: two candles contradict each other: {describe(candles, at - 1)}\n"
                f"and {describe(candles, at)}: keep one of them in the source",
                open_time=int(times[at]),
            )
    repairs.append(_repair("dropped duplicates", times[second]))
    return candles.take(np.concatenate([[True], ~again]))


def check_order(candles: Candles, asked: CandleRequest, *, grid: BarGrid | None = None) -> None:
    """Raise ``BadCandle`` for candles that are off the grid, out of order, or there twice.

    Raises
    ------
    BadCandle
        For the first candle that breaks a rule.
    """
    _check_grid(candles, asked, grid)
    times = candles.timestamp
    back = np.concatenate([[False], times[1:] <= times[:-1]])
    refuse(back[: len(times)], candles, asked, "its open time must be later than that of the candle before it")


def check_anomalies(
    candles: Candles,
    asked: CandleRequest,
    *,
    settings: Settings,
    before: float | None = None,
    one_by_one: bool = False,
    lasting: int | None = None,
) -> None:
    """Raise ``BadCandle`` for prices that no market reaches within one candle (:mod:`.price_spikes_and_unit_changes`).

    Raises
    ------
    BadCandle
        For the first such candle.
    """
    found = anomalous(candles, settings=settings, before=before, one_by_one=one_by_one, lasting=lasting)
    if found is not None:
        refuse(found.bad, found.among, asked, found.rule)


def in_sessions(candles: Candles, asked: CandleRequest, sessions: Sessions) -> tuple[Candles, NDArray[np.int64]]:
    """The candles in which the market was open, and the open times (UTC ms) of the others."""
    closed = sessions.open_minutes(candles.timestamp, asked.step) == 0
    return (candles.take(~closed) if closed.any() else candles), candles.timestamp[closed]


def left_out(times: NDArray[np.int64]) -> Repair:
    """The repair that names candles (open times, UTC ms) in which the market was closed."""
    return _repair("left out, outside the trading sessions", times)


def _repair(rule: str, times: NDArray[np.int64]) -> Repair:
    return Repair(rule=rule, count=len(times), first=int(times.min()))
