"""Runs over weekly bars: against a plain loop, which rows are weeks, and what is refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bar_account import account
from bar_loop import Bar, bar_loop
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import first_quick
from test_bars_live import Filmed, ends, holding, lived, timed
from test_bars_live import compared as live_compared
from test_base_bars import COSTS, FREE, answer, frame_of, signal_of, walk
from test_base_bars import rows_of as outcomes_of
from test_sweep_row_lifetimes import compared as ends_equal
from test_sweep_row_lifetimes import rows_of

import bknb
from bknb.domain.signal_events import Closed, Opened
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.exchanges import from_frame
from bknb.kernels import simulate as kernel
from bknb.market.session_clock import SessionClock
from bknb.runs.result import Result
from bknb.runs.run_record import record_of
from bknb.testing.clocks import SimulatedClock

DAY = 86_400_000
WEEK = 7 * DAY
EARLIER_MONDAY = 1_704_067_200_000 - 300 * WEEK
EARLIER = 300 * WEEK  # before those of the other tests: all of them have closed


def weeks(seed: int, count: int, *, holes: float = 0.0, first: int = 0) -> list[Bar]:
    """Weekly bars of a random walk; they begin ``first`` days after a Monday."""
    return [bar._replace(t=bar.t + first * DAY - EARLIER) for bar in walk(seed, "1w", count, holes=holes)]


def source_of(bars: list[Bar], **options: Any) -> Any:
    return from_frame(frame_of(bars), stamp="open", **options)


def compared(seed: int, model: str, *, holes: float = 0.0, first: int = 0, ends: bool = False) -> int:
    """Run a world in the engine and in the loop, and return how many rows were equal."""
    bars = weeks(seed, 160, holes=holes, first=first)
    start, end = bars[40].t + WEEK, bars[-1].t + 9 * WEEK if ends else bars[-20].t
    expected, trades = bar_loop(
        bars,
        WEEK,
        model=model,
        ask=lambda when, price: answer(seed, when, price, WEEK),
        start=start,
        end=end,
        interval=WEEK,
        slot_of=lambda when: (when - bars[0].t) // WEEK,
    )

    def get_signal(ctx: Any) -> bknb.Signal | None:
        seen = [tuple(each.values()) for each in ctx.candles("1w", 3)]
        assert seen == [tuple(bar) for bar in bars if bar.t + WEEK <= ctx.when_ms][-3:]
        return signal_of(answer(seed, ctx.when_ms, ctx.price, WEEK))

    source = source_of(bars)
    assert source.base_interval == "1w"
    plan = plan_backtest("X", get_signal, source, (start, end), "1w", model, {**FREE, **COSTS}, allow_gaps=holes > 0)
    driver = BacktestRun(plan)  # without a card: its code would be read together with all bars
    asyncio.run(driver.through())
    result = Result(record_of(driver))
    assert outcomes_of(result) == expected
    costs = {"slippage": COSTS["percent_slippage"], "fee": COSTS["percent_fee"]}
    figures = account(bars, trades, WEEK, start=start, end=end, sessions=False, **costs)
    closes = [bar.t + WEEK for bar in bars if start <= bar.t and bar.t + WEEK <= end]
    marks = result.equity.set_axis(result.equity.index.as_unit("ms").asi8)
    assert marks.loc[closes[:-1]].tolist() == pytest.approx(figures.equity[:-1], rel=1e-9)
    assert result.trades["pnl_percentage"].tolist() == pytest.approx(figures.net, rel=1e-9, abs=1e-12)
    for name in ("total_return", "max_drawdown", "exposure", "fees"):
        assert result.account[name] == pytest.approx(getattr(figures, name), rel=1e-9, abs=1e-9), name
    return len(expected)


@pytest.mark.parametrize("model", ["pessimistic", "touch"])
@pytest.mark.parametrize("options", [{}, {"holes": 0.08}, {"first": 6}, {"ends": True}])
def test_every_world_of_weeks_ends_as_in_the_plain_loop(model: str, options: dict[str, Any]) -> None:
    assert sum(compared(seed, model, **options) for seed in range(2)) > 10


@pytest.mark.long
@pytest.mark.parametrize("model", ["pessimistic", "touch"])
@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("holes", [0.0, 0.08])
def test_many_worlds_of_weeks_end_as_in_the_plain_loop(model: str, first: int, holes: float) -> None:
    found = [compared(seed, model, first=first, holes=holes, ends=bool(seed % 3)) for seed in range(100, 118)]
    assert sum(found) > 300


# --- which rows are weeks ------------------------------------------------------------------------------------------


def table(index: Any) -> pd.DataFrame:
    """Rows at some times."""
    prices = {"Open": 1.0, "High": 2.0, "Low": 0.5, "Close": np.linspace(1, 1.5, len(index)), "Volume": 1.0}
    return pd.DataFrame(prices, index=pd.DatetimeIndex(index))


def every_week(first: str = "2020-01-06", *, zone: str | None = None, moved: Mapping[int, int] | None = None) -> Any:
    """Sixty moments a week apart by the clock of a zone; some of them moved by days."""
    index = pd.date_range(first, periods=60, freq="7D", tz=zone)
    return pd.DatetimeIndex([each + pd.Timedelta(days=(moved or {}).get(at, 0)) for at, each in enumerate(index)])


NEW_YORK, BERLIN, RUNNING = "America/New_York", "Europe/Berlin", "2021-02-26"
HOLIDAYS = {2: 1, 7: 1, 20: 1, 35: 1}
BEFORE = dict.fromkeys(HOLIDAYS, -1)


@pytest.mark.parametrize(
    ("index", "options", "first", "told"),
    [
        (every_week(), {}, "Mon 2020-01-06", []),
        (every_week(zone=NEW_YORK), {}, "Mon 2020-01-06", []),
        (every_week(zone="Europe/London"), {}, "Mon 2020-01-06", ["stamped 23:00 UTC are taken"]),
        (every_week("2020-01-05 17:00", zone=NEW_YORK), {}, "Mon 2020-01-06", ["stamped 22:00 UTC"]),
        (every_week("2020-01-05"), {"stamp": "open"}, "Sun 2020-01-05", []),
        (every_week("2020-01-12"), {"stamp": "close"}, "Mon 2020-01-06", ["up to the end of each Sunday"]),
        (every_week("2020-01-10"), {"stamp": "close"}, "Sat 2020-01-04", ["up to the end of each Friday"]),
        (every_week("2020-01-12 23:59:59"), {"stamp": "close"}, "Mon 2020-01-06", ["up to the end of each Sunday"]),
        (every_week("2020-01-10 16:00", zone=NEW_YORK), {"stamp": "close"}, "Sat 2020-01-04", ["each Friday"]),
        (every_week("2020-01-10", zone="Europe/London"), {"stamp": "close"}, "Sat 2020-01-04", ["each Friday"]),
        (every_week("2020-01-12", zone=BERLIN), {"stamp": "close"}, "Mon 2020-01-06", ["each Sunday"]),
        (every_week("2020-01-11", zone=BERLIN), {"stamp": "close"}, "Sun 2020-01-05", ["each Saturday"]),
        (every_week("2020-01-11", zone=BERLIN).tz_localize(None), {"stamp": "close", "tz": BERLIN}, "Sun 2020-01-05",
         ["each Saturday"]),
        (every_week("2020-01-11", zone=BERLIN).tz_convert("UTC"), {"stamp": "close"}, "Sun 2020-01-05", ["Saturday"]),
        (every_week("2020-01-12", zone="Asia/Tokyo").tz_convert("UTC"), {"stamp": "close"}, "Mon 2020-01-06", ["Sun"]),
        (every_week("2020-01-09 15:00", zone="Asia/Riyadh"), {"stamp": "close"}, "Sat 2020-01-04", ["each Friday"]),
        (every_week("2020-01-11 23:59"), {"stamp": "close"}, "Sun 2020-01-05", ["each Saturday"]),
        (every_week("2020-01-06 09:30", zone=NEW_YORK, moved=HOLIDAYS), {}, "Mon 2020-01-06", ["4 weekly bars bear"]),
        (every_week(moved=HOLIDAYS), {}, "Mon 2020-01-06", ["4 weekly bars bear another day than Mondays"]),
        (
            every_week("2020-01-10", moved=BEFORE), {"stamp": "close"}, "Sat 2020-01-04",
            ["each Friday", "4 weekly bars bear another day than Fridays"],
        ),
        (every_week().delete([5, 6, 20]), {}, "Mon 2020-01-06", []),
        (every_week()[::-1], {}, "Mon 2020-01-06", []),
        (every_week().append(pd.DatetimeIndex([RUNNING])), {}, "Mon 2020-01-06", [f"left out: the row of {RUNNING}"]),
        (
            every_week().append(pd.DatetimeIndex([f"{RUNNING} 15:59:30"])), {}, "Mon 2020-01-06",
            [f"left out: the row of {RUNNING} 15:59"],
        ),
        (
            every_week(zone=NEW_YORK).append(pd.DatetimeIndex([f"{RUNNING} 15:59:30"]).tz_localize(NEW_YORK)), {},
            "Mon 2020-01-06", [f"left out: the row of {RUNNING} 20:59"],
        ),
    ],
)  # fmt: skip
def test_each_row_is_the_week_that_its_day_says(index: Any, options: Any, first: str, told: list[str]) -> None:
    source = from_frame(table(index), symbol="X", **options)
    opens = source._of("X").timestamp
    assert source.base_interval == "1w"
    assert pd.Timestamp(opens[0], unit="ms").strftime("%a %Y-%m-%d") == first
    assert set((np.diff(opens) % WEEK).tolist()) == {0}
    assert len(opens) == len(index) - 2 * any("left out" in each for each in told)  # with the week that was running
    assert [words in note for words, note in zip(told, source.warnings, strict=True)] == [True] * len(told)


@pytest.mark.parametrize(
    ("index", "options", "told"),
    [
        (every_week("2020-01-05"), {}, r"bear Sundays, the first 2020-01-05\n.*stamp=\"close\".*stamp=\"open\"; else"),
        (every_week("2020-01-10"), {}, "bear Fridays"),
        (every_week(), {"stamp": "close"}, "Mondays may end with that day or when it begins"),
        (every_week(zone=BERLIN), {"stamp": "close"}, "Mondays may end with that day or when it begins"),
        (every_week("2020-01-10", moved=BEFORE), {}, "bear Fridays"),
        (every_week().insert(10, pd.Timestamp("2020-03-11")), {}, "two weekly bars lie in the week of 2020-03-09"),
        (every_week(moved={at: at % 3 for at in range(60)}), {}, "are needed, got candles spaced 1d"),
        (every_week(moved=dict.fromkeys(range(30), 1)), {}, "30 are Mondays, 30 are Tuesdays\ngive the day"),
        (every_week()[::2], {}, "got candles spaced 14d"),
        (pd.DatetimeIndex([each + pd.Timedelta(hours=5 * (at % 4)) for at, each in enumerate(every_week())]), {},
         "the times of day of weekly bars must be alike"),
    ],
)  # fmt: skip
def test_rows_that_may_be_other_weeks_are_refused_in_words(index: Any, options: Any, told: str) -> None:
    with pytest.raises(bknb.BknbError, match=told):
        from_frame(table(index), **options)


def test_symbols_whose_weeks_begin_on_different_days_are_refused() -> None:
    one, other = table(every_week()), table(every_week("2020-01-05"))
    with pytest.raises(bknb.UsageError, match=r"Monday, and .*Sunday\none would be known before it is over"):
        from_frame(pd.concat([one.assign(symbol="A"), other.assign(symbol="B")]), stamp="open")


def test_a_symbol_of_one_row_has_the_weeks_of_the_others() -> None:
    """It was listed on a Wednesday; a Monday in Tokyo is no day of the week before."""
    wednesday, tokyo = pd.DatetimeIndex(["2020-03-11"]), pd.DatetimeIndex(["2020-03-08 15:00"])
    parts = {"NEW": table(wednesday), "OLD": table(every_week()), "EAST": table(tokyo)}
    source = from_frame(pd.concat([part.assign(symbol=name) for name, part in parts.items()]))
    monday = pd.Timestamp("2020-03-09").value // 10**6
    assert [source._of(name).timestamp.tolist() for name in ("NEW", "EAST")] == [[monday], [monday]]
    assert any("NEW: the weekly bar of 2020-03-11 is taken for the week" in note for note in source.warnings)


def test_a_week_in_which_a_market_was_closed_is_no_hole_where_its_sessions_are_declared() -> None:
    index = every_week("2023-08-07").drop(pd.Timestamp("2023-10-02"))  # the National Day of China
    frame = ("2023-09-04", "2024-02-05")
    source = from_frame(table(index), sessions=bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-15:00"}, closed=GOLDEN))
    result = bknb.backtest("X", strategy=lambda ctx: None, exchange=source, frame=frame)
    assert not result.warnings
    with pytest.raises(bknb.GapError, match=r"2023-10-02(.|\n)*sessions="):
        bknb.backtest("X", strategy=lambda ctx: None, exchange=from_frame(table(index)), frame=frame)


GOLDEN = [f"2023-10-{day:02}" for day in range(1, 7)]


# --- what can be asked -----------------------------------------------------------------------------------------------


def first_answer(ask: Any, *, source: Any = None, **asked: Any) -> Any:
    """What the first question of a run over weeks finds, or how it fails."""
    found: list[Any] = []

    def get_signal(ctx: Any) -> None:
        if not found:
            found.append(ask(ctx))

    strategy = bknb.add_strategy("asks", get_signal=get_signal, **(asked or {"interval": "1w"}))
    source = source or from_frame(table(every_week()))
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=("2020-06-01", "2020-12-28"))
    return found[0] if found else result.errors[0].message


def test_what_a_strategy_over_weeks_can_ask() -> None:
    monday = pd.Timestamp("2020-06-01", tz="UTC")
    assert first_answer(lambda ctx: ctx.when) == monday
    assert first_answer(lambda ctx: ctx.when, at="mon") == monday
    assert first_answer(lambda ctx: ctx.when, at="month") == monday
    assert first_answer(lambda ctx: len(ctx.candles("1w", since="100d"))) == 14
    assert first_answer(lambda ctx: ctx.panel(["X"], "1w", 4).close.shape) == (4, 1)
    last = first_answer(lambda ctx: (float(ctx.indicator("sma", "1w", 4)[-1]), ctx.candles("1w", 4).close.mean()))
    assert last[0] == pytest.approx(last[1])
    assert "candles of months cannot be made of the 1w bars" in first_answer(lambda ctx: ctx.candles("1M", 2))
    assert "candles of months cannot be made of the 1w bars" in first_answer(lambda ctx: ctx.panel(["X"], "1M", 2))
    assert "1d candles cannot be made of the 1w bars of 'frame'\nask for 1w" in first_answer(
        lambda ctx: ctx.candles("1d", 2)
    )
    for asked, told in (
        ({"interval": "1d"}, "1d candles cannot be made of the 1w bars"),
        ({"at": "session_open"}, "closer together than one 1w bar"),
        ({"at": "10:00 UTC"}, "names times of a day"),
    ):
        with pytest.raises(bknb.UsageError, match=told):
            first_answer(lambda ctx: None, **asked)


@pytest.mark.parametrize(
    ("fields", "opened", "closed"),
    [
        ({"until": "session_end"}, "open", (0, "close")), ({"entry": "close", "bars": 2}, "close", (3, "open")),
        ({"until": "16:00"}, "open", (1, "open")), ({"until": "fri"}, "open", (1, "open")),
    ],
)  # fmt: skip
def test_what_ends_within_a_week_ends_with_it(fields: Any, opened: str, closed: tuple[int, str]) -> None:
    """The close of a session is not known, and a moment of a day is within a bar."""
    bars = weeks(4, 60)

    def get_signal(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(position="long", **fields) if ctx.when_ms == bars[40].t else None

    run = bknb.backtest("X", strategy=get_signal, exchange=source_of(bars), frame=(bars[20].t, bars[55].t))
    trade = run.trades.iloc[0]
    assert trade["price_open"] == getattr(bars[40], opened)
    assert trade["price_close"] == getattr(bars[40 + closed[0]], closed[1])


def test_a_year_of_weeks_is_a_year_of_its_days() -> None:
    """Whether sessions are declared or not."""
    bars = weeks(2, 160)
    strategy = bknb.add_strategy("timed", interval="1w", get_signal=timed(minute_estimated_time=2 * WEEK // 60_000))
    for sessions in (None, "XNYS", bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-15:00"}, closed=AWAY)):
        strict = isinstance(sessions, bknb.Sessions)  # the week in which they have no session is not there
        there = [bar for bar in bars if not strict or bar.t != bars[70].t]
        run = bknb.backtest("X", strategy=strategy, exchange=source_of(there, sessions=sessions), settings=FREE,
                            frame=(bars[50].t, bars[150].t))  # fmt: skip
        weekly = run.equity.pct_change().dropna()
        expected = weekly.mean() / weekly.std(ddof=1) * np.sqrt(365 / 7)
        assert run.account["days_a_year"] == 365
        assert run.account["sharpe"] == pytest.approx(expected, rel=0.02)


AWAY = [str(pd.Timestamp(EARLIER_MONDAY + 70 * WEEK + day * DAY, unit="ms").date()) for day in range(7)]


def test_a_closed_week_is_left_out_where_weeks_are_counted() -> None:
    """By the grid, which reaches back, by the clock of a live run, which counts bars, and in the days of a sweep."""
    index = every_week("2023-08-07")
    closed = pd.Timestamp("2023-10-02")
    hours = bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-15:00"}, closed=GOLDEN)
    there, away = (from_frame(table(each), sessions=hours) for each in (index, index.drop(closed)))
    assert there.sessions is None  # a week that has a bar is open, whatever is declared
    sessions, grid = away.sessions, away.bar_grid("X")
    assert sessions is not None
    assert grid is not None
    at = {day: pd.Timestamp(f"2023-{day}").value // 10**6 for day in ("09-18", "09-25", "10-02", "10-09", "10-16")}
    assert grid.reach_back(at["10-16"] + DAY, WEEK, 3, None) == at["09-25"]
    assert grid.reach_back(at["10-16"] + DAY, WEEK, 3, sessions) == at["09-18"]
    clock = SessionClock(sessions, WEEK, step=WEEK, grid=grid)
    assert clock.candles_closed(at["09-25"], 2) == at["10-16"]
    assert SessionClock(None, WEEK, step=WEEK, grid=grid).candles_closed(at["09-25"], 2) == at["10-09"]
    assert clock.next_question(at["09-25"]) == at["10-02"]
    assert clock.next_question(at["10-02"]) == at["10-16"]  # where the next bar closes
    swept = bknb.sweep(
        lambda candles, n=1: {"position": np.ones(len(candles)), "minute_estimated_time": n * 10_000.0},
        symbol="X", exchange=away, frame=("2023-09-04", "2024-03-04"), interval="1w", params={"n": [1, 2]},
    )  # fmt: skip
    assert len(swept.returns) == 183


@pytest.mark.slow
@settings(max_examples=60)
@given(
    first=st.integers(0, 6),
    hour=st.integers(0, 23),
    shift=st.dictionaries(st.integers(0, 29), st.integers(1, 4), max_size=5),
    gone=st.sets(st.integers(1, 28), max_size=5),
    stamp=st.sampled_from(["open", "close"]),
)
def test_no_row_is_known_before_the_days_it_may_hold_are_over(
    first: int, hour: int, shift: dict[int, int], gone: set[int], stamp: str
) -> None:
    """Whatever days rows bear: a week that ends with a row's day is known after it, one that begins so a week later."""
    monday = pd.Timestamp("2020-01-06") + pd.Timedelta(days=first, hours=hour)
    sign = -1 if stamp == "close" else 1
    rows = [monday + pd.Timedelta(days=7 * at + sign * shift.get(at, 0)) for at in range(30) if at not in gone]
    try:
        source = from_frame(table(rows), stamp=stamp)
    except bknb.BknbError:
        return
    if source.base_interval != "1w":
        return
    opens = source._of("X").timestamp
    assert len(opens) == len(rows)
    assert set((np.diff(opens) % WEEK).tolist()) <= {0}
    for opened, row in zip(opens.tolist(), sorted(rows), strict=True):
        known, born = opened + WEEK, row.value // 10**6
        if stamp == "close":
            assert known >= born  # never before it has closed
            assert known - born <= 7 * DAY
        else:
            assert opened - born <= 13 * DAY // 24  # from 11:00 UTC on the next date
            assert known - born > 0


