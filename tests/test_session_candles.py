"""Days, weeks and months of markets with sessions, and a strategy by the day on minutes and on daily bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pytest
from market_rows import Row, forex_rows, rows_of, utc_rows
from quick import first_quick, rest_long

import bknb
from bknb.engine.bar_count import bar_counter
from bknb.market.sessions import Sessions, as_sessions
from bknb.testing.clocks import SimulatedClock

MINUTE, DAY = 60_000, 86_400_000
MONDAY = 1_704_672_000_000  # 8 January 2024
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}


@dataclass(frozen=True)
class Market:
    """Sessions, the same by a loop, and dates that hold changes of the clocks, half days, holidays or breaks."""

    name: str
    sessions: Callable[[], Sessions | None]
    rows: Callable[[int, int], list[Row]]
    first: str
    last: str


def exchange(name: str, first: str, last: str) -> Market:
    return Market(
        name, lambda: Sessions.of_exchange(name), lambda since, until: rows_of(name, since, until), first, last
    )


def named(name: str, rows: Callable[[int, int], list[Row]], first: str, last: str) -> Market:
    return Market(name, lambda: as_sessions(name), rows, first, last)


MARKETS: list[Market] = [
    named("us-equities", lambda since, until: rows_of("XNYS", since, until), "2024-10-28", "2024-12-03"),
    named("fx", forex_rows, "2024-10-28", "2024-11-12"),
    exchange("XLON", "2024-12-16", "2025-01-08"),
    exchange("XTKS", "2024-12-20", "2025-01-14"),
    exchange("XHKG", "2024-12-18", "2025-01-07"),
    exchange("XNYS", "2024-03-04", "2024-03-20"),
    named("fx", forex_rows, "2024-03-04", "2024-03-19"),
    exchange("CMES", "2024-11-21", "2024-12-06"),
]


def rows_between(market: Market, first: str, last: str) -> list[Row]:
    since, until = date.fromisoformat(first), date.fromisoformat(last)
    return [row for row in market.rows(since.year, until.year) if since <= row[0] <= until]


def world(rows: list[Row], *, seed: int = 3, every: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random minutes of sessions, and the daily bars made of them by a loop."""
    times = np.concatenate([np.arange(int(a), int(b), every * MINUTE) for row in rows for a, b in row[3]])
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.0005, len(times))))
    opened = close * np.exp(random.normal(0, 0.0002, len(times)))
    minutes = pd.DataFrame({
        "timestamp": times, "open": opened, "high": np.maximum(opened, close) * 1.0001,
        "low": np.minimum(opened, close) * 0.9999, "close": close, "volume": random.integers(1, 50, len(times)) * 1.0,
    })  # fmt: skip
    ends = [int(row[2]) for row in rows]
    which = np.searchsorted(ends, times, side="right")
    days = [
        (row[0], part.open.iloc[0], part.high.max(), part.low.min(), part.close.iloc[-1], part.volume.sum())
        for row, (_, part) in zip(rows, minutes.groupby(which), strict=True)
    ]
    daily = pd.DataFrame(days, columns=["date", "open", "high", "low", "close", "volume"])
    return minutes, daily.set_index(pd.DatetimeIndex(daily.pop("date"), name="Date"))


def grouped(rows: list[Row], daily: pd.DataFrame, key: Callable[[date], Any]) -> list[tuple[int, list[float]]]:
    """Candles of weeks or months by a loop: their open, and their numbers; the first and the last are cut."""
    found = []
    for _, group in groupby(range(len(rows)), key=lambda at: key(rows[at][0])):
        at = list(group)
        part = daily.iloc[at]
        numbers = [part.open.iloc[0], part.high.max(), part.low.min(), part.close.iloc[-1], part.volume.sum()]
        found.append((int(rows[at[0]][1]), numbers))
    return found[1:-1]


def shown(candles: Any) -> list[tuple[int, list[float]]]:
    return [(int(row["timestamp"]), [row[name] for name in ("open", "high", "low", "close", "volume")])
            for row in candles]  # fmt: skip


def needs_package(market: Market) -> None:
    if market.rows is not forex_rows:
        pytest.importorskip("exchange_calendars")


