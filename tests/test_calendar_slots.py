"""Session days, weeks and months: candles since a moment and the forming one, against loops over listed sessions."""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, timedelta
from typing import Any

import pytest
from market_rows import Row
from quick import first_quick, rest_long
from test_session_candles import MARKETS, MINUTE, Market, needs_package, rows_between, world

import bknb

INTERVALS = ("1d", "1w", "1M")
Numbers = tuple[float, float, float, float, float]


def key_of(day: date, interval: str) -> date:
    """The date that names a day, a week or a month."""
    if interval == "1d":
        return day
    return day - timedelta(days=day.weekday()) if interval == "1w" else day.replace(day=1)


def slots_of(rows: list[Row], interval: str) -> dict[date, list[Row]]:
    found: dict[date, list[Row]] = {}
    for row in rows:
        found.setdefault(key_of(row[0], interval), []).append(row)
    return found


def candle(bars: list[tuple[float, ...]]) -> Numbers:
    """One candle of bars (time, open, high, low, close, volume), bar by bar."""
    _, opened, high, low, close, volume = bars[0]
    for bar in bars[1:]:
        high, low, close, volume = max(high, bar[2]), min(low, bar[3]), bar[4], volume + bar[5]
    return (opened, high, low, close, volume)


class Plain:
    """Bars of a market in a list, and its listed sessions, from the first bar on."""

    def __init__(self, rows: list[Row], bars: list[tuple[float, ...]], step: int) -> None:
        self.bars, self.step, self.times = bars, step, [int(bar[0]) for bar in bars]
        self.slots = {interval: slots_of(rows, interval) for interval in INTERVALS}
        self.first, end = int(bars[0][0]), int(bars[-1][0]) + step
        self.made = {
            interval: [
                ((key, int(mine[0][1]), candle(self.part(mine[0][1], mine[-1][2]))), int(mine[-1][2]))
                for key, mine in self.slots[interval].items()
                if mine[0][1] >= self.first and mine[-1][2] <= end
            ]
            for interval in INTERVALS
        }

    def part(self, since: float, until: float) -> list[tuple[float, ...]]:
        return self.bars[bisect_left(self.times, since) : bisect_left(self.times, until)]

    def closed(self, interval: str, when: int) -> list[tuple[date, int, Numbers]]:
        """Day, open and numbers of those that have closed; one that began before the bars is not there."""
        return [each for each, close in self.made[interval] if close <= when]

    def forming(self, interval: str, when: int) -> list[tuple[int, Numbers]]:
        for rows in self.slots[interval].values():
            if rows[0][1] <= when < rows[-1][2]:
                bars = self.part(rows[0][1], when - self.step + 1)
                return [(int(rows[0][1]), candle(bars))] if bars else []
        return []


def market_of(market: Market, *, every: int = 5, seed: int = 3) -> tuple[Plain, Any, list[Row]]:
    rows = rows_between(market, market.first, market.last)
    minutes, _ = world(rows, every=every, seed=seed)
    bars = list(minutes.itertuples(index=False, name=None))
    whole = market.rows(int(market.first[:4]), int(market.last[:4]) + 1)  # weeks and months are cut by the bars alone
    return Plain(whole, bars, every * MINUTE), minutes, rows


def shown(candles: Any) -> list[tuple[int, Numbers]]:
    names = ("open", "high", "low", "close", "volume")
    return [(int(row["timestamp"]), tuple(row[name] for name in names)) for row in candles]


MOMENTS = "session_open, session_open+5m, session_open+50m, session_close-5m, session_close"


@pytest.mark.slow
@pytest.mark.parametrize(
    "market",
    [*first_quick([MARKETS[6], *MARKETS[:3]]), *rest_long([MARKETS[3], MARKETS[7]], kept=0)],
    ids=lambda market: f"{market.name} {market.first[:7]}",
)
def test_candles_since_a_moment_and_the_forming_one_are_those_of_listed_sessions(market: Market) -> None:
    needs_package(market)
    plain, minutes, rows = market_of(market)
    seen: set[tuple[str, bool]] = set()

    def get_signal(ctx: Any) -> None:
        when = ctx.when_ms
        for interval in INTERVALS:
            closed, last = plain.closed(interval, when), plain.forming(interval, when)
            for since in (when - 3 * 86_400_000, int(rows[2][1]), int(rows[2][1]) + 1, ctx.session.open):
                at = since if isinstance(since, int) else round(since.timestamp() * 1000)
                mine = [(opened, numbers) for _, opened, numbers in closed if opened >= at]
                assert shown(ctx.candles(interval, since=since)) == mine, (interval, since)
                both = mine + [each for each in last if each[0] >= at]
                assert shown(ctx.candles(interval, since=since, forming=True)) == both, (interval, since)
            if len(closed) >= 2:
                mine = [(opened, numbers) for _, opened, numbers in closed[-2:]]
                assert shown(ctx.candles(interval, 2, forming=True)) == mine + last
            seen.add((interval, bool(last)))

    strategy = bknb.add_strategy("slots", at=MOMENTS, get_signal=get_signal)
    source = bknb.exchanges.from_frame(minutes, sessions=market.sessions())
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=(int(rows[3][1]), int(rows[-1][2])))
    assert result.errors == []
    assert {("1d", True), ("1d", False), ("1w", True), ("1M", True)} <= seen
