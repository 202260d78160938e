"""``get_signals`` by the day in a market with sessions: its rows are those of session days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quick import first_quick
from test_scheduled_questions import HOURS, ZONE, OpenHoursClock, closed_by, minutes, ms, shown
from test_session_candles import MARKETS, Market, needs_package, rows_between, world
from test_sweep_declared import declared
from test_sweep_parity import LIMITS, assert_same, by_events, by_kernel, chance
from test_sweep_parity import market as nervous
from test_sweep_row_orders import ordered

import bknb
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.kernels import simulate as kernel
from bknb.market.sessions import Sessions

MINUTE, DAY = 60_000, 86_400_000
FREE = {"max_signal_lifetime_minutes": None}
LOOKBACK = 3


def days_at(prices: dict[str, float]) -> Any:
    """A source of a market whose days, by their date, open and close at one price each."""
    rows = []
    for day, price in prices.items():
        for open_, close in HOURS.open_ranges(ms(day), ms(day) + DAY):
            for number, minute in enumerate(range(open_, close, MINUTE)):
                now = price if minute in (open_, close - MINUTE) else price + number % 3 * 0.25
                rows.append((minute, now, now, now, now, 1.0 + number % 2))
    columns = ["timestamp", "open", "high", "low", "close", "volume"]
    return bknb.exchanges.from_frame(pd.DataFrame(rows, columns=columns), sessions=HOURS, symbol="X")


# --- a table ---

NOVEMBER = {  # a holiday on the 28th, a half day on the 29th
    "2024-11-21": 97.0, "2024-11-22": 98.0, "2024-11-25": 99.0, "2024-11-26": 100.0, "2024-11-27": 101.0,
    "2024-11-29": 102.0, "2024-12-02": 103.0, "2024-12-03": 104.0,
}  # fmt: skip


def test_a_row_is_acted_on_when_the_next_session_opens() -> None:
    seen: list[Any] = []

    def get_signals(candles: Any) -> Any:
        seen.append((shown(candles.timestamp.tolist()), candles.close.tolist(), candles.volume.tolist()))
        return {"position": np.isin(candles.close, [99.0, 102.0]), "price_take_profit": np.nan, "price_stop_loss": 50.0,
                "minute_estimated_time": np.nan, "exit_long": candles.close == 101.0}  # fmt: skip

    strategy = bknb.add_strategy("rows", interval="1d", get_signals=get_signals, lookback=2)
    frame = (ms("2024-11-25 09:30", ZONE), ms("2024-12-03 09:50", ZONE))
    result = bknb.backtest("X", strategy=strategy, exchange=days_at(NOVEMBER), frame=frame)
    assert result.errors == []
    assert result.warnings == []
    days = ["21 09:30", "22 09:30", "25 09:30", "26 09:30", "27 09:30", "29 09:30", "02 09:30"]
    assert seen[0] == (days, [97.0, 98.0, 99.0, 100.0, 101.0, 102.0, 103.0], [45.0, 45.0, 45.0, 45.0, 45.0, 15.0, 45.0])
    trades = result.trades
    entries = [f"{when.tz_convert(ZONE):%d %H:%M}" for when in trades.pending_at]
    closes = [f"{when.tz_convert(ZONE):%d %H:%M}" for when in trades.closed_at]
    table = list(zip(entries, trades.price_open, closes, trades.price_close, trades.close_reason, strict=True))
    assert table == [
        ("26 09:30", 100.0, "29 09:30", 102.0, "strategy"),
        ("02 09:30", 103.0, "03 09:50", 104.5, "frame_end"),
    ]


@pytest.mark.parametrize(("interval", "at"), [("1w", "mon"), ("1M", "month")])
def test_rows_of_weeks_are_refused_with_the_way_out(interval: str, at: str) -> None:
    with pytest.raises(bknb.UsageError, match=f"give a get_signal with at='{at}'.*or rows of days: interval='1d'"):
        bknb.backtest(
            "BTCUSDT",
            strategy=bknb.add_strategy("weeks", interval=interval, get_signals=wished),
            exchange="demo",
            frame=("2024-01-01", "2024-02-01"),
        )


@pytest.mark.slow
def test_series_are_joined_at_the_close_of_the_session() -> None:
    found: list[list[float]] = []
    table = {"published_at": ["2024-11-25 14:59:59Z", "2024-11-25 15:00Z", "2024-11-25 15:01Z", "2024-11-29 14:39Z"],
             "rate": [1.0, 2.0, 3.0, 4.0]}  # fmt: skip
    bknb.add_series("rates", table)

    def get_signals(candles: Any, unused: int = 0) -> Any:
        del unused
        found.append(bknb.get_series("rates", candles).rate.tolist())
        bknb.get_series("rates", candles[1:])
        with pytest.raises(bknb.UsageError, match="they are no days of its market"):
            bknb.get_series("rates", bknb.Candles.from_rows([(0, 1.0, 1.0, 1.0, 1.0, 1.0)]))
        return {"position": np.zeros(len(candles)), "price_take_profit": 1.0, "price_stop_loss": 1.0,
                "minute_estimated_time": 1}  # fmt: skip

    strategy = bknb.add_strategy("rows", interval="1d", get_signals=get_signals, lookback=1)
    frame = (ms("2024-11-26 09:30", ZONE), ms("2024-12-02 09:50", ZONE))
    options: dict[str, Any] = {"strategy": strategy, "exchange": days_at(NOVEMBER), "frame": frame}
    bknb.backtest("X", **options)
    bknb.sweep(get_signals, params={"unused": [0]}, symbol="X", interval="1d", exchange=options["exchange"],
               frame=options["frame"])  # fmt: skip
    assert found[0] == [2.0, 3.0, 3.0, 4.0]  # the 25th, 26th, 27th and the half day that ends at 09:40


# --- get_signal asks and fills the same ---


def wished(candles: Any) -> dict[str, Any]:
    """Rows that depend on their candle and the two before: entries of every kind, targets and rows that leave."""
    before = np.concatenate([[np.nan] * 2, candles.close[:-2]])
    rise = candles.close / before
    dice = (candles.volume * 7 + np.round(candles.close * 1e4)) % 12
    known = ~np.isnan(rise)
    side = np.where(known & (dice < 8), np.where(rise > 1, 1, -1), 0)
    level = candles.close * (1 - side * 0.002 * np.where(dice == 2, -1, 1))
    return {
        "position": side,
        "price_take_profit": candles.close * (1 + side * 0.02),
        "price_stop_loss": candles.close * (1 - side * 0.03),
        "minute_estimated_time": np.where(dice % 2 == 0, np.nan, 60 * 24 * 2 + 30),
        "price_open": np.where((dice == 1) | (dice == 2), level, np.nan),
        "stop_entry": dice == 2,
        "exit_long": known & (dice == 9),
        "exit_short": known & (dice == 10),
    }


def asked_each_day(seen: list[int]) -> dict[str, Any]:
    """``get_signal`` and ``manage`` that answer as rows do."""

    def last(ctx: Any) -> dict[str, Any]:
        return {name: column[-1] for name, column in wished(ctx.candles("1d", LOOKBACK)).items()}

    def get_signal(ctx: Any) -> Any:
        seen.append(ctx.when_ms)
        row = last(ctx)
        if row["position"] == 0:
            return None
        level, minutes = row["price_open"], row["minute_estimated_time"]
        return bknb.Signal(
            position="long" if row["position"] > 0 else "short",
            price_take_profit=float(row["price_take_profit"]), price_stop_loss=float(row["price_stop_loss"]),
            price_open=None if np.isnan(level) else float(level), entry="stop" if row["stop_entry"] else "limit",
            minute_estimated_time=None if np.isnan(minutes) else int(minutes),
        )  # fmt: skip

    def manage(ctx: Any, position: Any) -> Any:
        return bknb.Close() if position.opened_at is not None and last(ctx)[f"exit_{position.side}"] else None

    return {"get_signal": get_signal, "manage": manage}


TOLD = ["position", "scheduled_at", "pending_at", "closed_at", "price_open", "price_close", "close_reason",
        "pnl_percentage"]  # fmt: skip


def ends_told(result: Any) -> tuple[Any, ...]:
    """What a run tells of trades and cancelled orders, without names."""
    cancelled = result.cancelled.drop(columns=["signal_id", "strategy", "note"]).to_dict("records")
    return result.trades[TOLD].to_dict("records"), [{**each, "price_close": 0} for each in cancelled]


@pytest.mark.parametrize("market", first_quick(MARKETS), ids=lambda market: f"{market.name} {market.first[:7]}")
def test_rows_ask_and_fill_as_get_signal_does(market: Market) -> None:
    needs_package(market)
    rows = rows_between(market, market.first, market.last)
    minutes_, _ = world(rows)
    source = bknb.exchanges.from_frame(minutes_, sessions=market.sessions(), symbol="X")
    frame = (int(rows[4][1]), int(rows[-1][2]) - 2 * MINUTE)
    seen: list[int] = []
    by_rows = bknb.add_strategy("rows", interval="1d", get_signals=wished, lookback=LOOKBACK)
    by_questions = bknb.add_strategy("questions", interval="1d", **asked_each_day(seen))
    options: dict[str, Any] = {"exchange": source, "frame": frame, "settings": FREE}
    found, expected = (bknb.backtest("X", strategy=each, **options) for each in (by_rows, by_questions))
    assert (found.errors, expected.errors) == ([], [])
    assert found.warnings == expected.warnings
    assert ends_told(found) == ends_told(expected)
    assert len(expected.trades) >= 2
    opens = {int(row[1]) for row in rows[4:]}
    assert sum(when in opens for when in seen) >= 2


@pytest.mark.parametrize("market", first_quick(MARKETS), ids=lambda market: f"{market.name} {market.first[:7]}")
def test_rows_on_minutes_are_those_on_daily_bars(market: Market) -> None:
    """The same rows, and the same fills of orders at the market that a row or the end of its bars closes."""
    needs_package(market)
    rows = rows_between(market, market.first, market.last)
    minutes_, daily = world(rows)
    sessions, seen, early = market.sessions(), [], daily.close.to_numpy()[:5]

    def get_signals(candles: Any) -> Any:
        seen.append(candles.close.tolist())
        wanted = wished(candles)
        side = np.where(np.isin(candles.close, early), 0, wanted["position"])  # asked on minutes alone
        return {"position": side, "price_take_profit": np.nan, "minute_estimated_time": np.nan,
                "price_stop_loss": candles.close * np.where(side > 0, 0.2, 5.0),
                "exit_long": wanted["exit_long"] | (side < 0),
                "exit_short": wanted["exit_short"] | (side > 0)}  # fmt: skip

    strategy = bknb.add_strategy("rows", interval="1d", get_signals=get_signals, lookback=LOOKBACK)
    frame = (int(rows[4][1]), int(rows[-1][2]) + 2 * DAY)
    fills = []
    for source in (minutes_, daily):
        exchange = bknb.exchanges.from_frame(source, sessions=sessions, symbol="X")
        trades = bknb.backtest("X", strategy=strategy, exchange=exchange, frame=frame, settings=FREE).trades
        ended = trades[trades.close_reason == "strategy"]
        fills.append(ended[["position", "price_open", "price_close"]].to_dict("records"))
        seen.append(["over"])
    on_minutes, on_days = seen[0], seen[seen.index(["over"]) + 1]
    assert on_minutes[-len(rows) + 8 :] == on_days[-len(rows) + 8 :]
    assert fills[0] == fills[1]
    assert len(fills[0]) >= 1


@pytest.mark.slow
def test_what_is_asked_live_is_what_a_backtest_looked_up() -> None:
    """Also what rows know of a series: nothing that came between the close of their session and the next."""
    whole = minutes(HOURS, "2024-10-28", "2024-12-05")
    since, until = ms("2024-11-05 09:20", ZONE), ms("2024-12-03 10:05", ZONE)
    days = HOURS.session_days(ms("2024-10-20"), until)
    known_at = pd.to_datetime([day.close + 5 * MINUTE for day in days], unit="ms", utc=True)
    bknb.add_series("moods", {"published_at": known_at, "mood": [1.0 if day.day.day % 3 else -1.0 for day in days]})

    def get_signals(candles: Any) -> Any:
        rows = wished(candles)
        moody = np.array(bknb.get_series("moods", candles).mood) < 0
        return rows | {"position": np.where(moody, 0, rows["position"]), "exit_long": rows["exit_long"] | moody}

    strategy = bknb.add_strategy("rows", interval="1d", get_signals=get_signals, lookback=LOOKBACK)
    clock = OpenHoursClock(since, HOURS)
    exchange = bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS)
    run: dict[str, Any] = {"strategy": strategy, "settings": FREE}
    task = bknb.Live.background("X", exchange=exchange, clock=clock, until=until, store=bknb.stores.memory(), **run)
    live = task.result(timeout=60)
    tested = bknb.backtest("X", exchange=whole, frame=(since, until), **run)
    assert [each for each in live.errors if each.kind != "late"] == tested.errors == []
    held = [each["close_reason"] == "frame_end" for each in ends_told(tested)[0]]  # a live run watches it on
    assert ends_told(live) == (
        ends_told(tested)[0][: held.index(True)] if any(held) else ends_told(tested)[0],
        ends_told(tested)[1],
    )
    assert len(live.trades) >= 3


# --- in sweeps ---

SHORT = {
    "plain": HOURS,
    "a break": Sessions.weekly(ZONE, {"mon-fri": "09:30-09:45, 11:00-11:15"}, closed=["2024-11-28"],
                               short={"2024-11-29": "09:40"}),
    "over midnight": Sessions.weekly("UTC", {"sun-thu": "23:30-24:00", "mon-fri": "00:00-00:20"}),
}  # fmt: skip


def orders_by_day(candles: Any, seed: int = 0, busy: float = 0.3) -> dict[str, Any]:
    """The same with entries that compete, entry ladders, levels in percent and sizes."""
    return by_day(candles, seed, busy, ordered)


def by_day(candles: Any, seed: int = 0, busy: float = 0.3, rows_of: Any = declared) -> dict[str, Any]:
    """Rows of every kind, whose positions may last for days."""
    rows = rows_of(candles, seed, busy)
    dice = chance(candles.timestamp // MINUTE, seed, 50)
    rows["minute_estimated_time"] = rows["minute_estimated_time"] * np.where(dice < 0.5, 400, 1)
    rows["exit_long"], rows["exit_short"] = (dice > 0.3) & (dice < 0.5), (dice > 0.4) & (dice < 0.6)
    return rows


def plan_by_day(seed: int, model: str, rows: Any = by_day, **params: Any) -> Any:
    """A world of short sessions, a strategy by the day and a frame, all drawn from the seed."""
    random = np.random.default_rng([13, seed])
    sessions = SHORT[str(random.choice([*SHORT]))]
    spans = sessions.open_ranges(ms("2024-11-01"), ms("2024-12-20"))
    every = int(random.choice([1, 1, 1, 5])) if model != "vwap" else 1
    times = np.concatenate([np.arange(a - a % (every * MINUTE), b, every * MINUTE) for a, b in spans])
    tick = [None, 0.01, 0.25][int(random.integers(3))]
    table = pd.DataFrame(nervous(random, len(times), tick)[: len(times)],
                         columns=["timestamp", "open", "high", "low", "close", "volume"])  # fmt: skip
    table["timestamp"] = times
    gaps = bool(random.random() < 0.5)
    if gaps and len(table) > 300:
        hole, width = int(random.integers(len(table))), int(random.integers(3, 90))
        kept = random.random(len(table)) > 0.03
        kept[hole : hole + width] = False
        table = table[kept]
    if random.random() < 0.3:
        table = table[: -int(random.integers(1, len(table) // 3))]
    days = sessions.session_days(ms("2024-11-08"), ms("2024-12-18"))
    strategy = make_strategy("dice", interval="1d", get_signals=rows, lookback=int(random.integers(1, 9)),
                             params={"seed": seed, "busy": float(random.choice([0.3, 0.9]))} | params)  # fmt: skip
    start = days[0].open + int(random.integers(-40, 40)) * MINUTE
    return plan_backtest(
        "X",
        strategy=strategy,
        exchange=bknb.exchanges.from_frame(table, sessions=sessions, symbol="X"),
        frame=(start, days[-1].open + int(random.integers(-5, 40)) * MINUTE),
        execution=model,
        settings={
            "schedule_await_minutes": int(random.choice([3, 120, 4000])),
            "percent_fee": float(random.choice([0.0, 0.1])),
            "price_tick": tick,
            **(LIMITS if random.random() < 0.3 else {}),
        },
        allow_gaps=gaps,
    )


MODELS = ("pessimistic", "touch", "vwap")


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=9)
@given(seed=st.integers(0, 2**32 - 1), rows=st.sampled_from([by_day, orders_by_day]))
@example(seed=3, rows=by_day)
def test_the_kernel_by_the_day_is_the_engine(model: str, seed: int, rows: Any) -> None:
    plan = plan_by_day(seed, model, rows)
    assert_same(by_events(plan), *by_kernel(plan))


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_kernel_by_the_day_equals_its_specification(seed: int) -> None:
    plan = plan_by_day(seed, "pessimistic")
    compiled, plain = by_kernel(plan), by_kernel(plan, kernel.simulate_plain)
    np.testing.assert_array_equal(compiled[0], plain[0])
    assert compiled[1] == plain[1]


@pytest.mark.slow
def test_the_worlds_by_the_day_hold_trades_of_every_kind() -> None:
    seen: set[str] = set()
    for seed in range(12):
        ends, _ = by_kernel(plan_by_day(seed, "pessimistic"))
        seen |= {kernel.REASONS[int(code)] for code in ends[:, kernel.REASON]}
    assert seen >= {"take_profit", "stop_loss", "time_expired", "strategy", "timeout"}


# --- the look-ahead check ---


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [1, 0])
def test_the_look_ahead_check_goes_by_the_day(ahead: int) -> None:
    def get_signals(candles: Any) -> Any:
        later = np.concatenate([candles.close[ahead:], np.full(ahead, np.nan)])
        return {"position": np.where(later > candles.open, 1, 0), "price_take_profit": candles.close * 1.5,
                "price_stop_loss": candles.close * 0.5, "minute_estimated_time": 60}  # fmt: skip

    whole = minutes(HOURS, "2024-09-01", "2024-12-05")
    strategy = bknb.add_strategy("checked", interval="1d", get_signals=get_signals, lookback=3)
    frame = ("2024-09-12", "2024-12-03")
    found = bknb.check_lookahead(strategy, symbol="X", exchange=whole, frame=frame)
    assert found.ok is (ahead == 0)
    if ahead:
        finding = found.findings[0]
        assert finding.what == "the row reads 1 candle ahead"
        assert {shown([finding.when or 0])[0][3:]} <= {"10:00", "09:40"}  # the close of a session