@pytest.mark.parametrize(
    "market", first_quick([MARKETS[0], MARKETS[3], MARKETS[7]]), ids=lambda market: f"{market.name} {market.first[:7]}"
)
def test_a_day_is_a_session_and_is_known_from_its_close_on(market: Market) -> None:
    needs_package(market)
    rows = rows_between(market, market.first, market.last)
    minutes, daily = world(rows)
    source = bknb.exchanges.from_frame(minutes, sessions=market.sessions())
    expected = [(int(row[1]), list(map(float, numbers))) for row, numbers in zip(rows, daily.to_numpy(), strict=True)]
    seen: list[int] = []

    def get_signal(ctx: Any) -> None:
        closed = sum(row[2] <= ctx.when_ms for row in rows)
        seen.append(closed)
        if closed >= 3:
            assert shown(ctx.get_candles("X", "1d", 3)) == expected[closed - 3 : closed]
        if closed != 4:
            return
        with pytest.raises(bknb.NotEnoughData, match="closed 1d candles of X were asked for at"):
            ctx.get_candles("X", "1d", closed + 1)

    for at in ("session_close-1m, session_close", "session_open, session_open+1m"):
        strategy = bknb.add_strategy("days", at=at, get_signal=get_signal)
        result = bknb.backtest("X", strategy=strategy, exchange=source, frame=(int(rows[2][1]), int(rows[-1][2])))
        assert result.errors == []
    assert set(range(3, len(rows))) <= set(seen)


@pytest.mark.parametrize(("allow_gaps", "expected"), [(False, [2, 3, 4, 5]), (True, [0, 1, 3, 4, 5])])
def test_a_day_needs_all_of_its_minutes_unless_gaps_are_allowed(
    allow_gaps: bool,  # noqa: FBT001 -- a table's column
    expected: list[int],
) -> None:
    rows = forex_rows(2024, 2024)[:7]
    sessions = as_sessions("fx")
    minutes, _ = world(rows)
    minutes = minutes[minutes.timestamp >= rows[0][1] + 100 * MINUTE]  # the data begin within the first day
    if allow_gaps:
        holes = (minutes.timestamp >= rows[1][1] + DAY // 2) & (
            minutes.timestamp < rows[3][1]
        )  # a half, and a whole day
        minutes = minutes[~holes]
    else:
        expected = [1, *expected]
    found: list[int] = []

    def get_signal(ctx: Any) -> None:
        found.extend(ctx.get_candles("X", "1d", len(expected)).timestamp.tolist())
        with pytest.raises(bknb.NotEnoughData, match=f"only {len(expected)} exist"):
            ctx.get_candles("X", "1d", len(expected) + 1)

    strategy = bknb.add_strategy("days", at="session_close", get_signal=get_signal)
    source = bknb.exchanges.from_frame(minutes, sessions=sessions)
    frame = (int(rows[5][2]), int(rows[6][2]) - MINUTE)
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, allow_gaps=allow_gaps)
    assert result.errors == []
    assert found == [int(rows[at][1]) for at in expected]


@pytest.mark.parametrize(
    ("name", "sessions", "rows"),
    first_quick([("fx", as_sessions("fx"), forex_rows), ("always", None, utc_rows),
                 ("us", as_sessions("us-equities"), lambda a, b: rows_of("XNYS", a, b))]),
)  # fmt: skip
@pytest.mark.parametrize("interval", ["1w", "1M"])
def test_weeks_begin_on_monday_and_months_with_their_first_session(
    name: str, sessions: Sessions | None, rows: Callable[[int, int], list[Row]], interval: str
) -> None:
    if name == "us":
        pytest.importorskip("exchange_calendars")
    listed = [row for row in rows(2024, 2024) if date(2024, 1, 17) <= row[0] <= date(2024, 5, 22)]
    minutes, daily = world(listed, every=30)
    minutes = minutes.set_index(pd.to_datetime(minutes.pop("timestamp"), unit="ms", utc=True))
    source = bknb.exchanges.from_frame(minutes, sessions=sessions)
    key = (lambda day: day.isocalendar()[:2]) if interval == "1w" else (lambda day: (day.year, day.month))
    expected = grouped(listed, daily, key)
    known = len(expected)

    def get_signal(ctx: Any) -> None:
        found = shown(ctx.get_candles("X", interval, known))
        assert [each[0] for each in found] == [each[0] for each in expected]
        np.testing.assert_allclose([each[1] for each in found], [each[1] for each in expected], rtol=1e-12)

    strategy = bknb.add_strategy("weeks", interval="1d", get_signal=get_signal)
    frame = (int(listed[-1][1]) - DAY, int(listed[-1][2]) + DAY)
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame)
    assert result.errors == []


