"""Lifetimes of a strategy by the day in a market with sessions: ``bars``, ``position.bars``, how long orders rest."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from market_rows import Row
from quick import first_quick
from test_session_candles import DAY, MARKETS, MINUTE, Market, needs_package, rows_between, world

import bknb
from bknb.market.session_clock import SessionClock

CHOSEN = [MARKETS[at] for at in (6, 0, 1, 2, 3, 7)]
HOUR = 60 * MINUTE


@pytest.mark.parametrize("market", first_quick(CHOSEN), ids=lambda market: f"{market.name} {market.first[:7]}")
def test_the_clock_of_a_strategy_by_the_day_counts_sessions(market: Market) -> None:
    needs_package(market)
    rows = rows_between(market, market.first, market.last)
    clock = SessionClock(market.sessions(), DAY, by_day=True)
    for when in range(int(rows[0][1]), int(rows[-4][2]), 97 * MINUTE):
        today = max(row for row in rows if row[1] <= when)
        following = next(row for row in rows if row[1] > when)
        closes = [row[2] for row in rows if row[2] > when]
        assert [clock.candles_closed(when, count) for count in (1, 2, 4)] == [closes[0], closes[1], closes[3]]
        assert clock.next_question(when) == following[1]
        assert clock.interval_later(when) == min(following[1] + when - today[1], following[2])


def trades_of(source: Any, rows: list[Row], frame: tuple[int, int]) -> list[tuple[Any, ...]]:
    """Every other day a position that lasts two or three bars."""
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        ups = {"price_take_profit": ctx.price * 1.5, "price_stop_loss": ctx.price * 0.6}
        return bknb.Signal(position="long", bars=2 + len(asked) % 2, **ups)

    strategy = bknb.add_strategy("bars", interval="1d", get_signal=get_signal)
    settings = {"max_signal_lifetime_minutes": None}
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, settings=settings)
    assert result.errors == []
    known = [trade for trade in result.trades.itertuples() if trade.close_reason == "time_expired"]
    return [(trade.price_open, trade.price_close) for trade in known]


@pytest.mark.parametrize("market", first_quick(CHOSEN), ids=lambda market: f"{market.name} {market.first[:7]}")
def test_a_position_of_some_bars_is_the_same_on_minutes_and_on_daily_bars(market: Market) -> None:
    needs_package(market)
    rows = rows_between(market, market.first, market.last)
    minutes, daily = world(rows, every=5)
    midnight = (rows[3][0] - date(1970, 1, 1)).days * DAY  # of the bar of that day
    frame = (min(int(rows[3][1]), midnight), int(rows[-1][2]) + 2 * DAY)
    sessions = market.sessions()
    on_minutes = trades_of(bknb.exchanges.from_frame(minutes, sessions=sessions), rows, frame)
    on_days = trades_of(bknb.exchanges.from_frame(daily, sessions=sessions, symbol="X"), rows, frame)
    opens = [float(each) for each in daily.open]
    assert on_minutes == on_days
    assert len(on_minutes) >= 2
    first, last = (opens.index(price) for price in on_minutes[0])
    assert last - first in (2, 3)


@pytest.mark.parametrize("valid", ["by default", "slot"])
def test_an_order_of_a_strategy_by_the_day_rests_until_the_next_session_opens(valid: str) -> None:
    market = MARKETS[1]
    rows = rows_between(market, market.first, market.last)
    minutes, _ = world(rows)
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        given = {} if valid == "by default" else {"valid": valid}
        return bknb.Signal(position="long", price_open=ctx.price * 0.7, price_take_profit=ctx.price * 1.5,
                           price_stop_loss=ctx.price * 0.6, **given)  # fmt: skip

    strategy = bknb.add_strategy("rests", interval="1d", get_signal=get_signal)
    source = bknb.exchanges.from_frame(minutes, sessions=market.sessions())
    settings = {"max_signal_lifetime_minutes": None}
    frame = (int(rows[1][1]), int(rows[-1][2]))
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, settings=settings)
    assert result.errors == []
    opens = [int(row[1]) for row in rows[1:]]
    assert asked == opens
    gone = [event.when for event in result.events if type(event).__name__ == "Cancelled"]
    assert gone[:-1] == opens[1:]
