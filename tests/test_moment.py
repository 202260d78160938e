"""A minute of a run, stepped into: the same candles, the same answer, nothing later."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import MINUTE, ORIGIN, source
from test_engine_properties import LENGTH, MODELS, SEEDS, walk

import bknb
from bknb.domain.signal_events import Opened, Scheduled
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.runs.nested_loop import run_here
from bknb.runs.result import Result
from bknb.runs.run_record import record_of
from bknb.testing.clocks import SimulatedClock

FRAME = ("2024-01-01", "2024-01-03")


def limit(price: float) -> bknb.Signal:
    return bknb.Signal(
        position="long",
        price_open=price * 0.999,
        price_take_profit=price * 1.01,
        price_stop_loss=price * 0.98,
        minute_estimated_time=300,
    )


def patient(ctx: Any) -> bknb.Signal:
    return limit(ctx.price)


@pytest.fixture(scope="module")
def result() -> bknb.Result:
    return bknb.backtest("BTCUSDT", strategy=patient, interval="1h", exchange="demo", frame=FRAME)


# -- the same as in the run --------------------------------------------------------------------------------------


class World:
    """A random strategy over a random walk that writes down what it saw and answered."""

    def __init__(self, seed: int, model: str) -> None:
        self.seed = seed
        self.seen: dict[int, list[Any]] = {}
        self.answered: dict[int, Any] = {}
        plan = plan_backtest(
            "BTCUSDT",
            strategy=self.get_signal,
            exchange=source(walk(seed)),
            frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
            interval="1m",
            execution=model,
            settings={"schedule_await_minutes": 30},
        )
        run = BacktestRun(plan)

        async def through() -> None:
            async for _ in run.results():
                pass

        asyncio.run(through())
        self.result = Result(record_of(run))

    def look(self, random: np.random.Generator) -> list[Any]:
        """A few questions about candles, answers and errors alike."""
        answers: list[Any] = [bknb.get_when(), bknb.get_average_price()]
        for _ in range(2):
            interval, limit = str(random.choice(["1m", "3m", "15m"])), int(random.integers(1, 90))
            try:
                answers.append(bknb.get_candles("BTCUSDT", interval, limit))
            except bknb.DataError as error:
                answers.append(f"{type(error).__name__}: {error}")
        return answers

    def get_signal(self, ctx: Any) -> Any:
        random = np.random.default_rng([self.seed, ctx.when_ms // MINUTE])
        seen = self.look(random)
        sign = 1 if random.random() < 0.5 else -1
        entry = ctx.price * (1 - sign * random.uniform(-0.005, 0.02))
        answer = None
        if random.random() < 0.4:
            answer = {
                "position": "long" if sign > 0 else "short",
                "price_take_profit": entry * (1 + sign * random.uniform(-0.001, 0.05)),  # some are rejected
                "price_stop_loss": entry * (1 - sign * random.uniform(0.004, 0.05)),
                "minute_estimated_time": int(random.integers(1, 90)),
            } | ({"price_open": entry} if random.random() < 0.5 else {})
        self.seen.setdefault(ctx.when_ms, seen)
        self.answered.setdefault(ctx.when_ms, answer)
        assert seen == self.seen[ctx.when_ms]
        assert answer == self.answered[ctx.when_ms]
        return answer


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_asking_again_is_the_same_to_the_last_digit(model: str, seed: int) -> None:
    world = World(seed, model)
    result = world.result
    assert not result.errors
    records = result.run_record.records
    decisions = {event.when: event for event in records.rejected}
    for event in records.events:
        if isinstance(event, (Opened, Scheduled)):
            decisions.setdefault(event.signal.scheduled_at, event)
    before = dict(world.answered)
    for when, answer in before.items():
        moment = result.at(when)
        asked = moment.ask()
        assert asked.answer == answer
        assert asked.event == decisions.get(when)
        assert moment.decision == decisions.get(when)
        assert asked.accepted == isinstance(decisions.get(when), (Opened, Scheduled))
        assert moment.state in ("flat", "leaving")  # the run only asks when nothing stays open
    assert world.answered == before  # asking again asked at the same minutes, and every answer was compared there


@pytest.mark.slow
@given(seed=SEEDS, at=st.integers(0, LENGTH), model=st.sampled_from(MODELS))
@settings(max_examples=25)
def test_open_signals_of_a_moment_equal_the_events_before_it(seed: int, at: int, model: str) -> None:
    result = World(seed, model).result
    when = ORIGIN + at * MINUTE
    moment = result.at(when)
    by_clock = ("timeout", "frame_end")  # known at its moment, and no candle's doing
    past = [
        event
        for event in result.events
        if event.when < when or (event.when == when and getattr(event, "reason", "") in by_clock)
    ]
    expected = {"opened": "open", "scheduled": "scheduled"}.get(past[-1].action if past else "", "flat")
    if expected == "open" and model != "vwap":  # what the clock has ended leaves at the next candle
        opened = past[-1].signal
        over = at == LENGTH or when >= opened.pending_at + opened.minute_estimated_time * MINUTE
        expected = "leaving" if over else "open"
    assert moment.state == expected
    if expected == "flat":
        assert (moment.signal, moment.why) == (None, "")
    else:
        assert moment.signal == past[-1].signal
        story = moment.why.splitlines()
        assert 0 < len(story) <= len(result.why(moment.signal.id).splitlines())
        assert "closed:" not in moment.why
        assert "cancelled:" not in moment.why


# -- nothing later -----------------------------------------------------------------------------------------------


@given(at=st.integers(0, 2 * 1440), interval=st.sampled_from(["1m", "5m", "1h", "4h", "1d"]), limit=st.integers(1, 40))
@settings(max_examples=40)
def test_no_candle_and_no_base_of_one_is_later_than_the_minute(
    result: bknb.Result, at: int, interval: str, limit: int
) -> None:
    moment = result.at(result.start + at * MINUTE)
    candles = moment.candles(interval, limit)
    step = bknb.domain.interval.interval_ms(interval)
    assert len(candles) == limit
    assert int(candles.timestamp[-1]) + step <= moment.when_ms
    assert candles == moment.get_candles("BTCUSDT", interval, limit)
    for column in (candles.timestamp, candles.close):
        base = column
        while base.base is not None:
            base = base.base
        assert base.size == 6 * limit
        assert not base.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        candles.close[0] = 1.0


def test_too_little_history_is_reported_as_in_the_run() -> None:
    def greedy(ctx: Any) -> None:
        ctx.candles("15m", 50)

    rows = walk(7)
    result = bknb.backtest(
        "BTCUSDT", strategy=greedy, interval="1m", exchange=source(rows), frame=(ORIGIN, ORIGIN + 60 * MINUTE)
    )
    (failure,) = result.errors
    moment = result.at(failure.first_at)
    with pytest.raises(bknb.NotEnoughData) as asked:
        moment.ask()
    with pytest.raises(bknb.NotEnoughData) as looked:
        moment.candles("15m", 50)
    assert f"NotEnoughData: {asked.value}" == f"NotEnoughData: {looked.value}" == failure.message


# -- asking from a cell ------------------------------------------------------------------------------------------


def test_it_asks_in_the_calling_thread_with_prints_and_tracebacks(
    result: bknb.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = []

    def other(price: float, symbol: str) -> None:
        threads.append(threading.get_ident())
        print("saw", symbol, bknb.get_symbol(), price == bknb.get_average_price())  # noqa: T201 -- as in a cell
        raise ValueError("here")

    moment = result.at("2024-01-01 12:30")
    with pytest.raises(ValueError, match="here") as raised:
        moment.ask(other)
    assert threads == [threading.get_ident()]
    assert capsys.readouterr().out == "saw BTCUSDT BTCUSDT True\n"
    assert traceback.extract_tb(raised.value.__traceback__)[-1].name == "other"
    with pytest.raises(bknb.UsageError):
        bknb.get_when()  # the surroundings are taken away again


async def slow_patient(ctx: Any) -> bknb.Signal:
    first, second = await asyncio.gather(asyncio.sleep(0.001, ctx.price), asyncio.to_thread(bknb.get_average_price))
    assert first == second
    return limit(first)


def test_an_asynchronous_strategy_is_asked_here_too_even_inside_a_loop(result: bknb.Result) -> None:
    moment = result.at(result.events[0].signal.id)
    assert moment.ask(slow_patient).event == moment.decision

    async def inside() -> Any:
        outer, task = asyncio.get_running_loop(), asyncio.current_task()
        soon = outer.call_soon(lambda: None)
        asked = moment.ask(slow_patient)
        assert (asyncio.get_running_loop(), asyncio.current_task()) == (outer, task)
        soon.cancel()
        await asyncio.sleep(0.001)
        return asked

    assert asyncio.run(inside()).event == moment.decision


def test_what_an_asynchronous_strategy_leaves_behind_is_cleared_away() -> None:
    ended = []

    async def forgetful() -> int:
        async def late() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        forgetful.task = asyncio.create_task(late())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return 7

    assert run_here(forgetful()) == 7
    assert ended == [True]


def test_the_context_block_is_the_context_of_the_strategy(result: bknb.Result) -> None:
    moment = result.at("2024-01-02 06:00")
    with moment as same:
        assert same is moment
        assert bknb.get_when() == moment.when
        assert bknb.get_candles("ETHUSDT", "5m", 4).timestamp[-1] == moment.when_ms - 5 * MINUTE
        with result.at("2024-01-02 07:00"):
            assert bknb.get_when().hour == 7
        assert bknb.get_when().hour == 6
    with contextlib.suppress(KeyError), moment:
        raise KeyError
    with pytest.raises(bknb.UsageError):
        bknb.get_when()


def test_a_rejected_answer_lists_every_rule_and_the_risk_profile_is_asked(result: bknb.Result) -> None:
    moment = result.at("2024-01-01 08:00")
    asked = moment.ask(lambda price: limit(price) if False else {**_fields(limit(price)), "price_stop_loss": price * 2})
    assert not asked.accepted
    assert "stop_loss_side" in [reason.code for reason in asked.reasons]
    assert "rejected" in repr(asked)
    assert moment.ask(lambda: None).event is None
    bknb.add_risk("never", validations=[{"validate": lambda request: False, "note": "not today"}])
    bknb.add_strategy("held-back", interval="1h", get_signal=patient, risk="never")
    refused = moment.ask("held-back")
    assert [reason.text for reason in refused.reasons] == ["risk profile 'never' refuses: not today"]
    held = bknb.backtest("BTCUSDT", strategy="held-back", exchange="demo", frame=FRAME)
    first = held.at(held.refused[0].when)
    assert first.ask().event == first.decision == held.refused[0]


def _fields(signal: bknb.Signal) -> dict[str, Any]:
    return {name: getattr(signal, name) for name in signal.__struct_fields__}


def test_another_function_gets_the_parameters_of_the_run() -> None:
    seen = []

    def tuned(ctx: Any, length: int = 1, other: int = 2) -> None:
        seen.append((length, other))

    def edited(ctx: Any, length: int = 5) -> bknb.Signal:
        seen.append((length,))
        return limit(ctx.price)

    bknb.add_strategy("tuned", interval="1h", get_signal=tuned, params={"length": 9, "other": 3})
    moment = bknb.backtest("BTCUSDT", strategy="tuned", exchange="demo", frame=FRAME).at("2024-01-01 12:00")
    seen.clear()
    moment.ask()
    assert moment.ask(edited).accepted
    assert seen == [(9, 3), (9,)]


def test_columns_at_once_are_asked_again_too() -> None:
    def get_signals(candles: Any) -> dict[str, Any]:
        close = candles.close
        up = np.zeros(len(close), dtype=int)
        up[3:] = close[3:] > close[:-3]
        return {
            "position": up,
            "price_take_profit": close * 1.02,
            "price_stop_loss": close * 0.98,
            "minute_estimated_time": np.full(len(close), 120),
        }

    bknb.add_strategy("columns", interval="15m", get_signals=get_signals, lookback=20)
    result = bknb.backtest("BTCUSDT", strategy="columns", exchange="demo", frame=FRAME)
    opened = [event for event in result.events if isinstance(event, Opened)]
    assert len(opened) > 5
    for event in opened:
        moment = result.at(event.signal.id)
        assert moment.ask().event == moment.decision == event


def test_stepping_into_a_live_run_is_refused_with_advice() -> None:
    live = bknb.Live.background(
        "BTCUSDT",
        strategy=lambda: None,
        exchange="demo",
        clock=SimulatedClock(ORIGIN),
        until=ORIGIN + 5 * MINUTE,
        store=bknb.stores.memory(),
    ).result(20)
    with pytest.raises(bknb.UsageError, match="only a backtest can be stepped into"):
        live.at(ORIGIN)


# -- naming and showing ------------------------------------------------------------------------------------------


def test_moments_and_signals_by_every_name(result: bknb.Result) -> None:
    moment = result.at("2024-01-01 10:15:59")
    assert (moment.symbol, moment.when.isoformat()) == ("BTCUSDT", "2024-01-01T10:15:00+00:00")
    assert result.at(moment.when).when_ms == result.at(moment.when_ms).when_ms == moment.when_ms
    first = result.events[0].signal
    assert result.at(first.id).when_ms == first.scheduled_at
    for wrong, error, text in [
        ("2025-01-01", bknb.UsageError, "the run covers 2024-01-01 00:00 UTC to 2024-01-03 00:00 UTC"),
        ("2024-13-01", bknb.UsageError, "must be a text such as"),
        (first.id + "x", bknb.UnknownName, f"did you mean {first.id!r}"),
        (None, bknb.UsageError, "must be a text such as"),
    ]:
        with pytest.raises(error, match=text):
            result.at(wrong)


def test_it_shows_what_was_known_and_only_that(result: bknb.Result) -> None:
    trade = result.trades.iloc[0]
    later = result.at(trade["pending_at"] + (trade["closed_at"] - trade["pending_at"]) / 2)
    text, html = repr(later), later._repr_html_()
    assert later.state == "open"
    for shown in (text, html):
        assert f"patient on BTCUSDT at {later.when:%Y-%m-%d %H:%M} UTC: price" in shown
        assert "is open, " in shown
        assert "opened: long at" in shown
        assert "closed:" not in shown
    last = later.when_ms // MINUTE - 1
    assert f"{last // 60 % 24:02d}:{last % 60:02d} " in text.splitlines()[-1]
    assert html.count("<tr>") == 6
    assert "<caption>the last 5 closed minutes of BTCUSDT</caption>" in html
    asked = result.at(trade["signal_id"])
    assert "the run scheduled long at" in repr(asked)
    assert repr(asked.ask()).startswith(f"{asked.when:%Y-%m-%d %H:%M} UTC: scheduled long at ")


def test_columns_of_very_small_prices_are_apart() -> None:
    price = 1.2345678e-8

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        return [(since + i * MINUTE, price, price, price, price, 123_456_789.0) for i in range(limit)]

    run = bknb.backtest("PEPE", strategy=lambda: None, exchange=get_candles, frame="2024-01-01:2024-01-01 01:00")
    head, *rows = repr(run.at("2024-01-01 00:30")).splitlines()[-6:]
    assert head.split() == ["minute", "open", "high", "low", "close", "volume"]
    for row in rows:
        assert row.split()[1:] == [*["0.000000012345678"] * 4, "123456789"]
    assert len({len(line) for line in (head, *rows)}) == 1