# --- a strategy by the day, on minutes and on daily bars ----------------------------------------------------------


Story = list[tuple[int, str, Any]]


def told(source: Any, daily: pd.DataFrame, frame: tuple[int, int], **options: Any) -> tuple[Story, list[Any]]:
    """Questions, each by the newest day it saw, with its answer; and the fills of the trades that ended by a rule."""
    place = {close: at for at, close in enumerate(daily.close)}
    story: Story = []

    def newest(ctx: Any) -> tuple[int, float]:
        days = ctx.get_candles("X", "1d", 3)
        return place[float(days.close[-1])], float(days.close[-1] / days.close[0]) + float(days.volume[-2]) * 1e-15

    def get_signal(ctx: Any) -> Any:
        at, rise = newest(ctx)
        if at < 5:
            return None
        story.append((at, "asked", rise))
        if at % 3 == 1:
            return None
        up = rise > 1
        more = ({}, {"bars": 2}, {"until": "session_end"}, {"entry": "close", "bars": 1}, {})[at % 5]
        return bknb.Signal(position="long" if up else "short", price_take_profit=ctx.price * (1.5 if up else 0.5),
                           price_stop_loss=ctx.price * (0.81 if up else 1.19), **more)  # fmt: skip

    def manage(ctx: Any, position: Any) -> Any:
        at, rise = newest(ctx)
        story.append((at, "managed", rise))
        if position.opened_at is None:
            return None
        if at % 4 == 2:
            return bknb.Close(at="close")  # the slot of this session was not asked in: the next one is
        return bknb.Close() if at % 4 == 0 or rise > 1.01 else None

    strategy = bknb.add_strategy("by-day", interval="1d", get_signal=get_signal, manage=manage)
    settings = {"max_signal_lifetime_minutes": None}
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, settings=settings, **options)
    assert result.errors[1:] == []  # of the first there may be too few days
    fills = [
        (trade.position, trade.price_open, trade.price_close, trade.close_reason)
        for trade in result.trades.itertuples()
        if trade.close_reason not in ("frame_end", "data_end")
    ]
    return story, fills


def compared(market: Market, first: str, last: str, *, every: int = 1) -> tuple[int, int]:
    """How many questions and trades are the same over bars of so many minutes and over days made of them."""
    rows = rows_between(market, first, last)
    minutes, daily = world(rows, every=every)
    sessions = market.sessions()
    frame = (int(rows[3][1]), int(rows[-1][2]) + 2 * DAY)
    on_minutes = told(bknb.exchanges.from_frame(minutes, sessions=sessions), daily, frame)
    on_days = told(bknb.exchanges.from_frame(daily, sessions=sessions, symbol="X"), daily, frame)
    assert on_minutes[0] == on_days[0]
    assert on_minutes[1] == on_days[1]
    return len(on_days[0]), len(on_days[1])


@pytest.mark.parametrize("market", first_quick(MARKETS), ids=lambda market: f"{market.name} {market.first[:7]}")
def test_a_day_strategy_on_minutes_is_the_one_on_daily_bars(market: Market) -> None:
    needs_package(market)
    questions, trades = compared(market, market.first, market.last)
    assert questions >= 5
    assert trades >= 1


TEN_YEARS = [
    exchange("XNYS", "2015-01-01", "2024-12-31"),
    *(exchange(name, "2015-01-01", "2024-12-31") for name in ("XLON", "XTKS", "XHKG", "CMES")),
    named("fx", forex_rows, "2015-01-01", "2024-12-31"),
]


@pytest.mark.slow
@pytest.mark.parametrize("market", rest_long(TEN_YEARS, kept=1), ids=lambda market: market.name)
def test_ten_years_over_hours_are_those_over_days(market: Market) -> None:
    """Every half day, holiday and change of the clocks of six markets; those with breaks have bars of half an hour."""
    needs_package(market)
    every = 60 if market.name in ("XNYS", "CMES", "fx") else 30
    questions, trades = compared(market, market.first, market.last, every=every)
    assert questions > 2400
    assert trades > 900


