"""Live runs over bars that count from the open of their market: the events of a backtest, byte for byte."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bar_loop import Bar
from hand_clock import HandClock
from quick import first_quick, rest_long
from test_bars_live import SETTINGS, Filmed, SleepyClock, ends, holding, lived, parts, timed
from test_base_bars import answer, frame_of, signal_of
from test_half_past_bars import HOUR, MARKETS, MINUTE, Market, bars_of
from test_half_past_sources import EVERY
from test_live_parity import told
from test_live_portfolio import told as told_together
from worlds import drawn_weights

import bknb
from bknb.domain.interval import INTERVAL_MS
from bknb.domain.signal_events import Closed, Opened
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.exchanges import from_frame, in_sessions
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore
from bknb.runs.live_task import TASKS, LiveTask, plan_live
from bknb.runs.portfolio import plan_portfolio
from bknb.testing.clocks import SimulatedClock


def of_function(
    bars: Iterable[Bar], market: Market, base: str, clock: SimulatedClock, *, delay: int = 0, gone: Iterable[int] = ()
) -> Any:
    """A function with the bars of a market, each ``delay`` ms after its close; some never come."""
    step, left_out = INTERVAL_MS[base], set(gone)
    closes = {t: min(t + step, close) for opened, close in market.spans(28) for t in range(opened, close, step)}
    rows = [tuple(bar) for bar in bars if bar.t not in left_out]

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        return [row for row in rows if row[0] >= since and closes[int(row[0])] + delay <= clock.now()][:limit]

    function = in_sessions(get_candles, market.sessions, from_open=True)
    return bknb.add_exchange("mine", get_candles=function, intervals=[base])


def compared(
    strategy: Any, source: Any, span: tuple[int, int], clock: SimulatedClock, before: int, **options: Any
) -> bknb.Result:
    """A live run whose events up to a moment are those of a backtest that decides as late."""
    live = lived(strategy, source, *span, clock=clock, **options)
    clock.advance(clock.now() + 20 * 24 * HOUR)
    asked = {name: value for name, value in options.items() if name in ("interval", "at", "execution", "base")}
    plan = plan_backtest("X", strategy, source, span, settings=SETTINGS, **asked)
    run = BacktestRun(plan, late=dict(live.run_record.records.late))
    asyncio.run(run.through())
    expected = told(run.records, before=before)
    assert told(live, before=before) == expected
    assert len(expected) > 3
    assert parts(live.run_record.records, before) == parts(run.records, before)
    return live


WORLDS = [
    ("new york", "1h", "1h", "pessimistic", True),
    ("spring", "1h", "2h", "touch", True),
    ("a break shorter than a bar", "1h", "1h", "pessimistic", True),
    ("mumbai", "2h", "4h", "touch", False),
]
MORE = [
    (name, base, interval, model, by_function)
    for name in EVERY
    for base, interval in (("1h", "1h"), ("1h", "4h"), ("2h", "2h"), ("1h", "1d"))
    for model in ("pessimistic", "touch")
    for by_function in (True, False)
    if (name, base, interval, model, by_function) not in WORLDS
]


@pytest.mark.parametrize(
    ("name", "base", "interval", "model", "by_function"),
    [*first_quick(WORLDS), *(pytest.param(*row, marks=pytest.mark.long) for row in MORE)],
)
def test_a_live_run_from_half_past_has_the_events_of_a_backtest(
    name: str,
    base: str,
    interval: str,
    model: str,
    by_function: bool,  # noqa: FBT001
) -> None:
    market, step, seed = EVERY[name], INTERVAL_MS[base], len(name)
    bars, spans = bars_of(market, step, seed), market.spans(28)
    span = spans[5][0] - 7 * MINUTE, spans[-5][1] + 7 * MINUTE
    clock = SimulatedClock(span[0])
    if by_function:
        source = of_function(bars, market, base, clock)
    else:
        source = from_frame(frame_of(bars), symbol="X", sessions=market.sessions)
    strategy = bknb.add_strategy(
        "drawn", interval=interval, get_signal=lambda ctx: signal_of(answer(seed, ctx.when_ms, ctx.price, step))
    )
    live = compared(strategy, source, span, clock, spans[-7][0], execution=model)
    assert not live.errors
    assert not live.warnings
    assert {type(event) for event in live.events} >= {Opened, Closed}


CLOCKS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a moment that was missed": ("new york", {"at": "session_open+1h, session_close-30m"}, {"until": "session_end"}),
    "closes of short bars": ("new york", {"at": "session_close-30m", "interval": "1h"}, {"entry": "close", "bars": 9}),
    "opens": ("new york", {"at": "session_open"}, {"until": "session_end"}),
    "session days": ("spring", {"interval": "1d"}, {"bars": 2}),
    "a deadline at noon": ("new york", {"interval": "2h"}, {"until": "12:00"}),
    "noon": ("spring", {"at": "12:00 America/New_York"}, {"minute_estimated_time": 330}),
    "bars of two sessions": ("spring", {"interval": "1h"}, {"bars": 8}),
    "before the close": ("new york", {"interval": "1h"}, {"until": "session_end-30m"}),
    "late moments": ("new york", {"at": "10:00 America/New_York", "late": "ask"}, {"minute_estimated_time": 900}),
    "hours of four": ("two parts", {"interval": "4h"}, {"bars": 3}),
}


@pytest.mark.parametrize("name", [*first_quick(list(CLOCKS)[:6]), *rest_long(list(CLOCKS)[6:], kept=0)])
def test_a_live_run_from_half_past_goes_by_the_clock_of_its_market(name: str) -> None:
    key, asked, fields = CLOCKS[name]
    market = MARKETS[key]
    bars, spans = bars_of(market, HOUR, 4), market.spans(28)
    span = spans[5][0] - 7 * MINUTE, spans[-5][1]
    clock = SimulatedClock(span[0])
    strategy = bknb.add_strategy("timed", get_signal=timed(**fields), **asked)
    live = compared(strategy, of_function(bars, market, "1h", clock), span, clock, spans[-7][0])
    assert not live.errors
    assert len(live.trades) > 2


@pytest.mark.slow
def test_what_begins_within_a_bar_from_half_past_begins_with_its_end_in_a_backtest_too() -> None:
    """A moment of that bar, which is over by then, is not asked about."""
    market = MARKETS["new york"]
    bars, spans = bars_of(market, HOUR, 4), market.spans(28)
    span = spans[5][0] + 17 * MINUTE, spans[-5][1]
    strategy = bknb.add_strategy("timed", at="session_open+30m", get_signal=timed(bars=2))
    clock = SimulatedClock(span[0])
    compared(strategy, of_function(bars, market, "1h", clock), span, clock, spans[-7][0])
    table = from_frame(frame_of(bars), symbol="X", sessions=market.sessions)
    told = [bknb.backtest("X", strategy=strategy, exchange=table, frame=(since, span[1])).warnings
            for since in (span[0], spans[5][0], spans[5][0] - HOUR)]  # fmt: skip
    assert [len(notes) for notes in told] == [1, 0, 0]
    assert told[0][0].startswith("the frame begins at ")
    assert told[0][0].endswith(" UTC, where the first 1h bar in it ends")


@pytest.mark.slow
def test_a_machine_that_wakes_late_decides_as_a_backtest_that_is_told_the_delays() -> None:
    market = MARKETS["new york"]
    bars, spans = bars_of(market, HOUR, 2), market.spans(28)
    span = spans[5][0] - 7 * MINUTE, spans[-5][1]
    clock = SleepyClock(span[0], HOUR, 4)
    strategy = bknb.add_strategy(
        "drawn", interval="1h", get_signal=lambda ctx: signal_of(answer(2, ctx.when_ms, ctx.price, HOUR))
    )
    live = compared(strategy, of_function(bars, market, "1h", clock), span, clock, spans[-7][0])
    assert live.run_record.records.late


@pytest.mark.slow
def test_a_run_from_half_past_that_is_killed_anywhere_goes_on_as_one_that_never_was() -> None:
    market = MARKETS["new york"]
    bars, spans = bars_of(market, HOUR, 3), market.spans(28)
    source = from_frame(frame_of(bars), symbol="X", sessions=market.sessions)
    span = spans[5][0] - 7 * MINUTE, spans[-8][1]
    clock = SimulatedClock(span[0])
    store = Filmed(clock)
    whole = compared(holding("1h"), source, span, clock, spans[-10][0], store=store)
    assert len(ends(whole)) > 3
    random = np.random.default_rng(1)
    for at in sorted(random.choice(len(store.film), size=6, replace=False).tolist()):
        when, sealed = store.film[at]
        again = bknb.stores.MemoryStore()
        again.sealed.update(sealed)
        woken = SimulatedClock(when + int(random.integers(0, 2)) * 20 * MINUTE)
        assert ends(lived(holding("1h"), source, *span, clock=woken, store=again)) == ends(whole), at


@pytest.mark.slow
def test_runs_that_follow_each_other_in_a_night_or_within_a_bar_are_one_run() -> None:
    market = MARKETS["new york"]
    bars, spans = bars_of(market, HOUR, 6), market.spans(28)
    moments = [spans[5][0], spans[6][1] - 10 * MINUTE, spans[8][1], spans[9][1] + 5 * HOUR + 7 * MINUTE, spans[12][0]]
    moments += [spans[13][0] + 20 * MINUTE, spans[15][1]]
    found = []
    for lives in ([moments[0], moments[-1]], moments):
        store = bknb.stores.memory()
        for first, last in itertools.pairwise(lives):
            clock = SimulatedClock(first)
            result = lived(holding("1h"), of_function(bars, market, "1h", clock), first, last, clock=clock, store=store)
            assert not result.errors
        found.append(ends(result))
    assert found[0] == found[1]
    assert len(found[0]) > 3


# --- when a bar is there -------------------------------------------------------------------------------------------


def test_a_bar_is_worked_on_when_it_closes_and_the_last_one_with_its_session() -> None:
    """The half day of 1 November closes at 13:00, with a bar of half an hour; on 4 November the clocks have changed."""
    market = MARKETS["new york"]
    spans = market.spans(28)
    seen: list[tuple[str, int, str]] = []
    clock = SimulatedClock(spans[8][0])

    def local(when: int) -> str:
        return f"{pd.Timestamp(when, unit='ms', tz='UTC').tz_convert(market.zone):%d %H:%M}"

    def get_signal(ctx: Any) -> None:
        opened = int(ctx.candles("1h", 1).timestamp[-1])
        seen.append((local(ctx.when_ms), clock.now() - ctx.when_ms, local(opened)))

    source = of_function(bars_of(market, HOUR, 4), market, "1h", clock)
    strategy = bknb.add_strategy(
        "closing", at="session_open+60m, session_close-30m, session_close", get_signal=get_signal
    )
    live = lived(strategy, source, clock.now(), spans[10][1], clock=clock)
    assert not live.errors
    assert not live.warnings
    assert seen == [
        ("31 10:30", 0, "31 09:30"), ("31 15:30", 0, "31 14:30"), ("31 16:00", 0, "31 15:30"),
        ("01 10:30", 0, "01 09:30"), ("01 12:30", 0, "01 11:30"), ("01 13:00", 0, "01 12:30"),
        ("04 10:30", 0, "04 09:30"), ("04 15:30", 0, "04 14:30"), ("04 16:00", 0, "04 15:30"),
    ]  # fmt: skip
    assert clock.now() == spans[10][1]


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "told_of"), [(8, 0), (12, 1), (90, 1)])
def test_silence_is_told_ten_minutes_after_the_close_of_a_short_bar(minutes: int, told_of: int) -> None:
    market = MARKETS["new york"]
    spans, bars = market.spans(28), bars_of(market, HOUR, 4)
    clock = SimulatedClock(spans[6][0])
    source = of_function(bars, market, "1h", clock, gone=[bar.t for bar in bars if bar.t >= spans[6][1] - 30 * MINUTE])
    live = lived(lambda: None, source, clock.now(), spans[6][1] + minutes * MINUTE, clock=clock)
    silences = [error for error in live.errors if error.kind == "silence"]
    assert [error.count for error in silences] == [1] * told_of
    for error in silences:
        assert "no 1h bar of X has come from 'mine' since 2024-10-29 19:30 UTC, for 10 minutes" in error.message


@pytest.mark.slow
@pytest.mark.parametrize("gaps", first_quick([False, True]))
def test_bars_that_never_come_are_holes_of_their_own_length(gaps: bool) -> None:  # noqa: FBT001
    """The half hour before the break of noon, and the hour after it."""
    market = EVERY["a break shorter than a bar"]
    spans, bars = market.spans(28), bars_of(market, HOUR, 4)
    morning, noon = spans[6], spans[7]
    clock = SimulatedClock(morning[0])
    gone = [morning[1] - 30 * MINUTE, noon[0]]
    source = of_function(bars, market, "1h", clock, gone=gone)
    store, strategy = bknb.stores.memory(), bknb.add_strategy("idle", interval="1h", get_signal=lambda: None)
    live = lived(strategy, source, clock.now(), noon[1], clock=clock, allow_gaps=gaps, store=store)
    assert live.run_record.records.holes == [(gone[0], morning[1]), (gone[1], gone[1] + HOUR)]
    told_of = [error.message for error in live.errors if error.kind == "hole"]
    assert len(told_of) == (0 if gaps else 1)
    if not gaps:
        assert told_of[0].startswith("2 bars of 1h of X are missing: 2024-02-08 03:30 UTC .. 2024-02-08 04:20 UTC")
    clock = SimulatedClock(spans[8][0])
    again = lived(strategy, of_function(bars, market, "1h", clock), clock.now(), spans[8][1], clock=clock, store=store)
    assert again.warnings[0].startswith("before this start the run went on without 2 bars of 1h that never came")


@pytest.mark.parametrize(
    ("until", "asked"),
    [(390, 6), (389, 6), (400, 6), (24 * 60 + 30, 6), (24 * 60 + 60, 7)],
)
def test_a_run_that_ends_within_a_bar_or_a_night_decides_nothing_in_it(until: int, asked: int) -> None:
    market = MARKETS["new york"]
    spans, seen = market.spans(28), list[int]()
    clock = SimulatedClock(spans[6][0])
    source = of_function(bars_of(market, HOUR, 4), market, "1h", clock)
    live = lived(lambda ctx: seen.append(ctx.when_ms), source, clock.now(), clock.now() + until * MINUTE, clock=clock)
    assert len(seen) == asked
    assert clock.now() == spans[6][0] + until * MINUTE
    assert not live.warnings
    assert not live.errors


# --- by hand, and from a store -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_decided_by_hand_in_the_last_bar_fills_at_the_next_open() -> None:
    market = MARKETS["new york"]
    spans, bars = market.spans(28), bars_of(MARKETS["new york"], HOUR, 4)
    source = from_frame(frame_of(bars), symbol="X", sessions=market.sessions)

    def get_signal(ctx: Any) -> bknb.Signal | None:
        far = {"price_stop_loss": ctx.price * 0.1}
        return bknb.Signal(position="long", **far) if ctx.when_ms == spans[6][0] + HOUR else None

    clock = HandClock(spans[6][0], {spans[6][1] - 20 * MINUTE: lambda task: task.close("enough")})
    strategy = bknb.add_strategy("hand", interval="1h", get_signal=get_signal)
    plan = plan_live("X", strategy=strategy, exchange=source, clock=clock, until=spans[8][1],
                     store=bknb.stores.memory(), settings=SETTINGS)  # fmt: skip
    clock.task = task = TASKS.add(LiveTask(plan))
    task.start()
    result = task.result(30)
    opened = next(bar for bar in bars if bar.t == spans[7][0])
    trade = result.trades.iloc[0]
    assert (trade["closed_at"], trade["price_close"]) == (pd.Timestamp(opened.t, unit="ms", tz="UTC"), opened.open)
    assert "2024-10-29 20:00 UTC" in clock.answers[0]  # the close: the next bar opens from then on


@pytest.mark.slow
def test_a_live_run_over_a_store_is_the_one_over_its_source(tmp_path: Path) -> None:
    market = MARKETS["spring"]
    bars, spans = bars_of(market, HOUR, 3), market.spans(28)
    span = spans[5][0], spans[-6][1]
    found = []
    for kept in (False, True):
        clock = SimulatedClock(span[0])
        source = of_function(bars, market, "1h", clock).source
        exchange = StoredSource(source, CandleStore(tmp_path), now=clock.now) if kept else source
        found.append(lived(holding("1h"), exchange, *span, clock=clock))
        assert not found[-1].errors
    assert ends(found[0]) == ends(found[1])
    assert len(found[0].trades) > 3


@pytest.mark.slow
def test_a_longer_base_counts_from_the_open_too() -> None:
    market = MARKETS["spring"]
    bars, spans = bars_of(market, HOUR, 3), market.spans(28)
    span = spans[5][0] - 7 * MINUTE, spans[-5][1]
    clock = SimulatedClock(span[0])
    source = of_function(bars, market, "1h", clock)
    live = compared(holding("2h"), source, span, clock, spans[-7][0], base="2h")
    assert live.base == "2h"
    assert not live.errors


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
def test_a_live_portfolio_of_markets_that_open_at_half_past_is_the_portfolio(seed: int) -> None:
    """Mumbai and Hong Kong, or two shares of New York, with one place together; a machine that wakes late."""
    bknb.add_risk("one place", validations=[lambda request: request.open_position_count == 0])
    exchanges, legs = {}, []
    for at, key in enumerate(("new york", "new york") if seed % 2 else ("mumbai", "two parts")):
        market, symbol, drawn_by = MARKETS[key], f"S{at}", seed * 10 + at

        def get_signal(ctx: Any, drawn_by: int = drawn_by) -> bknb.Signal | None:
            return signal_of(answer(drawn_by, ctx.when_ms, ctx.price, HOUR))

        table = frame_of(bars_of(market, HOUR, drawn_by))
        exchanges[symbol] = from_frame(table, symbol=symbol, sessions=market.sessions)
        bknb.add_strategy(f"drawn {at}", interval="1h", get_signal=get_signal, risk="one place")
        legs.append((symbol, f"drawn {at}"))
    spans = market.spans(28)
    start, until, before = spans[6][0] - 7 * MINUTE, spans[-6][1], spans[-8][0]
    options: dict[str, Any] = {"legs": legs, "exchange": exchanges, "settings": SETTINGS}
    clock = SleepyClock(start, HOUR, seed)
    live = bknb.Live.portfolio(**options, clock=clock, until=until, store=bknb.stores.memory()).result(timeout=60)
    task = plan_portfolio(**options, frame=(start, until))
    for run, leg in zip(task._run.legs, live.legs.values(), strict=True):
        run._late = dict(leg.run_record.records.late)
    assert told_together(live, before) == told_together(asyncio.run(task._work()), before)
    assert len(live.refused) > 3
    assert len(live.trades) > 3


@pytest.mark.slow
def test_a_live_run_from_half_past_with_a_capital_has_the_trades_of_a_backtest() -> None:
    market = MARKETS["new york"]
    bars, spans = bars_of(market, HOUR, 1), market.spans(28)
    span = spans[6][0] - 7 * MINUTE, spans[-6][1]
    clock = SimulatedClock(span[0])
    source = of_function(bars, market, "1h", clock)
    strategy = bknb.add_strategy(
        "drawn", interval="1h", get_signal=lambda ctx: signal_of(answer(1, ctx.when_ms, ctx.price, HOUR))
    )
    live = lived(strategy, source, *span, clock=clock, capital=10_000.0)
    clock.advance(clock.now() + 20 * 24 * HOUR)
    played = bknb.backtest("X", strategy=strategy, exchange=source, frame=span, settings=SETTINGS, capital=10_000.0)
    columns = ["pending_at", "closed_at", "price_open", "price_close", "quantity"]
    count = len(live.trades) - 1  # a frame closes what is open at its end
    assert count > 5
    pd.testing.assert_frame_equal(live.trades[columns][:count], played.trades[columns][:count])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "interval", "together"),
    rest_long(
        [
            ("two parts", "8h", False),  # each part has a slot of its own
            ("new york", "1d", True),  # asked at the open of each session
            ("mumbai", "1h", True),
            *((key, *how) for how in itertools.product(("1h", "2h"), (False, True)) for key in MARKETS),
        ],
        kept=2,
    ),
)
def test_weights_of_several_symbols_from_half_past_are_those_of_the_portfolio(
    key: str,
    interval: str,
    together: bool,  # noqa: FBT001
) -> None:
    """The last bars of a day may have no more than a quarter of an hour; each symbol has holes of its own."""
    market, seed, asked = MARKETS[key], 3 + len(key), list[int]()

    def get_weights(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        return drawn(ctx)

    drawn = drawn_weights(seed, 1.0)
    spans = market.spans(28)
    candles = {
        f"S{at}": bknb.Candles.from_rows([tuple(bar) for bar in bars_of(market, HOUR, seed + at, holes=0.1)])
        for at in range(3)
    }
    source = bknb.exchanges.FrameSource(candles, sessions=market.sessions)
    bknb.weights(
        "rotation", symbols=["S0", "S1", "S2"], interval=interval, get_weights=get_weights, tolerance=1.0,
        together=together,
    )  # fmt: skip
    start, until, before = spans[6][0] - 7 * MINUTE, spans[17][1], spans[15][0]
    settings = {**SETTINGS, "patience_minutes": 10_000}  # a bar that is missing may be the last one before a holiday
    run: dict[str, Any] = {"strategies": ["rotation"], "exchange": source, "settings": settings, "allow_gaps": True}
    run |= {"capital": 10_000, "costs": bknb.Costs(taker=0.05)}
    clock = SimulatedClock(start)
    live = bknb.Live.portfolio(**run, clock=clock, until=until, store=bknb.stores.memory()).result(timeout=60)
    moments, asked[:] = [*asked], []
    task = plan_portfolio(**run, frame=(start, until))
    for each, leg in zip(task._run.legs, live.legs.values(), strict=True):
        each._late = dict(leg.run_record.records.late)
    assert told_together(live, before) == told_together(asyncio.run(task._work()), before)
    moments = [when for when in moments if when < before]
    assert moments == [when for when in asked if when < before]
    if interval == "8h":
        assert moments == [opened + HOUR for opened, _ in spans[6:] if opened + HOUR < before]
    assert len(live.trades) > 3


def test_bars_of_no_known_hours_are_refused_to_a_live_run() -> None:
    index = pd.date_range("2024-01-01 00:30", periods=60, freq="h", tz="UTC", name="time")
    table = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, index=index)
    with pytest.raises(bknb.UsageError, match="say when their market is open"):
        bknb.Live.background("X", strategy=lambda: None, exchange=from_frame(table, symbol="X"))
