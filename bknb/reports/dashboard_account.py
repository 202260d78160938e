"""The account of a run as its dashboard shows it: the figures of ``result.account``, while it still runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.interval import MINUTE_MS
from ..domain.signal import OpenSignal
from ..metrics.compounding import drawdown
from ..metrics.marked_equity import MarkedEquity
from ..metrics.marked_positions import Positions, StillOpen, positions_from, with_open, with_parts, with_sizes
from ..metrics.run_account import Terms, account_of, cut_off, figures_of_bars, mark_run, no_account
from .progress_text import compounded

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable

    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.marked_positions import Floats, Times
    from .dashboard_run import RunView

AT_THE_END: Final = "known once the run is over"
"""Why figures of an account that its trades do not tell are missing while the run goes on."""


def _terms(view: RunView) -> Terms:
    """What the account rests on; while the run goes on, up to the newest thing that is known of it."""
    trades = view.signals.trades
    if view.over and view.terms is not None:
        return view.terms
    start, end = view.span()
    known = Terms(start=start, end=start, slippage=0.0, fee=0.0) if view.terms is None else view.terms
    newest = max(known.end, view.last_ms or start, *(int(closed) + known.bar_ms for closed in trades.closed_ms[-1:]))
    return replace(known, end=end if view.over else newest)


def _still_open(view: RunView, terms: Terms) -> StillOpen | None:
    level = next((level for level in reversed(view.signals.levels.values()) if level.is_open), None)
    if level is None or not isinstance(level.row, OpenSignal):
        return None
    return StillOpen(level.row, terms.slippage, terms.fee, level.fills)


def _bars(view: RunView) -> tuple[Times, Floats, Floats]:
    """Open times, opening and closing prices of the known bars; of a run without candles, those it reported."""
    if view.candles is not None:
        return view.candles.timestamp, view.candles.open, view.candles.close
    reported = ([view.last_ms], [view.last_price]) if view.last_ms is not None and not view.price_ms else (
        view.price_ms, view.prices
    )  # fmt: skip
    times, prices = np.array(reported[0], dtype=np.float64), np.array(reported[1], dtype=np.float64)
    step = MINUTE_MS if view.terms is None else view.terms.bar_ms
    return times.astype(np.int64) - step, prices, prices


def _positions(view: RunView, terms: Terms) -> Positions:
    trades = view.signals.trades
    count = len(trades)

    def column(values: array[float]) -> Floats:
        return np.array(values[:count], dtype=np.float64)

    ended = positions_from(
        opened_ms=column(trades.opened_ms).astype(np.int64),
        closed_ms=column(trades.closed_ms).astype(np.int64),
        side=column(trades.side),
        price_open=column(trades.price_open),
        price_close=column(trades.whole_exit),
        net=column(trades.pnl),
        fee=column(trades.fee),
        slippage=column(trades.slippage),
    )
    parted = [(index, trades.events[index]) for index in trades.parted if index < count]
    return with_open(with_parts(with_sizes(ended, trades.size[:count]), parted), _still_open(view, terms))


def marked_of(view: RunView) -> MarkedEquity | None:
    """Equity of the run so far, open position included; ``None`` where there is none (``view.signals.no_equity``)."""
    if view.signals.no_equity:
        return None
    terms = _terms(view)
    times, _, closes = _bars(view)
    return mark_run(_positions(view, terms), times, closes, terms)


class DrawnEquity(NamedTuple):
    """The line of the account, 1 at its start, how far it lies below its peak (percent), and the line at each exit.

    Moments are UTC ms.
    """

    time_ms: Times
    equity: Floats
    drawdown_ms: Times
    drawdown: Floats
    after: Floats


def drawn_equity(view: RunView) -> DrawnEquity | None:
    """The lines of the run so far, made of its trades, or where these tell none of its account; ``None``: none yet."""
    marked = marked_of(view)
    if marked is not None:
        return DrawnEquity(marked.time_ms, marked.equity, marked.path_time_ms, marked.drawdown, marked.after)
    if view.worth is None:
        return None
    times, line = view.worth
    known = np.searchsorted(times, np.array(view.signals.trades.closed_ms, dtype=np.int64) + _terms(view).bar_ms)
    return DrawnEquity(times, line, times, drawdown(line), line[np.minimum(known, len(line) - 1)])


def why_not_drawn(view: RunView) -> str:
    """Why there is no equity to draw; empty where there is, or it comes as soon as the run has its candles."""
    return "" if view.in_money else view.signals.no_equity


def account_of_view(view: RunView) -> Account:
    """The account of the run so far; that of a finished run is known."""
    if view.account is not None:
        return view.account
    terms, (times, opens, closes) = _terms(view), _bars(view)
    events = view.signals.trades.events
    if view.signals.no_equity:
        still_open, bars = _still_open(view, terms) is not None, figures_of_bars(times, opens, closes, terms)
        return no_account(why_not_drawn(view) or AT_THE_END, events, still_open=still_open, of_bars=bars)
    positions = _positions(view, terms)
    without_end = len(cut_off(events)) + len(positions) - len(view.signals.trades)
    marked = mark_run(positions, times, closes, terms)
    closed = events[: len(positions)]
    return account_of(marked, positions, times, opens, closes, terms, closed=closed, cut_off=without_end)


def _of_equity(view: RunView) -> Iterable[float]:
    """The results of closed trades, percent of the equity before each."""
    trades = view.signals.trades
    if all(size is None for size in trades.size):
        return trades.pnl
    return [event.of_equity for event in trades.events]


def total_return(view: RunView) -> float | None:
    """The total return so far in percent, without marking every bar: what the head of a dashboard says.

    ``None`` where there is no equity.
    """
    if view.account is not None and view.account["total_return"] is not None:
        return float(view.account["total_return"])
    if view.signals.no_equity:
        return None if view.worth is None else float(view.worth[1][-1] - 1.0) * 100
    closed, terms = compounded(_of_equity(view)), _terms(view)
    held = _still_open(view, terms)
    if held is None:
        return closed
    times, _, closes = _bars(view)
    behind = int(times.searchsorted(terms.end - terms.bar_ms + 1))
    if not behind:
        return closed
    price = float(closes[behind - 1])
    return ((1 + closed / 100) * held.worth(price) - 1) * 100
