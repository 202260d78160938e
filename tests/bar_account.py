"""The account of a run over bars and its longer candles, worked out bar by bar from the contract alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bar_loop import Bar, Trade


class Figures(NamedTuple):
    """Equity at the close of each bar of the frame, and figures of the account, percent."""

    equity: list[float]
    total_return: float
    max_drawdown: float
    exposure: float
    fees: float
    net: list[float]


def cost_of(trade: Trade, slippage: float, fee: float) -> tuple[float, float, float]:
    """Net result and fees of a trade as shares of what went in, and the entry with its slippage."""
    entry = trade.price_open * (1 + trade.sign * slippage / 100)
    left = trade.price_close * (1 - trade.sign * slippage / 100)
    fees = fee / 100 * (1 + left / entry)
    return trade.sign * (left - entry) / entry - fees, fees, entry


def account(
    bars: Sequence[Bar], trades: Sequence[Trade], base: int, *, start: int, end: int, slippage: float, fee: float,
    sessions: bool,
) -> Figures:  # fmt: skip
    """One account whose whole equity goes into each trade; marked at the close of each bar."""
    inside = [bar for bar in bars if start <= bar.t and bar.t + base <= end]
    first, last = (inside[0].t, inside[-1].t + base) if sessions else (start, end)
    equity, path, worth, waiting = [], [1.0], 1.0, list(trades)
    fees = held = 0.0
    for bar in inside:
        closes = bar.t + base
        while waiting and min(waiting[0].closed + base, last) <= closes:
            trade = waiting.pop(0)
            net, paid, _ = cost_of(trade, slippage, fee)
            fees += worth * paid * 100
            worth *= 1 + net
            path.append(worth)
        now = worth
        if waiting and waiting[0].opened < closes:
            _, _, entry = cost_of(waiting[0], slippage, fee)
            now = worth * (1 + waiting[0].sign * (bar.close / entry - 1) - fee / 100)
        equity.append(now)
        path.append(now)
    for trade in waiting:  # what leaves behind the last bar of the frame
        net, paid, _ = cost_of(trade, slippage, fee)
        fees += worth * paid * 100
        worth *= 1 + net
        path.append(worth)
    for trade in trades:
        over = trade.closed if trade.at_open else trade.closed + base
        held += min(over, last) - min(trade.opened, last)
    high, fall = path[0], 0.0
    for value in path:
        high = max(high, value)
        fall = max(fall, 1 - value / high)
    nets = [cost_of(trade, slippage, fee)[0] * 100 for trade in trades]
    return Figures(equity, (worth - 1) * 100, fall * 100, held / (last - first) * 100, fees, nets)


def _opened(bar: Bar) -> int:
    return bar.t


def candles_before(
    bars: Sequence[Bar], base: int, step: int, when: int, count: int, *, gaps: bool, opens: Callable[[int], bool]
) -> list[Bar]:
    """The newest candles of a longer interval that have closed: whole ones, with gaps allowed any that have a bar."""
    made: list[Bar] = []
    at = when // step * step - step
    while len(made) < count and at > bars[0].t:
        part = bars[bisect_left(bars, at, key=_opened) : bisect_left(bars, at + step, key=_opened)]
        expected = [t for t in range(at, at + step, base) if opens(t)]
        if part and (gaps or len(part) == len(expected)):
            volume = 0.0
            for bar in part:
                volume += bar.volume
            high, low = max(bar.high for bar in part), min(bar.low for bar in part)
            made.insert(0, Bar(at, part[0].open, high, low, part[-1].close, volume))
        at -= step
    return made
