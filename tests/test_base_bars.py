"""Runs over bars longer than minutes: against a plain loop, what is refused, and what reports and cards say."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from bar_account import account, candles_before
from bar_loop import Bar, Row, bar_loop
from quick import some_quick

import bknb
from bknb.domain.interval import INTERVAL_MS
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.exchanges import from_frame
from bknb.exchanges.candle_bundle import BundleSource
from bknb.market.resample import resample
from bknb.market.sessions import Sessions
from bknb.reports import candles_thinned_for_zoom
from bknb.runs.result import Result
from bknb.runs.run_record import record_of

DAY = 86_400_000
MONDAY = 1_704_067_200_000  # 2024-01-01
INTERVALS = {"1d": ("1d", "3d"), "1h": ("1h", "2h", "4h"), "5m": ("5m", "15m")}
WEEK = Sessions.weekly("UTC", {"mon-fri": "09:00-17:00"})
FREE = {
    "percent_fee": 0.0,
    "percent_slippage": 0.0,
    "min_take_profit_distance_percent": 0.0,
    "min_stop_loss_distance_percent": 0.0,
}
FAR = {"max_stop_loss_distance_percent": None}


def walk(
    seed: int, base: str, count: int, *, holes: float = 0.0, sessions: Sessions | None = None, weekends: bool = False
) -> list[Bar]:
    """Bars of a random walk on a coarse grid, so that levels are often met exactly; some have no volume."""
    rng, step = np.random.default_rng(seed), INTERVAL_MS[base]
    times = MONDAY + np.arange(count, dtype=np.int64) * step
    if base == "1d" and not weekends:
        times = times[(times // DAY + 3) % 7 < 5]
    if sessions is not None:
        times = times[sessions.open_minutes(times, step) > 0]
    kept = rng.random(len(times)) >= holes
    kept[:4] = kept[-6:] = True
    bars, close = [], 100.0
    for t in times[kept].tolist():
        opened = close + float(rng.integers(-1, 2)) * (rng.random() < 0.3)
        path = opened + np.cumsum(rng.integers(-1, 2, size=6))
        close = float(max(path[-1], 20.0))
        inner = [opened, close, *np.maximum(path, 20.0).tolist()]
        quiet = rng.random() < 0.06 and len(bars) > 12 and t < times[-8]
        bars.append(Bar(t, opened, max(inner), min(inner), close, 0.0 if quiet else 5.0))
    return bars


def frame_of(bars: list[Bar]) -> pd.DataFrame:
    """The bars as people have them."""
    table = pd.DataFrame(bars)
    return table.assign(date=pd.to_datetime(table["t"], unit="ms", utc=True)).drop(columns="t").set_index("date")


def answer(seed: int, when: int, price: float, base: int) -> dict[str, Any] | None:
    """What the strategy of a world says at a moment: any kind of order, either side, for no whole number of bars."""
    rng = random.Random(seed * 1_000_003 + when // 60_000)  # noqa: S311 -- the same in every run
    if rng.random() < 0.3:
        return None
    kind, sign = rng.choice(("market", "limit", "stop")), rng.choice((1, -1))
    level = price if kind == "market" else price + rng.randint(-4, 4)
    below, above = min(level, price) - rng.randint(1, 6), max(level, price) + rng.randint(1, 6)
    stop, target = (below, above) if sign > 0 else (above, below)
    minutes = rng.randint(1, 12 * base // 60_000)
    return {"kind": kind, "sign": sign, "level": level, "stop": stop, "target": target, "minutes": minutes}


def signal_of(given: Mapping[str, Any] | None) -> bknb.Signal | None:
    """The same as a signal."""
    if given is None:
        return None
    return bknb.Signal(
        position="long" if given["sign"] > 0 else "short",
        price_open=None if given["kind"] == "market" else given["level"],
        entry="stop" if given["kind"] == "stop" else "limit",
        price_take_profit=given["target"],
        price_stop_loss=given["stop"],
        minute_estimated_time=given["minutes"],
    )


def rows_of(result: Any) -> list[Row]:
    """Trades and cancelled entries of a result as the loop gives them."""
    found: list[tuple[int, Row]] = []
    records = result.run_record.records
    for end in records.ends:
        if end.action == "closed":
            signal = end.signal
            entered = (signal.scheduled_at, signal.pending_at, signal.price_open)
            found.append((end.closed_at, (*entered, end.closed_at, end.price_close, end.close_reason, end.ambiguous)))
        else:
            found.append((end.closed_at, (end.signal.scheduled_at, end.closed_at, end.reason)))
    assert not records.rejected, records.rejected[0]
    assert not records.failures, records.failures
    return [row for _, row in found]


class World(NamedTuple):
    """Bars with the options of a run over them."""

    bars: list[Bar]
    base: str
    interval: str
    start: int
    end: int
    sessions: Sessions | None = None
    gaps: bool = False
    by_day: bool = False  # days without a bar are no days of the account


def world(seed: int, base: str, kind: str) -> World:
    """A random world: every bar, holes, a market with sessions, or data that ends within the frame."""
    step, sessions = INTERVAL_MS[base], WEEK if kind == "sessions" else None
    count = 450 if sessions and base != "1d" else 180
    holes, weekends = 0.08 if kind == "holes" else 0.0, kind == "holes"
    bars = walk(seed, base, count, holes=holes, sessions=sessions, weekends=weekends)
    start, end = bars[40].t + step, bars[-1].t + 40 * step if kind == "data end" else bars[-20].t
    interval = INTERVALS[base][seed % len(INTERVALS[base])]
    by_day = sessions is not None or (base == "1d" and not weekends)
    return World(bars, base, interval, start - start % step, end - end % step, sessions, kind == "holes", by_day)


COSTS = {"percent_slippage": 0.03, "percent_fee": 0.04}


def compared(seed: int, model: str, given: World) -> int:
    """Run a world in both, and return how many rows were equal."""
    bars, step, start, end, sessions = given.bars, INTERVAL_MS[given.base], given.start, given.end, given.sessions
    expected, trades = bar_loop(
        bars,
        step,
        model=model,
        ask=lambda when, price: answer(seed, when, price, step),
        start=start,
        end=end,
        interval=INTERVAL_MS[given.interval],
        may_ask=lambda when: sessions is None or given.base == "1d" or sessions.may_ask(when, 1),
    )
    longer = INTERVALS[given.base][1:]

    @cache
    def is_open(t: int) -> bool:
        if sessions is not None:
            return bool(sessions.open_minutes(np.array([t]), step)[0])
        return given.base != "1d" or not given.by_day or (t // DAY + 3) % 7 < 5

    def get_signal(ctx: Any) -> bknb.Signal | None:
        for interval in longer if ctx.when_ms // step % 5 == 0 else ():
            seen = ctx.candles(interval, 2)
            made = candles_before(bars, step, INTERVAL_MS[interval], ctx.when_ms, 2, gaps=given.gaps, opens=is_open)
            assert [tuple(candle.values()) for candle in seen] == [tuple(bar) for bar in made]
        return signal_of(answer(seed, ctx.when_ms, ctx.price, step))

    source = from_frame(frame_of(bars), sessions=sessions)
    assert source.base_interval == given.base
    settings = {**FREE, **COSTS}
    plan = plan_backtest("X", get_signal, source, (start, end), given.interval, model, settings, allow_gaps=given.gaps)
    driver = BacktestRun(plan)  # without a card: its code would be read together with all bars
    asyncio.run(driver.through())
    result = Result(record_of(driver))
    assert rows_of(result) == expected
    figures = account(
        bars,
        trades,
        step,
        start=start,
        end=end,
        slippage=COSTS["percent_slippage"],
        fee=COSTS["percent_fee"],
        sessions=given.by_day,
    )
    closes = [bar.t + step for bar in bars if start <= bar.t and bar.t + step <= end]
    marks = result.equity.set_axis(result.equity.index.as_unit("ms").asi8)
    assert marks.loc[closes[:-1]].tolist() == pytest.approx(figures.equity[:-1], rel=1e-9)
    assert result.trades["pnl_percentage"].tolist() == pytest.approx(figures.net, rel=1e-9, abs=1e-12)
    for name in ("total_return", "max_drawdown", "exposure", "fees"):
        assert result.account[name] == pytest.approx(getattr(figures, name), rel=1e-9, abs=1e-9), name
    return len(expected)


KINDS = ["whole", "holes", "sessions", "data end"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["pessimistic", "touch"])
@pytest.mark.parametrize("base", some_quick(["1d", "1h", "5m"], ["1h"]))
def test_every_world_ends_as_in_the_plain_loop(base: str, model: str, kind: str) -> None:
    assert sum(compared(seed, model, world(seed, base, kind)) for seed in range(2)) > 10


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["pessimistic", "touch"])
@pytest.mark.parametrize("base", ["1d", "1h", "5m"])
def test_many_worlds_end_as_in_the_plain_loop(base: str, model: str, kind: str) -> None:
    assert sum(compared(seed, model, world(seed, base, kind)) for seed in range(100, 142)) > 400


@pytest.mark.parametrize(("name", "gaps"), [("daily_business_days.csv", False), ("hourly_one_hour_missing.csv", True)])
@pytest.mark.parametrize("model", ["pessimistic", "touch"])
def test_bars_of_a_file_end_as_in_the_plain_loop(name: str, gaps: bool, model: str) -> None:  # noqa: FBT001
    table = pd.read_csv(Path(__file__).parent / "data" / "files" / name)
    times = pd.to_datetime(table.iloc[:, 0], utc=True).dt.as_unit("ms").astype("int64")
    bars = [Bar(int(t), *map(float, row)) for t, row in zip(times, table.iloc[:, 1:6].to_numpy(), strict=True)]
    base = "1h" if gaps else "1d"
    given = World(bars, base, base, bars[12].t, bars[-6].t, gaps=gaps, by_day=not gaps)
    assert sum(compared(seed, model, given) for seed in range(2)) > 8


# --- what bars are ------------------------------------------------------------------------------------------------


def days(count: int = 120, zone: str = "UTC", hour: int = 0, freq: str = "B", **dropped: Any) -> pd.DataFrame:
    """Daily bars of business days."""
    index = pd.date_range("2024-01-01", periods=count, freq=freq, tz=zone) + pd.Timedelta(hours=hour)
    price = 100.0 + np.arange(count) % 7
    table = pd.DataFrame(
        {"Open": price, "High": price + 2, "Low": price - 1, "Close": price, "Volume": 1e6}, index=index
    )
    return table.drop(index[list(dropped.get("at", ()))])


def dates(source: Any) -> list[str]:
    """The open times of the first bars of a source."""
    candles = source._of("X")
    assert not (candles.timestamp % DAY).any()
    return [str(np.datetime64(int(t), "ms"))[:10] for t in candles.timestamp[:3]]


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("UTC", 0), ("America/New_York", 0), ("Europe/Berlin", 0), ("Asia/Tokyo", 0), ("Pacific/Auckland", 0),
     ("America/New_York", 4)],
)  # fmt: skip
def test_daily_bars_bear_the_date_of_their_midnight(zone: str, hour: int) -> None:
    source = from_frame(days(200, zone, hour))
    assert source.base_interval == "1d"
    assert dates(source) == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert source.spacing("X").equal + source.spacing("X").longer == 199


def test_days_stamped_as_a_session_may_be_are_told() -> None:
    """Taken for the next date they are never known too early, and of one symbol it changes no fill."""
    source = from_frame(days(200, "America/New_York", 16))
    assert dates(source) == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert "stamped 21:00 UTC are taken for those of the next UTC date" in source.warnings[0]
    assert from_frame(days(200, "Europe/Berlin")).warnings == ()


def test_daily_bars_at_any_hour_are_refused() -> None:
    given = days(40)
    given.index = given.index + pd.to_timedelta(np.arange(40) // 20 * 3, unit="h")
    with pytest.raises(bknb.DataError, match="times of day of daily bars must be alike, got candles spaced 1d"):
        from_frame(given)


def test_weekends_and_holidays_are_no_holes_and_a_long_absence_is_one() -> None:
    source = from_frame(days(at=(30, 60, 61)))
    assert source.warnings == (
        (
            "frame: 3 working days without a bar are taken for holidays (2024-02-12, 2024-03-25, 2024-03-26); "
            "with sessions= those that are none would be holes"
        ),
    )
    quiet = bknb.backtest("X", strategy=lambda: None, exchange=source, frame=("2024-01-08", "2024-05-01"))
    assert quiet.account["days_a_year"] == 252
    absent = from_frame(days(at=range(50, 59)))
    with pytest.raises(bknb.GapError, match="9 candles are missing: 2024-03-11"):
        bknb.backtest("X", strategy=lambda: None, exchange=absent, frame=("2024-01-08", "2024-05-01"))


def test_a_day_that_is_missing_where_every_day_trades_is_a_hole() -> None:
    with pytest.raises(bknb.GapError, match="1 candles are missing: 2024-01-31"):
        bknb.backtest(
            "X",
            strategy=lambda: None,
            exchange=from_frame(days(freq="D", at=(30,))),
            frame=("2024-01-08", "2024-03-01"),
        )


def test_declared_sessions_say_which_days_are_missing() -> None:
    us_closed = (0, 10, 35)  # New Year's Day, Martin Luther King's, Presidents'
    source = from_frame(days(60, at=us_closed), sessions="us-equities")
    assert source.warnings == ()
    assert (
        len(bknb.backtest("X", strategy=lambda: None, exchange=source, frame=("2024-01-08", "2024-03-01")).candles)
        == 38
    )
    with pytest.raises(bknb.GapError, match="1 candles are missing: 2024-01-30"):
        bknb.backtest(
            "X",
            strategy=lambda: None,
            exchange=from_frame(days(60, at=(*us_closed, 21)), sessions="us-equities"),
            frame=("2024-01-08", "2024-03-01"),
        )


def test_symbols_with_bars_of_different_lengths_are_refused() -> None:
    hours = days(80)
    hours.index = pd.date_range("2024-01-01", periods=80, freq="h", tz="UTC")
    with pytest.raises(bknb.UsageError, match="frame, A has 1d bars, and frame, B has 1h bars\nmake a source of each"):
        from_frame(pd.concat([days(80).assign(symbol="A"), hours.assign(symbol="B")]))


# --- runs ----------------------------------------------------------------------------------------------------------


def hold(price: float) -> bknb.Signal:
    """Always wants to be in."""
    return bknb.Signal(position="long", price_take_profit=price * 1.03, price_stop_loss=price * 0.985)


SPAN = ("2024-01-10", "2024-05-01")


def test_shares_by_the_day_run_in_the_first_cell() -> None:
    result = bknb.backtest("X", strategy=hold, exchange=from_frame(days(zone="America/New_York")), frame=SPAN)
    assert len(result.trades) > 5
    assert (result.interval, result.card.base, result.card.frame_interval) == ("1d", "1d", "1d")
    assert "ambiguous exits watched on 1d bars, none of them ambiguous" in str(result)
    assert "**Base bars:** exits watched on 1d bars" in result.report()
    assert f"{len(result.candles)} 1d bars" in result.report()
    step = np.diff(result.equity.index.as_unit("ms").asi8)
    assert step.min() == DAY
    assert bknb.verify(result, strategy=hold, exchange=from_frame(days(zone="America/New_York"))).differences == ()


def test_reports_of_minutes_say_nothing_of_bars() -> None:
    result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    assert "exits watched" not in str(result)
    assert result.card.base == "1m"


def test_price_is_the_last_close_and_higher_intervals_are_made_of_the_bars() -> None:
    seen: list[tuple[float, float, list[float], int]] = []

    def get_signal(ctx: Any, price: float) -> None:
        days_, three = ctx.candles("1d", 4), ctx.candles("3d", 2)
        seen.append((price, float(days_.close[-1]), days_.volume.tolist(), int(three.timestamp[-1] // DAY % 3)))

    result = bknb.backtest(
        "X", strategy=get_signal, exchange=from_frame(days(freq="D")), frame=("2024-01-20", "2024-03-01")
    )
    assert len(seen) == 41
    assert not result.errors
    assert all(price == close for price, close, _, _ in seen)


def test_a_deadline_within_a_day_ends_at_the_next_bar_and_frees_its_question() -> None:
    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(
            position="long", price_take_profit=price * 1.9, price_stop_loss=price * 0.5, minute_estimated_time=100
        )

    result = bknb.backtest(
        "X", strategy=get_signal, exchange=from_frame(days(freq="D")), frame=("2024-01-20", "2024-02-01"),
        settings={"max_stop_loss_distance_percent": None},
    )  # fmt: skip
    trades = result.trades
    assert set(trades["close_reason"][:-1]) == {"time_expired"}
    assert (trades["minutes"][:-1] == 1440).all()
    assert (trades["pending_at"].iloc[1:].to_numpy() == trades["closed_at"].iloc[:-1].to_numpy()).all()


def run(**options: Any) -> Any:
    """A run over daily bars."""
    given: dict[str, Any] = {"strategy": hold, "exchange": from_frame(days()), "frame": SPAN}
    return bknb.backtest("X", **{**given, **options})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"interval": "1h"}, "interval 1h: 1h candles cannot be made of the 1d bars of 'frame'\nask for 1d 3d"),
        ({"execution": "vwap"}, "execution 'vwap' .* needs 1m candles, and exchange 'frame' has 1d bars"),
        ({"frame": ("2024-01-10 01:00", "2024-01-10 05:00")}, "no bar of 1d ends"),
    ],
)
def test_what_daily_bars_cannot_do_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(bknb.UsageError, match=told):
        run(**options)


def test_candles_finer_than_the_bars_are_refused_to_a_strategy() -> None:
    result = run(strategy=lambda ctx: ctx.candles("1h", 3))
    assert "1h candles cannot be made of the 1d bars of 'frame'" in result.errors[0].message


def test_sessions_of_daily_bars_are_given_where_they_are_read() -> None:
    with pytest.raises(bknb.UsageError, match="give the sessions where the bars are read"):
        bknb.exchanges.in_sessions(from_frame(days()), "us-equities")


@pytest.mark.parametrize("base", ["1d", "1h"])
def test_jumping_over_bars_gives_what_looking_at_each_gives_with_managed_positions(base: str) -> None:
    step = INTERVAL_MS[base]
    bars = walk(5, base, 400, holes=0.05)

    def get_signal(ctx: Any, price: float) -> bknb.Signal | None:
        return bknb.Signal(
            position="long",
            price_take_profit=[(price + 4, 0.5), (price + 9, 0.5)],
            price_stop_loss=price - 5,
            trailing=bknb.Trailing(distance=6.0),
            minute_estimated_time=30 * step // 60_000 + 7,
        )

    def manage(ctx: Any, position: Any) -> Any:
        if position.bars == 3:
            return bknb.Add(share=0.5, price_open=position.price - 1)
        return bknb.Reduce(share=0.2) if position.bars == 7 else None

    strategy = bknb.add_strategy("managed", interval=base, get_signal=get_signal, manage=manage)
    source = from_frame(frame_of(bars))
    plan = plan_backtest("X", strategy, source, (bars[9].t, bars[-20].t), settings=FREE, allow_gaps=True)
    runs = [BacktestRun(plan, every_minute=each) for each in (False, True)]
    for each in runs:
        asyncio.run(each.through())
    assert runs[0].records.events == runs[1].records.events
    assert {"Added", "Reduced"} <= {type(event).__name__ for event in runs[0].records.positions}
    assert not runs[0].records.failures


def test_rows_of_a_vectorised_strategy_are_acted_on_as_its_questions_are() -> None:
    source = from_frame(frame_of(walk(9, "1d", 400)))

    def get_signals(candles: Any) -> pd.DataFrame:
        close = candles.close
        rises = np.r_[False, close[1:] > close[:-1]]
        return pd.DataFrame(
            {
                "position": rises.astype(int),
                "price_take_profit": close + 4,
                "price_stop_loss": close - 4,
                "minute_estimated_time": 7_000,
            }
        )

    def get_signal(ctx: Any, price: float) -> bknb.Signal | None:
        close = ctx.candles("1d", 2).close
        if close[1] <= close[0]:
            return None
        return bknb.Signal(
            position="long", price_take_profit=price + 4, price_stop_loss=price - 4, minute_estimated_time=7_000
        )

    runs = [run(strategy=each, exchange=source, frame=SPAN, settings=FREE) for each in (get_signals, get_signal)]
    assert rows_of(runs[0]) == rows_of(runs[1])
    assert len(runs[0].trades) > 5


@pytest.mark.parametrize(("base", "minutes"), [("1d", 20 * 1440), ("1h", 20 * 60), ("5m", 120)])
def test_an_entry_rests_twenty_bars_and_at_least_as_long_as_the_setting_says(base: str, minutes: int) -> None:
    bars = [Bar(MONDAY + i * INTERVAL_MS[base], 100.0, 101.0, 99.0, 100.0, 1.0) for i in range(90)]

    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_open=90.0, price_take_profit=120.0, price_stop_loss=80.0)

    result = run(strategy=get_signal, exchange=from_frame(frame_of(bars)), frame=(bars[9].t, bars[-9].t))
    waited = result.cancelled["closed_at"] - result.cancelled["scheduled_at"]
    assert result.cancelled["reason"].iloc[0] == "timeout"
    assert waited.iloc[0] == pd.Timedelta(minutes=minutes)


def test_twenty_bars_are_bars_whatever_the_weekends_and_closed_hours() -> None:
    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_open=50.0, price_take_profit=160.0, price_stop_loss=40.0)

    week = walk(1, "1h", 900, sessions=WEEK)
    for source, step in ((from_frame(days(200)), DAY), (from_frame(frame_of(week), sessions=WEEK), 3_600_000)):
        times = source._of("X").timestamp
        options = {"exchange": source, "frame": (int(times[10]), int(times[80])), "settings": FREE}
        result = run(strategy=get_signal, **options)
        first = result.cancelled.iloc[0]
        opened = [t for t in times.tolist() if first["scheduled_at"].value <= t * 10**6 < first["closed_at"].value]
        assert (first["reason"], len(opened)) == ("timeout", 20)
        assert opened[-1] + step == first["closed_at"].value // 10**6


def test_the_bars_of_a_position_are_candles_and_not_days_of_the_calendar() -> None:
    seen: list[tuple[str, int]] = []

    def manage(when: Any, position: Any) -> bknb.Close | None:
        seen.append((f"{when:%a}", position.bars))
        return bknb.Close() if position.bars == 5 else None

    strategy = bknb.add_strategy(
        "bars",
        interval="1d",
        get_signal=lambda when: bknb.Signal(side="long") if when.day == 1 else None,
        manage=manage,
    )
    result = run(strategy=strategy, exchange=from_frame(days(60)), frame=("2024-02-01", "2024-02-20"), settings=FREE)
    assert seen == [("Fri", 1), ("Sat", 2), ("Tue", 3), ("Wed", 4), ("Thu", 5)]
    assert result.trades["closed_at"].tolist() == [pd.Timestamp("2024-02-08", tz="UTC")]


def test_time_in_the_market_counts_the_bar_in_which_a_level_was_reached() -> None:
    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=price * 1.008, price_stop_loss=price * 0.95)

    flat = days().assign(Open=100.0, High=102.0, Low=99.0, Close=100.0)
    every_bar = run(strategy=get_signal, exchange=from_frame(flat), settings=FREE)
    assert (every_bar.trades["minutes"] == 0).all()
    trades, bars = len(every_bar.trades), every_bar.candles
    frame = int(bars.timestamp[-1]) - int(bars.timestamp[0])
    assert every_bar.account["exposure"] == pytest.approx(100 * trades * DAY / frame, abs=1.5)
    assert every_bar.account["exposure"] > 65  # weekends are time of the frame


def test_time_in_the_market_reaches_the_end_of_the_data() -> None:
    flat = days(60, freq="D").assign(Open=100.0, High=102.0, Low=99.0, Close=100.0)
    result = run(exchange=from_frame(flat), frame=("2024-02-20", "2024-03-20"), settings=FREE)
    assert result.trades["close_reason"].tolist() == ["data_end"]
    assert result.account["exposure"] == pytest.approx(100 * 10 / 29)  # of 29 days the ten there are


def test_time_in_the_market_ends_at_the_open_that_a_position_left_at() -> None:
    def get_signal(ctx: Any, price: float) -> bknb.Signal | None:
        if ctx.when_ms // DAY % 10:
            return None
        return bknb.Signal(
            position="long", price_take_profit=price * 1.5, price_stop_loss=price * 0.5, minute_estimated_time=1440
        )

    result = run(strategy=get_signal, exchange=from_frame(days(freq="D")), settings={**FREE, **FAR})
    held = (result.trades["closed_at"] - result.trades["pending_at"]).sum() / pd.Timedelta(days=1)
    assert held == len(result.trades) > 5
    assert result.account["exposure"] == pytest.approx(100 * held / result.account["frame_days"])


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize(
    ("last", "options", "held"),
    [
        ((10, 12, 9, 11), {"price_take_profit": 10}, 3),  # opens at the target and is traded through later
        ((11, 12, 9, 11), {"price_take_profit": 10}, 2),  # opens beyond it
        ((10, 12, 9, 11), {"price_take_profit": [(10, 1.0)]}, 3),
        ((11, 12, 9, 11), {"price_take_profit": [(10, 1.0)]}, 2),
        ((-10, -9, -15, -12), {"price_stop_loss": -10}, 2),  # the open has reached the stop
        ((-9, -9, -15, -12), {"price_stop_loss": -10}, 3),
        ((5, 5, 5, 5), {"minute_estimated_time": 2 * 1440}, 2),
    ],
)
def test_time_in_the_market_goes_by_the_order_a_position_left_with(
    last: tuple[int, ...], options: dict[str, Any], held: int, side: Any
) -> None:
    """Prices are distances from 100 in favour of the position, which enters two bars before the last one."""
    sign = 1 if side == "long" else -1

    def at(given: Any) -> Any:
        return (
            [(100 + sign * price, share) for price, share in given] if isinstance(given, list) else 100 + sign * given
        )

    levels = {name: at(value) if name.startswith("price") else value for name, value in options.items()}
    bars = days(60, freq="D").assign(Open=100.0, High=100.0, Low=100.0, Close=100.0)
    first, best, worst, close = (100.0 + sign * price for price in last)
    bars.loc[bars.index[42], ["Open", "High", "Low", "Close"]] = [first, max(best, worst), min(best, worst), close]
    asked = bars.index[40].value // 10**6

    def get_signal(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(position=side, **levels) if ctx.when_ms == asked else None

    result = run(strategy=get_signal, exchange=from_frame(bars), settings={**FREE, **FAR})
    assert len(result.trades) == 1
    assert result.account["exposure"] == pytest.approx(100 * held / result.account["frame_days"])


def test_a_frame_that_begins_within_a_bar_begins_with_its_end_and_says_so() -> None:
    result = run(strategy=lambda: None, frame=("2024-01-10 10:00", "2024-05-01"))
    told = "the frame begins at 2024-01-11 00:00 UTC, where the first 1d bar in it ends"
    assert (result.warnings, result.run_record.start) == ([told], 1_704_931_200_000)
    assert run(strategy=lambda: None).warnings == []


def test_a_chart_shows_each_bar_whichever_day_it_begins_with() -> None:
    candles = run(strategy=lambda: None, frame=("2024-01-12", "2024-05-01")).candles
    found = candles_thinned_for_zoom.bars(candles, points=1000)
    assert (len(found), found.step_ms) == (len(candles), DAY)


def test_a_function_that_lists_longer_intervals_alone_has_them_as_its_base() -> None:
    series = from_frame(days(freq="D"))._of("X")
    asked: list[str] = []

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        asked.append(interval)
        at = int(np.searchsorted(series.timestamp, since))
        return series[at : at + limit]

    bknb.add_exchange("own days", get_candles=get_candles, intervals=["3d", "1d"])
    result = run(exchange="own days", settings=FREE)
    assert (set(asked), result.card.base, result.run_record.plan.base) == ({"1d"}, "1d", "1d")
    assert rows_of(result) == rows_of(run(exchange=from_frame(days(freq="D")), settings=FREE))


def test_a_function_within_trading_hours_has_the_intervals_that_are_said_of_it() -> None:
    given = world(4, "1h", "sessions")
    series = from_frame(frame_of(given.bars))._of("X")
    asked: set[str] = set()

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        asked.add(interval)
        at = int(np.searchsorted(series.timestamp, since))
        return series[at : at + limit]

    def get_signal(ctx: Any) -> Any:
        return signal_of(answer(4, ctx.when_ms, ctx.price, 3_600_000))

    options: dict[str, Any] = {"strategy": get_signal, "frame": (given.start, given.end), "interval": given.interval}
    expected = bknb.backtest("X", exchange=from_frame(frame_of(given.bars), sessions=given.sessions), **options)
    within = bknb.exchanges.in_sessions(get_candles, given.sessions)
    bknb.add_exchange("within", get_candles=within, intervals=["1h"])
    outer = bknb.add_exchange("bare", get_candles=get_candles, intervals=["1h"])
    for source in ("within", bknb.exchanges.in_sessions(outer.source, given.sessions)):
        asked.clear()
        found = bknb.backtest("X", exchange=source, **options)
        assert (asked, found.base) == ({"1h"}, "1h")
        assert rows_of(found) == rows_of(expected)
    assert len(expected.trades) > 3
    with pytest.raises(bknb.UsageError, match=r"got a registered exchange.*\n.*in_sessions\(exchange.source"):
        bknb.exchanges.in_sessions(outer, given.sessions)


def test_intervals_of_a_source_that_knows_its_own_are_refused() -> None:
    demo = bknb.exchanges.demo()
    bknb.add_exchange("said", get_candles=demo, intervals=demo.intervals)
    with pytest.raises(
        bknb.UsageError, match=r"intervals= is for functions, and 'said' is a ready-made source"
    ) as told:
        bknb.add_exchange("said", get_candles=demo, intervals=["1h"])
    assert "base= of a run chooses" in str(told.value)


def test_bars_that_are_stored_or_shared_keep_their_base(tmp_path: Any) -> None:
    source = from_frame(days())
    expected = rows_of(run(exchange=source))
    stored = bknb.exchanges.stored(source, folder=tmp_path)
    assert rows_of(run(exchange=stored)) == expected
    assert rows_of(run(exchange=bknb.exchanges.from_store(tmp_path), allow_gaps=True)) == expected
    shared = BundleSource("frame", {("X", "1d"): source._of("X")})
    assert rows_of(run(exchange=shared, allow_gaps=True)) == expected


def test_a_model_is_shown_candles_of_the_bars_there_are() -> None:
    wait = (
        '{"position": "wait", "note": "", "price_open": 0, "price_take_profit": 0, "price_stop_loss": 0, '
        '"minute_estimated_time": 0}'
    )
    model, asked = bknb.llm.recorded([wait] * 3), []

    async def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when)
        return await bknb.ask_model("Wait.", model=model, cache=None)

    result = run(strategy=get_signal, exchange=from_frame(days(200, freq="D")), frame=("2024-05-01", "2024-05-03"))
    assert (len(asked), result.errors) == (2, [])


@pytest.mark.parametrize("base", ["1d", "1h"])
def test_minutes_and_bars_made_of_them_have_the_same_questions_and_market_fills(base: str) -> None:
    step, begin = INTERVAL_MS[base], 1_704_067_200_000
    count = 20 * DAY // 60_000 if base == "1d" else 2 * DAY // 60_000
    minutes = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", begin, count))
    longer = resample(minutes, base)
    asked: dict[str, list[int]] = {}

    def moments(result_of: str) -> Any:
        def get_signal(ctx: Any, price: float) -> bknb.Signal:
            asked.setdefault(result_of, []).append(ctx.when_ms)
            side = "long" if ctx.candles(base, 1).close[-1] > ctx.candles(base, 1).open[-1] else "short"
            return bknb.Signal(position=side, minute_estimated_time=2 * step // 60_000)

        return get_signal

    frame = (begin + 2 * step, begin + count * 60_000 - 2 * step)
    runs = [
        run(strategy=moments(name), interval=base, exchange=from_frame(candles), frame=frame, settings=FREE)
        for name, candles in (("1m", minutes), (base, longer))
    ]
    assert [each.run_record.plan.base for each in runs] == ["1m", base]
    assert asked["1m"] == asked[base]
    assert rows_of(runs[0]) == rows_of(runs[1])
    assert len(runs[0].trades) > 7


def test_bars_tell_less_than_the_minutes_they_are_made_of() -> None:
    begin, count = 1_704_067_200_000, 3 * DAY // 60_000
    minutes = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", begin, count))

    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=price * 1.002, price_stop_loss=price * 0.998)

    frame = (begin + DAY // 4, begin + count * 60_000 - DAY // 4)
    found = [
        run(strategy=get_signal, interval="1h", exchange=from_frame(candles), frame=frame, settings=FREE)
        for candles in (minutes, resample(minutes, "1h"))
    ]
    shares = [float(each.trades["ambiguous"].mean()) for each in found]
    assert shares[0] < 0.05 < shares[1]
    assert f"exits watched on 1h bars, {100 * shares[1]:.0f} % of them ambiguous" in str(found[1])


@pytest.mark.slow
def test_fifty_tickers_of_one_frame_are_one_portfolio() -> None:
    index, names = pd.date_range("2023-01-02", periods=200, freq="B", name="Date"), [f"T{k:02d}" for k in range(50)]
    parts = {}
    for seed, name in enumerate(names):
        bars = pd.DataFrame(walk(seed, "1d", 280, weekends=True)[:200], index=index).drop(columns="t")
        bars = bars.rename(columns=str.title)
        parts[name] = bars.assign(**{"Adj Close": bars["Close"] * 0.9, "Volume": 1_000_000})
    parts["T07"].iloc[:60] = np.nan  # first traded later
    table = pd.concat(parts, axis=1, names=["Ticker", "Price"])
    source = from_frame(table.swaplevel(axis=1).sort_index(axis=1))
    assert source.symbols == tuple(names)

    def get_signal(ctx: Any) -> bknb.Signal | None:
        closes = ctx.candles("1d", 5).close
        return bknb.Signal(position="long", bars=3, price_stop_loss=ctx.price * 0.8) if closes[-1] < closes[0] else None

    strategy = bknb.add_strategy("dips", interval="1d", get_signal=get_signal)
    run_: dict[str, Any] = {"exchange": source, "frame": ("2023-02-01", "2023-09-01"), "settings": FREE}
    whole = bknb.portfolio(symbols=source.symbols, strategies=[strategy], **run_)
    assert len(whole.legs) == 50
    for name in ("T00", "T07", "T49"):
        alone = bknb.backtest(name, strategy=strategy, **run_)
        pd.testing.assert_frame_equal(whole.leg(name).trades, alone.trades)
        assert len(alone.trades) > 5


def test_stops_move_at_the_opens_of_bars() -> None:
    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_stop_loss=price - 4, trailing=bknb.Trailing(distance=3.0))

    result = run(strategy=get_signal, exchange=from_frame(frame_of(walk(3, "1d", 300))), settings=FREE)
    stops = result.stops
    assert len(stops) > len(result.trades)
    assert (stops["at"].dt.normalize() == stops["at"]).all()


def test_bars_that_were_released_are_read_again() -> None:
    source = from_frame(days(at=range(86, 89)))  # the last position is filled behind its frame
    result = run(exchange=source)
    again = result.run_record.rebuilder(exchange=result.run_record.plan.exchange)()
    assert again.measured is not None
    assert again.plan.base == "1d"
    assert again.minutes == result.run_record.minutes
    assert len(again.minutes) > 50


@pytest.mark.parametrize("freq", ["B", "D"])
def test_days_that_were_filled_in_with_the_day_before_are_told(freq: str) -> None:
    filled = days(60, freq=freq).resample("D").ffill()
    result = bknb.backtest("X", strategy=hold, exchange=from_frame(filled), frame=("2024-01-10", "2024-02-20"))
    told = [each for each in result.warnings if "repeat the one before in range and volume" in each]
    assert len(told) == (freq == "B")


def test_days_before_few_shorter_bars_are_told_with_gaps_allowed() -> None:
    mixed = pd.concat([days(40, freq="D"), days(30, freq="4h").shift(60, freq="D")])
    source = from_frame(mixed)
    result = bknb.backtest("X", strategy=hold, exchange=source, frame=("2024-01-10", "2024-03-03"), allow_gaps=True)
    assert any("lie 1d apart, and others 4h" in each for each in result.warnings)


def test_bars_too_few_to_be_measured_are_told_to_be_taken_for_minutes() -> None:
    result = bknb.backtest("X", strategy=hold, exchange=from_frame(days(2)), frame=("2024-01-02", "2024-01-03"))
    assert [each for each in result.warnings if "2 candles that lie 1d apart are too few" in each]