@pytest.mark.slow
@pytest.mark.parametrize("market", rest_long(TEN_YEARS, kept=1), ids=lambda market: market.name)
def test_in_ten_years_nothing_that_is_out_at_the_close_is_held_over_it(market: Market) -> None:
    """Each day in at the open, on half days as well: out at the close of the last bar of that session."""
    needs_package(market)
    rows = rows_between(market, market.first, market.last)
    minutes, daily = world(rows, every=30)
    strategy = bknb.add_strategy(
        "by-day", interval="1d", get_signal=lambda: bknb.Signal(position="long", until="session_end")
    )
    source = bknb.exchanges.from_frame(minutes, sessions=market.sessions(), symbol="X")
    trades = bknb.backtest(
        "X", strategy=strategy, exchange=source, frame=(int(rows[3][1]), int(rows[-1][2])), settings=FREE
    ).trades
    opened, closed = (trades[name].dt.as_unit("ms").astype("int64").to_numpy() for name in ("pending_at", "closed_at"))
    session = np.searchsorted([row[1] for row in rows], opened, side="right") - 1
    assert (closed < np.array([row[2] for row in rows])[session]).all()
    assert trades["price_close"].tolist() == daily.close.to_numpy()[session].tolist()
    assert len(set(session)) == len(trades) >= len(rows) - 4


@pytest.mark.parametrize("name", ["fx", "us-equities"])
def test_the_bars_of_a_position_of_a_day_strategy_are_sessions(name: str) -> None:
    sessions = as_sessions(name)
    assert sessions is not None
    days = sessions.session_days(MONDAY, MONDAY + 12 * DAY)
    counted = bar_counter(DAY, None, sessions, by_day=True)
    assert counted is not None
    for first in range(0, 12 * 24, 5):
        after = MONDAY + first * 3_600_000
        for hours in (0, 1, 7, 24, 90, 200, 9000):
            until = after + hours * 3_600_000
            if until <= MONDAY + 12 * DAY:
                assert counted(after, until) == sum(after < day.close <= until for day in days), (after, until)
    seen: list[tuple[int, int]] = []

    def manage(ctx: Any, position: Any) -> None:
        seen.append((position.bars, ctx.when_ms))

    def get_signal(ctx: Any) -> Any:
        return bknb.Signal(position="long", price_take_profit=ctx.price * 1.5, price_stop_loss=ctx.price * 0.81)

    strategy = bknb.add_strategy("bars", interval="1d", get_signal=get_signal, manage=manage)
    source = bknb.exchanges.in_sessions(bknb.exchanges.demo(), name)
    settings = {"max_signal_lifetime_minutes": None}
    bknb.backtest("BTCUSDT", strategy=strategy, exchange=source, frame=(MONDAY, MONDAY + 12 * DAY), settings=settings)
    assert [bars for bars, _ in seen] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.slow
def test_a_day_strategy_live_is_the_one_of_a_backtest() -> None:
    from test_scheduled_questions import HOURS, ZONE, OpenHoursClock, closed_by, minutes, ms

    whole, since, until = (
        minutes(HOURS, "2024-11-14", "2024-12-05"),
        ms("2024-11-21 09:20", ZONE),
        ms("2024-12-03 10:05", ZONE),
    )
    found = []
    for live in (False, True):
        seen: list[Any] = []

        def get_signal(ctx: Any, seen: list[Any] = seen) -> Any:
            days = ctx.get_candles("X", "1d", 3)
            seen.append((ctx.when_ms, days.timestamp.tolist(), days.close.tolist()))
            return bknb.Signal(position="long", price_take_profit=ctx.price * 1.2, price_stop_loss=ctx.price * 0.85,
                               minute_estimated_time=3000)  # fmt: skip

        def manage(ctx: Any, seen: list[Any] = seen) -> Any:
            seen.append((ctx.when_ms, ctx.get_candles("X", "1d", 1).close.tolist()))
            return bknb.Close() if len(seen) % 2 else None

        strategy = bknb.add_strategy("days-live", interval="1d", get_signal=get_signal, manage=manage)
        if live:
            clock: SimulatedClock = OpenHoursClock(since, HOURS)
            task = bknb.Live.background("X", strategy=strategy, exchange=bknb.exchanges.in_sessions(
                closed_by(clock, whole), HOURS), clock=clock, until=until, store=bknb.stores.memory())  # fmt: skip
            result = task.result(timeout=60)
        else:
            result = bknb.backtest("X", strategy=strategy, exchange=whole, frame=(since, until))
        found.append((seen, [each for each in result.errors if each.kind != "late"], result.missed))
    assert found[0] == found[1]
    assert len(found[0][0]) >= 7
    assert found[0][1:] == ([], 0)