# --- sweeps, jumps, live -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("first", [0, 6])
def test_a_sweep_over_weeks_has_the_ends_of_the_engine(
    plain: bool,  # noqa: FBT001 -- a table's column
    first: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if plain:
        monkeypatch.setattr(kernel, "simulate", kernel.simulate_plain)
    for seed, holes in ((1, 0.0), (2, 0.08)):
        bars = weeks(seed, 140, holes=holes, first=first)
        source, frame = source_of(bars), (bars[9].t + 3 * DAY, bars[-9].t)
        for model in ("pessimistic", "touch"):
            for columns in ({"price_open"}, {"exit", "trailing_percent", "minute_estimated_time"}):
                asked = rows_of(seed, columns, [None])

                def get_signals(candles: Any, asked: Any = asked) -> Any:
                    return {name: each for name, each in asked(candles).items() if name not in ("until", "bars")}

                found = ends_equal(source, frame, model, interval="1w", get_signals=get_signals)
                assert len(found) > 3


def test_a_sweep_is_compiled_over_weeks_and_deadlines_by_the_clock_are_not() -> None:
    bars = weeks(3, 140)

    def get_signals(candles: Any, back: int = 1, bars: int = 0) -> dict[str, Any]:
        up = candles.close > np.roll(candles.close, back)
        levels = {"price_take_profit": candles.close * 1.03, "price_stop_loss": candles.close * 0.97}
        levels |= {"bars": bars} if bars else {}
        return {"position": up.astype(int), "minute_estimated_time": 4 * WEEK // 60_000, **levels}

    for more, told in (({}, 0), ({"bars": [2]}, 1)):
        found = bknb.sweep(get_signals, symbol="X", exchange=source_of(bars), frame=(bars[20].t, bars[-9].t),
                           interval="1w", params={"back": [1, 2], **more})  # fmt: skip
        assert sum("go through the event engine" in each for each in found.warnings) == told, found.warnings
        for back, pnl in zip((1, 2), found.table["total_pnl"], strict=True):
            alone = bknb.backtest(
                "X",
                strategy=lambda candles, back=back, more=more: get_signals(candles, back, *more.get("bars", [0])),
                exchange=source_of(bars), frame=(bars[20].t, bars[-9].t), interval="1w",
            )  # fmt: skip
            assert pnl == pytest.approx(alone.trades["pnl_percentage"].sum(), rel=1e-12)
            assert len(alone.trades) > 3


LIVE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bars": ({"interval": "1w"}, {"bars": 2}),
    "Mondays": ({"at": "mon"}, {"minute_estimated_time": 30_000}),
    "months": ({"at": "month"}, {"bars": 3}),
    "a deadline on a day": ({"interval": "1w"}, {"until": "fri"}),
}


def of_function(bars: list[Bar], clock: SimulatedClock, *, delay: int = 0, gone: Iterable[int] = ()) -> Any:
    """A function with weekly bars, each ``delay`` ms after its end; some never come."""
    rows = [tuple(bar) for bar in bars if bar.t not in set(gone)]

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        assert interval == "1w"
        return [row for row in rows if row[0] >= since and row[0] + WEEK + delay <= clock.now()][:limit]

    return bknb.add_exchange("mine", get_candles=get_candles, intervals=["1w"])


@pytest.mark.parametrize("name", first_quick(LIVE, kept=1))
def test_a_live_run_over_weeks_goes_by_the_clock_as_a_backtest_does(name: str) -> None:
    asked, fields = LIVE[name]
    bars = weeks(4, 120)
    start, until = bars[40].t + 3 * DAY, bars[100].t
    clock = SimulatedClock(start)
    strategy = bknb.add_strategy("timed", get_signal=timed(**fields), **asked)
    live = live_compared(strategy, of_function(bars, clock), start, until, clock=clock)
    assert not live.errors
    assert len(live.trades) > 2
    assert live.card.base == "1w"


@pytest.mark.slow
@pytest.mark.parametrize(("model", "first"), [("pessimistic", 0), ("touch", 6)])
def test_a_live_run_over_weeks_has_the_events_of_a_backtest(model: str, first: int) -> None:
    bars = weeks(5, 160, first=first)
    strategy = bknb.add_strategy(
        "drawn", interval="1w", get_signal=lambda ctx: signal_of(answer(5, ctx.when_ms, ctx.price, WEEK))
    )
    live = live_compared(strategy, source_of(bars), bars[40].t + WEEK, bars[140].t, execution=model)
    assert not live.errors
    assert {type(event) for event in live.events} >= {Opened, Closed}


@pytest.mark.slow
def test_a_run_over_weeks_that_is_killed_anywhere_goes_on_as_one_that_never_was() -> None:
    bars = weeks(3, 120)
    start, until = bars[40].t, bars[85].t
    clock = SimulatedClock(start)
    store = Filmed(clock)
    whole = live_compared(holding("1w"), source_of(bars), start, until, clock=clock, store=store)
    assert {"added", "reduced"} <= {event.action for event in whole.position_events}
    assert len(ends(whole)) > 3
    draw = np.random.default_rng(1)
    for at in sorted(draw.choice(len(store.film), size=6, replace=False).tolist()):
        when, sealed = store.film[at]
        again = bknb.stores.MemoryStore()
        again.sealed.update(sealed)
        woken = SimulatedClock(when + int(draw.integers(0, 2)) * 2 * DAY)
        assert ends(lived(holding("1w"), source_of(bars), start, until, clock=woken, store=again)) == ends(whole), at


@pytest.mark.slow
def test_a_week_that_never_comes_is_a_hole_of_a_live_run() -> None:
    bars = weeks(6, 120)
    start, until, gone = bars[40].t, bars[90].t, bars[55].t
    clock = SimulatedClock(start)
    strategy = bknb.add_strategy("timed", interval="1w", get_signal=timed(minute_estimated_time=2 * WEEK // 60_000))
    live = lived(strategy, of_function(bars, clock, gone=[gone]), start, until, clock=clock, allow_gaps=True)
    table = source_of([bar for bar in bars if bar.t != gone])
    over = bknb.backtest("X", strategy=strategy, exchange=table, frame=(start, until), allow_gaps=True, settings=FREE)
    columns = ["pending_at", "price_open", "closed_at", "price_close"]
    before = live.trades[live.trades["closed_at"] < pd.Timestamp(until - 4 * WEEK, unit="ms", tz="UTC")]
    pd.testing.assert_frame_equal(before[columns], over.trades[columns][: len(before)])
    assert len(before) > 5
