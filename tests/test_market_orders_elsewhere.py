"""Orders of the market's clock beyond the engine: rows, sweeps, reports, a moment asked again, luck, late decisions."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from clocked import SHORT_DAYS, ClockRow, clock_source, functions_of, open_times
from managed import FREE
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN
from test_market_orders import LAST, long

import bknb
from bknb.config import Settings
from bknb.domain.fills_at_stops_and_gaps import Minute, execution_model
from bknb.domain.lifecycle import Answer, Boundary, Flat, Holding, Managed, Rules
from bknb.domain.lifecycle import step as typed_step
from bknb.domain.manage_answers import Close, Move
from bknb.domain.recovery import SavedOpening, SavedSignal
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy, with_params
from bknb.market.session_clock import SessionClock
from bknb.sweeps.evaluate_combination import Evaluator, ends_of
from bknb.sweeps.prepared_candles import prepare

CANDLES = {19: LAST, 39: (100, 104, 100, 103)}
SOURCE = clock_source(ClockRow("", {}, (), CANDLES))


def ran(get_signal: Any = None, **strategy: Any) -> bknb.Result:
    made = bknb.add_strategy("rows", interval="5m", get_signal=get_signal, **strategy)
    end = open_times(SHORT_DAYS)[45]
    return bknb.backtest("BTCUSDT", strategy=made, exchange=SOURCE, frame=(ORIGIN, end), settings=FREE)


def rows(candles: Any, until: Any = "session_end", bars: Any = float("nan")) -> dict[str, Any]:
    empty = np.full(len(candles), np.nan)
    return {
        "position": np.ones(len(candles)),
        "price_take_profit": empty,
        "price_stop_loss": empty,
        "minute_estimated_time": empty,
        "until": until,
        "bars": bars,
    }


def ends(result: bknb.Result) -> list[tuple[int, int, float]]:
    trades = result.run_record.records.closed
    return [(trade.signal.pending_at, trade.closed_at, trade.price_close) for trade in trades]


@pytest.mark.parametrize(
    ("until", "bars"),
    [("session_end", None), (4, None), (None, 2), (datetime(2024, 1, 2, 0, 3, tzinfo=UTC), 3), ("00:12", None)],
    ids=str,
)
def test_rows_have_deadlines_by_the_clock(until: Any, bars: int | None) -> None:
    def get_signals(candles: Any) -> dict[str, Any]:
        given = until if isinstance(until, str) else [until] * len(candles)
        return rows(candles, given, float("nan") if bars is None else bars)

    by_rows = ran(get_signals=get_signals, lookback=1)
    by_question = ran(lambda: long(until=until, bars=bars))
    assert ends(by_rows) == ends(by_question)
    assert len(by_rows.run_record.records.rejected) == len(by_question.run_record.records.rejected)


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(bknb.UsageError, match=r"get_signals must return one row per candle, \d+ rows; until has 2"):
        ran(get_signals=lambda candles: rows(candles, ["session_end"] * 2), lookback=1)


@pytest.mark.slow
def test_a_sweep_over_such_rows_is_the_backtest() -> None:
    def get_signals(candles: Any, bars: int = 1) -> dict[str, Any]:
        return rows(candles, bars=float(bars))

    frame = (ORIGIN, open_times(SHORT_DAYS)[45])
    strategy = make_strategy("rows", interval="5m", get_signals=get_signals, lookback=1)
    plan = plan_backtest("BTCUSDT", strategy=strategy, exchange=SOURCE, frame=frame, settings=FREE)
    evaluator = Evaluator(plan, asyncio.run(prepare(plan)), keep_ends=True)
    for bars in (1, 2, 9):
        outcome = evaluator.evaluate({"bars": bars})
        assert not outcome.error
        assert outcome.ends is not None
        run = BacktestRun(replace(plan, strategy=with_params(plan.strategy, {"bars": bars})))
        asyncio.run(run.through())
        assert len(outcome.ends) >= 2
        assert (outcome.ends[:, 0] >= 0).all()  # of the compiled loop
        np.testing.assert_array_equal(outcome.ends[:, 1:], ends_of(run.records)[:, 1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("until", "options", "told"),
    [
        (None, {}, False),
        ("session_end", {}, False),
        (datetime(2024, 1, 1, 0, 30, tzinfo=UTC), {}, True),
        (["session_end", datetime(2024, 1, 1, 0, 30)], {}, True),  # has no time zone
        ("session_end", {"execution": "vwap"}, True),
        ("session_end", {"settings": {"max_signal_lifetime_minutes": 5}}, True),
        (2.5, {}, True),
    ],
    ids=str,
)
def test_a_sweep_that_goes_through_the_event_engine_says_so(until: Any, options: dict[str, Any], told: bool) -> None:  # noqa: FBT001
    def get_signals(candles: Any, bars: int = 1) -> dict[str, Any]:
        each = [until[at % len(until)] for at in range(len(candles))] if isinstance(until, list) else until
        found = rows(candles, [each] * len(candles) if isinstance(each, datetime) else each, bars=float(bars))
        return {name: found[name] for name in found if until is not None or name not in ("until", "bars")}

    frame = (ORIGIN, open_times(SHORT_DAYS)[45])
    swept = bknb.sweep(
        get_signals, params={"bars": [1, 2]}, symbol="BTCUSDT", interval="5m", exchange=SOURCE, frame=frame, **options
    )
    assert len([text for text in swept.warnings if "of these rows go through the event engine" in text]) == told


@pytest.mark.slow
def test_a_worker_has_the_exchange_for_rows_with_deadlines_by_the_clock() -> None:
    def get_signals(candles: Any, bars: int = 1, leave_out: int = 0) -> dict[str, Any]:
        found = rows(candles, bars=float(bars))
        return {name: found[name] for name in found if not (bars == leave_out and name in ("until", "bars"))}

    frame = (ORIGIN, open_times(SHORT_DAYS)[45])
    options: dict[str, Any] = {"symbol": "BTCUSDT", "interval": "5m", "exchange": SOURCE, "frame": frame}
    here = bknb.sweep(get_signals, params={"bars": [1, 2, 9]}, **options)
    with ThreadPoolExecutor(1) as pool:
        there = bknb.sweep(get_signals, params={"bars": [1, 2, 9]}, executor=pool, **options)
        without = bknb.sweep(get_signals, params={"bars": [1, 2], "leave_out": [1]}, executor=pool, **options)
    assert here.ranking["n"].min() >= 2
    pd.testing.assert_frame_equal(there.ranking, here.ranking)
    assert without.errors["error"].str.contains("rows with until or bars need the exchange").tolist() == [True]


def test_the_report_says_that_an_auction_may_differ() -> None:
    said = "the price of a closing auction may be another"
    assert said in ran(lambda: long(until="session_end")).report()
    assert said not in ran(lambda: long(until=5)).report()
    assert said in ran(lambda: long(entry="close")).report()
    assert said not in ran(lambda: long(until="session_end", price_take_profit=100.0001)).report()  # not at the close
    closing = {"manage": lambda: Close(at="close"), "manage_interval": "1m"}
    assert said in ran(long, **closing).report()
    assert said not in ran(long, **(closing | {"manage": Close})).report()


def test_the_story_of_a_signal_names_its_deadlines() -> None:
    result = ran(lambda: long(until="session_end", bars=30))
    assert "until session_end, 30 candles" in result.why(result.run_record.records.closed[0].signal.id)


def test_luck_refuses_what_the_clock_ends() -> None:
    with pytest.raises(bknb.UsageError, match="end or begin by the clock of the market: until, bars or entry='close'"):
        bknb.luck(ran(lambda: long(until="session_end")), n=10)


step: Any = typed_step  # states and inputs are known at run time alone


def rules_of(mode: Any = "live") -> Rules:
    clock = SessionClock(SHORT_DAYS, MINUTE)
    model = execution_model("pessimistic")
    return Rules("B", "s", "demo", None, mode, model, Settings(), clock=lambda: clock)


def opened(signal: bknb.Signal, rules: Rules) -> Holding:
    opening = step(Flat(), Answer(ORIGIN + 5 * MINUTE, 100.0, signal), rules).state
    held = step(opening, Minute(ORIGIN + 5 * MINUTE, 100.0, 100.0, 100.0, 100.0, 100.0), rules).state
    assert isinstance(held, Holding)
    return held


def test_an_order_for_the_close_that_is_known_too_late_is_one_at_the_market() -> None:
    rules, moment = rules_of(), ORIGIN + 15 * MINUTE
    held = opened(long(), rules)
    for decided_at, late in ((moment + 3 * MINUTE, False), (moment + 10 * MINUTE, True)):
        given = Managed((bknb.Close(at="close"),), 100.0, moment, 100.0, decided_at=decided_at)
        after = step(held, given, rules).state
        assert isinstance(after, Holding)
        assert (after.leaving is not None) == late
        assert after.leaving is None or after.leaving.not_before == decided_at


def test_in_a_live_run_the_order_leaves_before_it_fills() -> None:
    rules = rules_of()
    held = opened(long(until="session_end"), rules)
    last = Minute(ORIGIN + 19 * MINUTE, 100.0, 102.0, 99.0, 101.0, 100.5)
    sent = step(held, Boundary(ORIGIN + 19 * MINUTE, 100.0), rules)
    assert (sent.events, isinstance(sent.state, Holding)) == ((), True)
    assert sent.state.book.closing.sent
    (closed,) = step(sent.state, Boundary(ORIGIN + 20 * MINUTE, 100.5, newest=last), rules).events
    assert (closed.close_reason, closed.price_close) == ("time_expired", 101.0)
    kept = step(held, Boundary(ORIGIN + 19 * MINUTE, 100.0), rules_of("backtest")).state
    assert kept == held


def test_what_is_saved_comes_back() -> None:
    held = opened(long(until="session_end", bars=3), rules_of())
    text = msgspec.json.encode(held)
    assert msgspec.json.decode(text, type=Holding) == held
    plain = opened(long(minute_estimated_time=9), rules_of())
    assert b"closing" not in msgspec.json.encode(plain)
    assert b"until" not in msgspec.json.encode(plain.signal)
    move = Move(until="session_end-5m", bars=None)
    assert msgspec.json.decode(msgspec.json.encode(move), type=Move) == move
    assert {"close_at", "sent"} <= set(SavedOpening.__struct_fields__)
    assert "book" in SavedSignal.__struct_fields__


def test_a_moment_that_had_passed_is_that_of_the_next_candle() -> None:
    """A live run would tell of an order that is late, were it one of before the opening."""
    signal = long(until=datetime(2024, 1, 1, 0, 6, tzinfo=UTC), price_open=95.0)
    rules, at = rules_of(), ORIGIN + 8 * MINUTE
    state: Any = step(Flat(), Answer(ORIGIN + 5 * MINUTE, 100.0, signal), rules).state
    for minute in (ORIGIN + 5 * MINUTE, at):
        low = 94.0 if minute == at else 100.0
        state = step(state, Minute(minute, 100.0, 100.0, low, 100.0, 100.0), rules).state
    assert state.book.deadline == at + MINUTE


def test_at_its_close_a_session_is_over() -> None:
    clock = SessionClock(SHORT_DAYS, MINUTE)
    times = open_times(SHORT_DAYS)
    assert clock.session_end(times[19]) == times[19] + MINUTE
    assert clock.session_end(times[19] + MINUTE) == times[39] + MINUTE
    assert SessionClock(None, MINUTE).session_end(ORIGIN) == ORIGIN + 24 * 60 * MINUTE


@pytest.mark.parametrize("managed", [False, True])
def test_a_moment_of_such_a_run_can_be_looked_at(*, managed: bool) -> None:
    def manage(position: Any) -> Any:
        return bknb.Move(until="session_end") if position.minutes == 3 else None

    signal = long(until="session_end-5m", bars=30, price_open=100.0, valid=None)
    options: dict[str, Any] = {"manage": manage, "manage_interval": "1m"} if managed else {}
    result, times = ran(lambda: signal, **options), open_times(SHORT_DAYS)
    states = [result.at(datetime.fromtimestamp(times[k] / 1000, UTC)).state for k in (7, 14, 15)]
    assert states == ["open", "open", "open" if managed else "leaving"]
    assert "until session_end-5m, 30 candles" in str(result.at(datetime.fromtimestamp(times[9] / 1000, UTC)))


@pytest.mark.parametrize("signal", [long(until="session_end"), long(bars=9), long(entry="close", until="session_end")])
def test_a_moment_of_a_run_knows_the_clock_of_its_market(signal: Any) -> None:
    row = ClockRow("", {5: signal}, answers={12: None})
    get_signal, manage = functions_of(row)
    strategy = bknb.add_strategy("clocked", interval="1m", get_signal=get_signal, manage=manage, manage_interval="1m")
    result = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=clock_source(row), settings=FREE,
        frame=(ORIGIN, open_times(SHORT_DAYS)[60]),
    )  # fmt: skip
    number = 28 if signal.entry == "close" else 9
    moment = result.at(open_times(SHORT_DAYS)[number])
    assert moment.state == "open"
    assert moment.manage(lambda: bknb.Close(at="close")).accepted
    before = result.at(open_times(SHORT_DAYS)[5])
    assert before.ask(lambda: bknb.Signal(side="short", until="16:00")).accepted
