"""The account of a run, marked to market: equity at the close of every bar, open positions included.

One account whose whole equity goes into each position in turn. What an entry costs is booked at the entry, what an exit
costs at the exit, as the results of the trades have it, so after the last exit equity is the product of
``1 + net / 100`` of all trades.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from ..domain.interval import MINUTE_MS
from ..domain.market_clock import NEVER
from ..errors import UsageError
from .compounding import drawdown, equity_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..domain.position_fills import Fill
    from ..domain.signal import OpenSignal
    from ..domain.signal_events import Closed

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Times: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

_PERCENT: Final = 100.0
SIDES: Final = {"long": 1.0, "short": -1.0}


class StillOpen(NamedTuple):
    """A position that has no exit yet, with the costs of each side in percent, and the parts of it that were closed."""

    signal: OpenSignal
    slippage: float
    fee: float
    parts: tuple[Fill, ...] = ()

    @property
    def side(self) -> float:
        """1 for a long, -1 for a short."""
        return SIDES[self.signal.position]

    @property
    def entry(self) -> float:
        """Price of the entry with its slippage."""
        return self.signal.price_open * (1 + self.side * self.slippage / _PERCENT)

    @property
    def entry_slippage(self) -> float:
        """What the slippage of the entry cost, percent of the equity that went in."""
        return self.slippage / (1 + self.side * self.slippage / _PERCENT)

    def worth(self, price: float) -> float:
        """Value at a price as a share of the equity that went in: less the costs of the entry, never below 0.

        What parts that were closed have brought is in it.
        """
        moved, fee = price / self.entry, self.fee / _PERCENT
        if not self.parts:
            return max((moved if self.side > 0 else 2 - moved) - fee, 0.0)
        rows = _part_rows(0, self.signal, self.parts, self.entry, fee)
        left = 1 - sum(share for _, _, share, _ in rows)
        paid = sum(paid for *_, paid in rows)
        return max((0.0 if self.side > 0 else 2.0) - fee + self.side * (paid + left * moved), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Parts of positions that were closed before their exits, in order, as columns of shape (m,).

    Attributes
    ----------
    position : ndarray of int64
        Which position each belongs to.
    closed_ms : ndarray of int64
        Open time of the bar in which it was closed, UTC milliseconds.
    share : ndarray of float64
        How much, as a share of the entry.
    paid : ndarray of float64
        What it brought (a long) or cost (a short) with slippage and fee, as a share of the equity that went in.
    """

    position: Times
    closed_ms: Times
    share: Floats
    paid: Floats

    @staticmethod
    def of(rows: Sequence[tuple[int, int, float, float]]) -> Parts:
        """The columns of rows of position, moment (UTC ms), share, and what was paid."""
        position, closed, share, paid = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Parts(
            position=np.array(position, dtype=np.int64),
            closed_ms=np.array(closed, dtype=np.int64),
            share=np.array(share, dtype=np.float64),
            paid=np.array(paid, dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """Positions one after the other, oldest first, as columns of shape (n,).

    Attributes
    ----------
    opened_ms, closed_ms : ndarray of int64
        Open times of the bars in which they were filled, UTC milliseconds; ``closed_ms`` of a position that is still
        open lies beyond every bar.
    side : ndarray of float64
        1 for a long, -1 for a short.
    entry : ndarray of float64
        Price of the entry with its slippage.
    entry_fee : ndarray of float64
        Fee of the entry, as a share of the equity that went in.
    exit_ratio : ndarray of float64
        Price of the exit by price of the entry, both with slippage; NaN while open.
    net, fee, slippage : ndarray of float64
        Result, fees and slippage of the whole position, percent of the equity that went in. While it is open the
        result is 0, and fees and slippage are those of the entry.
    parts : Parts
        Parts that were closed before the exit; none of a plain position.
    """

    opened_ms: Times
    closed_ms: Times
    side: Floats
    entry: Floats
    entry_fee: Floats
    exit_ratio: Floats
    net: Floats
    fee: Floats
    slippage: Floats
    parts: Parts = field(default_factory=lambda: Parts.of(()))

    def __len__(self) -> int:
        return len(self.net)


def positions_from(
    *,
    opened_ms: Times,
    closed_ms: Times,
    side: Floats,
    price_open: Floats,
    price_close: Floats,
    net: Floats,
    fee: Floats,
    slippage: Floats,
) -> Positions:
    """Closed positions from the columns of a trade table; ``side`` is 1 or -1, the last three are percent.

    Slippage and fee of each side are worked out from the costs that were booked on the trade.
    """
    move = price_close / price_open
    ratio = move - side * slippage / _PERCENT  # exit by entry, both with slippage
    paid = (ratio / move) ** side  # (1 - s) / (1 + s): a short pays the inverse of what a long does
    return Positions(
        opened_ms=opened_ms,
        closed_ms=closed_ms,
        side=side,
        entry=price_open * (1 + side * (1 - paid) / (1 + paid)),
        entry_fee=fee / _PERCENT / (1 + ratio),
        exit_ratio=ratio,
        net=net,
        fee=fee,
        slippage=slippage,
    )


def positions_of(closed: Sequence[Closed], still_open: StillOpen | None = None) -> Positions:
    """The positions of a run in order of their exits, and last the one that is still open."""

    def column(values: Iterable[float]) -> Floats:
        return np.fromiter(values, dtype=np.float64, count=len(closed))

    ended = positions_from(
        opened_ms=np.fromiter((event.signal.pending_at for event in closed), np.int64, len(closed)),
        closed_ms=np.fromiter((event.closed_at for event in closed), np.int64, len(closed)),
        side=column(SIDES[event.signal.position] for event in closed),
        price_open=column(event.signal.price_open for event in closed),
        price_close=column(map(whole_exit, closed)),
        net=column(event.pnl.pnl_percentage for event in closed),
        fee=column(event.pnl.fee_percentage for event in closed),
        slippage=column(event.pnl.slippage_percentage for event in closed),
    )
    parted = ((index, event) for index, event in enumerate(closed) if len(event.fills) > 2)
    return with_open(with_parts(ended, parted), still_open)


def with_parts(ended: Positions, parted: Iterable[tuple[int, Closed]]) -> Positions:
    """Closed positions with the parts of those, given with their places, that were closed in parts."""
    rows = [
        row
        for index, event in parted
        for row in _part_rows(index, event.signal, event.fills, ended.entry[index], ended.entry_fee[index])
    ]
    return replace(ended, parts=Parts.of(rows)) if rows else ended


def whole_exit(event: Closed) -> float:
    """The price at which all of a position would have had to leave at once for its gross result; quote currency."""
    if len(event.fills) <= 2:
        return event.price_close
    side = SIDES[event.signal.position]
    return event.signal.price_open * (1 + side * event.pnl.gross_percentage / _PERCENT)


def _part_rows(
    index: int, signal: OpenSignal, fills: Sequence[Fill], entry: float, fee: float
) -> list[tuple[int, int, float, float]]:
    """Rows of ``Parts`` of one position; ``entry`` is the entry with its slippage, ``fee`` a fraction."""
    side = SIDES[signal.position]
    slippage = side * (entry / signal.price_open - 1)
    return [
        (index, fill.at, fill.share, fill.share * fill.price * (1 - side * slippage) / entry * (1 - side * fee))
        for fill in fills
        if fill.kind == "reduce"
    ]


def with_open(ended: Positions, still_open: StillOpen | None) -> Positions:
    """Closed positions, and last the one that is still open, if there is one."""
    if still_open is None:
        return ended
    return Positions(
        opened_ms=np.append(ended.opened_ms, np.int64(still_open.signal.pending_at)),
        closed_ms=np.append(ended.closed_ms, np.int64(NEVER)),
        side=np.append(ended.side, still_open.side),
        entry=np.append(ended.entry, still_open.entry),
        entry_fee=np.append(ended.entry_fee, still_open.fee / _PERCENT),
        exit_ratio=np.append(ended.exit_ratio, np.nan),
        net=np.append(ended.net, 0.0),
        fee=np.append(ended.fee, still_open.fee),
        slippage=np.append(ended.slippage, still_open.entry_slippage),
        parts=_with_parts(ended, still_open),
    )


def _with_parts(ended: Positions, still_open: StillOpen) -> Parts:
    if not still_open.parts:
        return ended.parts
    fee = still_open.fee / _PERCENT
    rows = Parts.of(_part_rows(len(ended), still_open.signal, still_open.parts, still_open.entry, fee))
    before = ended.parts
    return Parts(
        position=np.concatenate((before.position, rows.position)),
        closed_ms=np.concatenate((before.closed_ms, rows.closed_ms)),
        share=np.concatenate((before.share, rows.share)),
        paid=np.concatenate((before.paid, rows.paid)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkedEquity:
    """Equity of an account at the close of every bar, as a multiple of its start.

    Attributes
    ----------
    time_ms : ndarray of int64, shape (m,)
        The start, the close of every bar up to the end, and the end; UTC milliseconds.
    equity : ndarray of float64, shape (m,)
        1.0 at the start; 0 from the moment on at which nothing is left.
    bar_closed : ndarray of bool, shape (m,)
        Whether a bar closed at that moment.
    path_time_ms, path : ndarray, shape (m + n,)
        The same with the equity after each exit before the mark of its bar, from which drawdown is measured: two
        positions that ended in one bar are both in it.
    put_in : ndarray of float64, shape (n,)
        Equity that went into each position.
    after : ndarray of float64, shape (n,)
        Equity after each exit; a position that is still open leaves it as it was.
    blown : bool
        Whether equity reached zero.
    """

    time_ms: Times
    equity: Floats
    bar_closed: Flags
    path_time_ms: Times
    path: Floats
    put_in: Floats
    after: Floats
    blown: bool

    @property
    def drawdown(self) -> Floats:
        """Distance of ``path`` below its highest point so far, percent, never above zero; shape (m + n,)."""
        return drawdown(self.path)


def mark(
    positions: Positions, bar_ms: Times, close: Floats, *, start: int, end: int, step: int = MINUTE_MS
) -> MarkedEquity:
    """Equity of an account at the close of every bar from ``start`` to ``end``.

    A long is worth ``units * close``, a short ``2 * equity put in - units * close``, both less the fee of the entry.
    What leaves at the end, at the open of the bar behind it, is booked at the end.

    Parameters
    ----------
    positions : Positions
    bar_ms, close : ndarray, shape (n,)
        Open times (UTC milliseconds, ascending) and closing prices of the bars.
    start, end : int
        First and last moment of the run, UTC milliseconds.
    step : int
        Length of a bar, milliseconds.

    Raises
    ------
    UsageError
        When ``end`` is before ``start``.
    """
    if end < start:
        raise UsageError(f"the end of a run cannot be before its start; got start={start}, end={end}")
    booked = np.minimum(positions.closed_ms + step, end)
    times, prices, bar_closed = _moments(bar_ms, close, booked, start, end, step)
    count, is_open = len(times), np.isnan(positions.exit_ratio)
    last = np.where(is_open, count, np.searchsorted(times, booked))
    # What was opened at the end has no mark behind its entry: its exit is booked at the end all the same.
    first = np.minimum(np.searchsorted(times, positions.opened_ms, side="right"), last)
    bounds = np.stack((first, last), axis=1).ravel()
    parts = positions.parts
    at_part = 2 * parts.position + 1  # where each part stands among the bounds of all
    booked_parts = np.minimum(parts.closed_ms + step, end)
    bounds = np.insert(bounds, at_part, np.searchsorted(times, booked_parts))
    bounds = np.minimum(np.maximum.accumulate(bounds), count)
    at_exit = 2 * np.arange(len(positions)) + 1 + np.searchsorted(parts.position, np.arange(len(positions)), "right")
    level = np.concatenate(([1.0], equity_path(positions.net)))
    put_in, after = level[:-1], level[1:]
    slope = positions.side / positions.entry
    fixed = np.where(positions.side > 0, 0.0, 2.0) - positions.entry_fee
    lengths = np.diff(bounds, prepend=0, append=count)
    bases = np.empty(2 * len(positions) + 1)
    bases[::2], bases[1::2] = level, put_in * fixed
    slopes = np.zeros(2 * len(positions) + 1)
    slopes[1::2] = put_in * slope
    if len(parts.position):
        bases, slopes = _with_segments(positions, bases, slopes, put_in, fixed, slope)
    equity = np.repeat(bases, lengths) + np.repeat(slopes, lengths) * prices
    exits = np.minimum(bounds[at_exit], count - 1)
    blown = bool((equity <= 0).any() or (level <= 0).any())
    if blown:
        at = int(np.argmax(equity <= 0)) if (equity <= 0).any() else count
        equity[at:] = 0.0
        after = np.where(exits >= at, 0.0, after)
        put_in = np.concatenate(([1.0], after[:-1])) if len(after) else after
    return MarkedEquity(
        time_ms=times,
        equity=equity,
        bar_closed=bar_closed,
        path_time_ms=np.insert(times, exits, times[exits]),
        path=np.insert(equity, exits, np.where(is_open, equity[exits], after)),
        put_in=put_in,
        after=after,
        blown=blown,
    )


def _with_segments(
    positions: Positions, bases: Floats, slopes: Floats, put_in: Floats, fixed: Floats, slope: Floats
) -> tuple[Floats, Floats]:
    """Bases and slopes with a segment for each part, which begins when the part was closed."""
    parts = positions.parts
    which = parts.position
    starts = np.searchsorted(which, which)  # where the parts of the same position begin
    paid, share = (
        np.concatenate(([0.0], np.cumsum(column))) for column in (positions.side[which] * parts.paid, parts.share)
    )
    so_far = paid[1:] - paid[starts]
    left = 1 - (share[1:] - share[starts])
    places = 2 * which + 2  # behind the segment before it
    return (
        np.insert(bases, places, put_in[which] * (fixed[which] + so_far)),
        np.insert(slopes, places, put_in[which] * slope[which] * left),
    )


def _moments(
    bar_ms: Times, close: Floats, booked: Times, start: int, end: int, step: int
) -> tuple[Times, Floats, Flags]:
    """Moments of the marks, with the last price known at each, and whether it is the close of a bar."""
    lower, upper = (int(at) for at in np.searchsorted(bar_ms, (start, end - step + 1)))
    closes = bar_ms[lower:upper] + step
    extra = np.array([start, *([end] if not len(closes) or closes[-1] < end else [])], dtype=np.int64)
    at = np.searchsorted(closes, booked)
    known = np.zeros(len(booked), dtype=np.bool_)
    inside = at < len(closes)
    known[inside] = closes[at[inside]] == booked[inside]
    extra = np.unique(np.concatenate((extra, booked[~known & (booked > start)])))
    places = np.searchsorted(closes, extra)
    times = np.insert(closes, places, extra)
    prices = close[lower:upper]
    before = np.where(places > 0, prices[np.maximum(places - 1, 0)], prices[0]) if len(prices) else np.ones(len(extra))
    return times, np.insert(prices, places, before), np.insert(np.ones(len(closes), dtype=np.bool_), places, False)
