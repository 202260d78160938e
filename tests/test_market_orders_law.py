"""A close that was chosen in advance earns nothing: the law for orders that fill at the close of a session.

Markets are made print by print (``tick_paths.py``), of which every ten minutes are a session here; rules look for what
a careless engine gives away (``law_rules.py``). Money is in percent of the entry, costs are zero, seeds are fixed, and
t is taken for each rule and kind of orders on its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from law_rules import Orders, wishes
from law_runs import ran
from scenarios import MINUTE
from tick_paths import Path, path

import bknb
from bknb.engine.backtest import BacktestRun

SESSION = 10 * MINUTE
LIMIT = 4.0  # standard errors
RULES = ("with_last", "near_low", "far_above_avg", "below_avg", "with_leader")


class TenMinutes:
    """The clock of a market whose sessions are ten minutes long, and follow each other without a pause."""

    def session_end(self, when: int) -> int:
        return when - when % SESSION + SESSION

    def next_moment(self, text: str, when: int) -> int:
        raise NotImplementedError(text, when)

    def fault(self, text: str) -> str:
        return text

    def candles_closed(self, opened: int, count: int) -> int:
        return (opened // MINUTE + count) * MINUTE


class InSessions(BacktestRun):
    """A backtest on such a market."""

    def _make_loop(self, window: Any, strategy: Any) -> Any:
        loop = super()._make_loop(window, strategy)
        loop.rules = loop.rules._replace(clock=TenMinutes)
        return loop


ORDERS: dict[str, Callable[[Any, float, float], bknb.Signal]] = {
    "out at the close": lambda side, _t, _s: bknb.Signal(side=side, until="session_end"),
    "stop and target, out at the close": lambda side, target, stop: bknb.Signal(
        side=side, price_take_profit=target, price_stop_loss=stop, until="session_end"
    ),
    "in at the close, deadline 3": lambda side, _t, _s: bknb.Signal(side=side, entry="close", minute_estimated_time=3),
    "in at the close, stop, out at the next": lambda side, _t, stop: bknb.Signal(
        side=side, entry="close", price_stop_loss=stop, until="session_end"
    ),
}


def results(market: Path, rule: str, name: str) -> list[float]:
    """The gross result of each trade, percent."""
    wanted = wishes(market, rule, Orders(stop=12, target=20))
    rows = {int(t) + MINUTE: row for row, t in enumerate(market.times)}

    def get_signal(ctx: Any) -> bknb.Signal | None:
        side, _, target, stop = wanted.row(rows[ctx.when_ms])
        return ORDERS[name]("long" if side > 0 else "short", target, stop) if side else None

    run = ran(market, get_signal, walk=InSessions)
    return [closed.pnl.gross_percentage for closed in run.records.closed]


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDERS)
def test_a_close_chosen_in_advance_earns_nothing(name: str) -> None:
    made: dict[str, list[float]] = defaultdict(list)
    for kind in ("gaps", "silent"):
        for seed in range(8):
            market = path(kind, seed)
            for rule in RULES:
                made[rule] += results(market, rule, name)
    for rule, found in made.items():
        trades = np.array(found)
        assert len(trades) > 60, (rule, len(trades))
        t = trades.mean() / (trades.std(ddof=1) / np.sqrt(len(trades)))
        assert t <= LIMIT, (rule, t)
