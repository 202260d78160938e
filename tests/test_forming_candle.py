"""``ctx.candles(..., forming=True)``: the candle of a slot so far, of what had closed at the question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import first_quick
from scenarios import MINUTE, ORIGIN
from test_live_parity import backtest_with_late_decisions, live, told
from test_panel import bars, exchange_of

import bknb
from bknb.domain.interval import interval_ms

Rows = list[tuple[int, float, float, float, float, float]]
DAY = 86_400_000


def so_far(rows: Rows, interval: str, base: str, when: int) -> list[tuple[float, ...]]:
    """The forming candle, bar by bar, of the bars that have closed at a moment."""
    begin = when - when % interval_ms(interval)
    mine = [row for row in rows if begin <= row[0] and row[0] + interval_ms(base) <= when]
    if not mine:
        return []
    volume = 0.0
    for row in mine:
        volume += row[5]
    top, bottom = max(row[2] for row in mine), min(row[3] for row in mine)
    return [(begin, mine[0][1], top, bottom, mine[-1][4], volume)]


def world(seed: int, base: str, count: int, *, holes: float) -> Rows:
    """A walk with volumes that are no round numbers, so that the order in which they are added shows."""
    rng = np.random.default_rng(seed)
    times = ORIGIN + np.arange(-count // 2, count // 2, dtype=np.int64) * interval_ms(base)
    kept = rng.random(count) >= holes
    kept[:20] = kept[-6:] = True
    volumes = rng.random(count)
    return [(*row[:5], float(volume)) for row, volume in zip(bars(rng, times[kept]), volumes, strict=False)]


def within(sessions: bknb.Sessions, rows: Rows) -> Rows:
    """The rows while the market is open."""
    kept = sessions.mask(np.array([row[0] for row in rows]))
    return [row for row, is_open in zip(rows, kept, strict=True) if is_open]


def play(rows: Rows, base: str, interval: str, **options: Any) -> int:
    """Compare at every question of a run; returns how many forming candles there were."""
    compared = 0

    def get_signal(ctx: Any) -> None:
        nonlocal compared
        closed, both = ctx.candles(interval, 2), ctx.candles(interval, 2, forming=True)
        expected = so_far(rows, interval, base, ctx.when_ms)
        assert both[:2] == closed
        assert [tuple(row.values()) for row in both[2:]] == expected
        compared += len(expected)

    exchange = exchange_of({"AAA": rows}, **options)
    frame = (rows[len(rows) // 3][0], rows[-4][0])
    result = bknb.backtest("AAA", strategy=get_signal, interval=base, exchange=exchange, frame=frame, allow_gaps=True)
    assert [failure.message for failure in result.errors if failure.kind != "warm-up"] == []
    return compared


CASES = [("1m", "5m"), ("1m", "1h"), ("5m", "1h"), ("1h", "1d"), ("1d", "3d")]


@pytest.mark.parametrize("case", CASES)
def test_the_forming_candle_is_made_of_the_closed_bars_of_its_slot(case: tuple[str, str]) -> None:
    assert play(world(5, case[0], 150, holes=0.2), *case) > 30


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 1_000_000), case=st.sampled_from(CASES), holes=st.sampled_from([0.0, 0.1, 0.5]))
def test_the_forming_candle_of_many_worlds(seed: int, case: tuple[str, str], holes: float) -> None:
    play(world(seed, case[0], 300, holes=holes), *case)


@pytest.mark.slow
def test_in_declared_sessions_it_is_made_of_their_minutes() -> None:
    week = bknb.Sessions.weekly("UTC", {"mon-fri": "09:15-10:45"})
    rows = within(week, world(3, "1m", 4 * 1440, holes=0.0))
    assert play(rows, "1m", "1h", sessions=week) > 20


def test_a_slot_that_is_over_gives_the_closed_candle() -> None:
    rows, forming = world(8, "1m", 400, holes=0.0), dict[int, Any]()

    def get_signal(ctx: Any) -> None:
        if ctx.when_ms % (15 * MINUTE) == 14 * MINUTE:
            last = ctx.candles("15m", 1, forming=True)[-1]
            forming[last["timestamp"]] = (last, ctx.candles("1m", 1))
        elif ctx.when_ms % (15 * MINUTE) == 0 and forming:
            closed, minute = ctx.candles("15m", 1)[0], ctx.candles("1m", 1)[0]
            part, _ = forming[closed["timestamp"]]
            assert part["volume"] + minute["volume"] == closed["volume"]
            assert max(part["high"], minute["high"]) == closed["high"]
            assert min(part["low"], minute["low"]) == closed["low"]
            assert (part["open"], minute["close"]) == (closed["open"], closed["close"])

    exchange = exchange_of({"AAA": rows})
    frame = (rows[150][0], rows[-4][0])
    result = bknb.backtest("AAA", strategy=get_signal, interval="1m", exchange=exchange, frame=frame)
    assert result.errors == []
    assert len(forming) > 10


def test_it_is_never_there_by_default_nor_where_its_slot_begins() -> None:
    def get_signal(ctx: Any) -> None:
        assert len(ctx.candles("1h", 3)) == len(ctx.candles("1h", 3, forming=True)) == 3
        assert len(ctx.candles("1m", 3, forming=True)) == 3
        assert len(ctx.candles("4h", since="8h", forming=True)) == 2  # in a slot one of them, and the forming one
        assert len(ctx.candles("4h", since=ctx.when, forming=True)) == 0

    options: Any = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-02"), "interval": "1h"}
    assert bknb.backtest("BTCUSDT", strategy=get_signal, **options).errors == []


@pytest.mark.slow
def test_everything_in_it_is_known_at_the_question() -> None:
    """With another future behind the moment of a question nothing of it is different."""

    def get_signal(ctx: Any) -> Any:
        today = ctx.candles("1d", 2, forming=True)
        price = ctx.price
        if len(today) < 3 or today.close[-1] <= today.open[-1]:
            return None
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.01 + today.volume[-1] / 1e9,
            price_stop_loss=price * 0.99,
            minute_estimated_time=100,
        )

    frame = ("2024-01-03", "2024-01-05")
    report = bknb.check_lookahead(get_signal, exchange="demo", frame=frame, interval="15m", moments=8)
    assert report.ok, report
    assert report.signals > 2


@pytest.mark.parametrize("holes", first_quick([0.1, 0.0]))
def test_live_it_is_that_of_a_backtest(holes: float) -> None:
    rows = world(11, "1m", 300, holes=holes)
    table = {"BTCUSDT": [row for row in rows if row[0] >= ORIGIN - 120 * MINUTE]}
    seen: dict[str, dict[int, Any]] = {"live": {}, "backtest": {}}

    def get_signal(ctx: Any) -> Any:
        candles = ctx.candles("15m", 2, forming=True)
        seen[ctx.mode][ctx.when_ms] = list(candles)
        price = ctx.price
        if candles.close[-1] <= candles.open[-1]:
            return None
        return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.98,
                           minute_estimated_time=4)  # fmt: skip

    exchange, until = exchange_of(table), ORIGIN + 45 * MINUTE
    options: Any = {"exchange": exchange, "strategy": bknb.add_strategy("so far", interval="1m", get_signal=get_signal)}
    result = live(start=ORIGIN, until=until, allow_gaps=True, **options)
    assert result.errors == []
    backtest = backtest_with_late_decisions(result, start=ORIGIN, until=until, allow_gaps=True, **options)
    assert told(result, before=until) == told(backtest, before=until)
    asked = [when for when in seen["live"] if when < until]
    assert len(asked) > 8
    assert all(seen["live"][when] == seen["backtest"][when] for when in asked)


@pytest.mark.slow
def test_a_strategy_five_minutes_before_the_close_sees_the_day_so_far() -> None:
    week = bknb.Sessions.weekly("UTC", {"mon-fri": "14:30-16:00"})
    rows = within(week, world(3, "1m", 8 * 1440, holes=0.0))
    seen = []

    def get_signal(ctx: Any) -> None:
        if ctx.when_ms % DAY == (16 * 60 - 5) * MINUTE:
            seen.append(ctx.candles("1d", 1, forming=True)[-1])

    exchange = exchange_of({"AAA": rows}, sessions=week)
    result = bknb.backtest(
        "AAA", strategy=get_signal, interval="5m", exchange=exchange, frame=("2024-01-01 14:30", "2024-01-04 16:00")
    )
    assert [failure.kind for failure in result.errors] == []
    assert len(seen) == 4
    for last in seen:
        assert last["timestamp"] % DAY == (14 * 60 + 30) * MINUTE  # a session day is named by its open
        day = so_far(rows, "1d", "1m", last["timestamp"] + 85 * MINUTE)
        assert [tuple(last.values())[1:]] == [each[1:] for each in day]
