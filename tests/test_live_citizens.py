"""User code of one live run that blocks: the others go on, it is given up, and that is told."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from minute_clock import MinuteClock
from quick import some_quick
from scenarios import MINUTE, ORIGIN, source
from test_live import UNTIL, HeldClock, start, story
from test_live_bad_days import Told
from waiting import until
from worlds import signals, walk

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.errors import BknbError
from bknb.exchanges.candle_bundle import Record, RecordingSource
from bknb.live.event_loop_lag import LagWatch
from bknb.live.runtime import RUNTIME
from bknb.live.user_code_in_threads import broker_outside, quantity_outside
from bknb.market.calls_in_threads import UserCalls, user_calls_of
from bknb.market.demo import DemoSource
from bknb.runs import candles_fetched_before_they_closed, weak_source
from bknb.testing.brokers import FaultyBroker

SOON = {"max_signal_generation_seconds": 1, "get_candles_timeout_seconds": 1, "get_candles_retry_count": 1}


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What somebody waits for until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def whole() -> list[tuple[str, int, str]]:
    strategy = bknb.add_strategy("good", interval="1m", get_signal=signals(36))
    return story(start(strategy).result(20))


# --- sources in front of a user's own -----------------------------------------------------------------------------


class Blocking(DemoSource):
    """A source of the user's own that blocks for a while."""

    def __init__(self, never: threading.Event) -> None:
        super().__init__()
        self.never = never

    async def get_candles(self, *asked: Any) -> Any:
        self.never.wait(60)
        return await super().get_candles(*asked)


@pytest.mark.parametrize("front", ["recorded", "watched", "held weakly"])
def test_a_source_that_blocks_behind_one_of_bknb_holds_up_no_loop(front: str, never: threading.Event) -> None:
    blocking = Blocking(never)
    sources: dict[str, Any] = {
        "recorded": lambda: RecordingSource(blocking, Record(), "mine"),
        "watched": lambda: candles_fetched_before_they_closed.RecordingSource(blocking, ORIGIN, []),
        "held weakly": lambda: weak_source._WeakSource(blocking),
    }

    async def scene() -> None:
        async with asyncio.timeout(0.05):
            await sources[front]().get_candles("BTCUSDT", "1m", ORIGIN, 1)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(scene())
    assert time.monotonic() - began < 20


# --- calls outside ------------------------------------------------------------------------------------------------


async def given_up(call: Coroutine[Any, Any, object], begun: Callable[[], bool]) -> None:
    """Make a call, and give it up once it has begun."""
    calling = asyncio.create_task(call)
    assert await asyncio.to_thread(until, begun)
    calling.cancel()
    await asyncio.wait({calling})


def test_a_loop_that_is_blocked_is_left_and_the_next_call_gets_another(never: threading.Event) -> None:
    calls, begun = UserCalls("test", answer_seconds=0.05), threading.Event()

    async def blocks() -> None:
        begun.set()
        never.wait(60)

    async def where() -> int:
        return threading.get_ident()

    async def scene() -> tuple[int, int, int]:
        first = await calls.on_loop(where)
        second = await calls.on_loop(where)
        await given_up(calls.on_loop(blocks), begun.is_set)
        return first, second, await calls.on_loop(where)

    first, second, third = asyncio.run(scene())
    assert first == second != third


def test_a_call_that_is_given_up_while_it_awaits_is_cancelled_and_keeps_its_loop() -> None:
    calls, cancelled = UserCalls("test"), threading.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def where() -> int:
        return threading.get_ident()

    async def scene() -> tuple[int, int]:
        first = await calls.on_loop(where)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await calls.on_loop(waits)
        assert await asyncio.to_thread(cancelled.wait, 20)
        return first, await calls.on_loop(where)

    first, second = asyncio.run(scene())
    assert first == second


def test_a_loop_that_answers_is_kept_however_soon_the_next_call_comes() -> None:
    calls = UserCalls("test", answer_seconds=20)

    async def where() -> int:
        return threading.get_ident()

    async def scene() -> set[int]:
        threads = set()
        for _ in range(20):
            threads.add(await calls.on_loop(where))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await calls.on_loop(asyncio.Event().wait)
        return threads | {await calls.on_loop(where)}

    assert len(asyncio.run(scene())) == 1


def test_a_loop_that_was_left_ends_and_is_not_kept(never: threading.Event) -> None:
    calls, threads = UserCalls("test", answer_seconds=0.05), []
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def blocks() -> None:
        threads.append(threading.current_thread())
        loops.append(weakref.ref(asyncio.get_running_loop()))
        never.wait(60)

    async def scene() -> None:
        for count in range(1, 4):
            await given_up(calls.on_loop(blocks), lambda: len(loops) == count)  # noqa: B023 -- called before the next
            await calls.on_loop(lambda: asyncio.sleep(0))

    asyncio.run(scene())
    never.set()
    for thread in threads:
        thread.join(20)
    assert [thread.is_alive() for thread in threads] == [False] * 3
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3


def test_a_call_that_is_given_up_before_it_begins_does_not_begin() -> None:
    """Its loop is busy meanwhile, and answers before the call would have its turn."""
    calls, busy, free, begun = UserCalls("test", answer_seconds=20), threading.Event(), threading.Event(), list[str]()

    async def holds_up() -> int:
        busy.set()
        assert free.wait(20)
        return threading.get_ident()

    async def begins() -> None:
        begun.append("it began")

    async def where() -> int:
        return threading.get_ident()

    async def scene() -> tuple[int, int]:
        first = asyncio.create_task(calls.on_loop(holds_up))
        assert await asyncio.to_thread(busy.wait, 20)
        second = asyncio.create_task(calls.on_loop(begins))
        for _ in range(3):  # until it waits
            await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        free.set()
        return await first, await calls.on_loop(where)

    first, next_ = asyncio.run(scene())
    assert first == next_
    assert begun == []


def test_a_plain_call_that_is_given_up_before_its_thread_gets_to_it_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, there, free, begun = UserCalls("slow"), threading.Event(), threading.Event(), list[str]()

    class Slow:
        """Variables of a context in which a thread is slow to begin."""

        def run(self, function: Callable[..., object], *given: object) -> object:
            there.set()
            assert free.wait(20)
            return function(*given)

    monkeypatch.setattr("bknb.market.calls_in_threads.copy_context", Slow)
    asyncio.run(given_up(calls.in_thread(lambda: begun.append("it began")), there.is_set))
    threads = [thread for thread in threading.enumerate() if thread.name == "bknb-slow"]
    free.set()
    for thread in threads:
        thread.join(20)
    assert len(threads) == 1
    assert begun == []


def test_what_never_returns_is_not_called_for_ever(never: threading.Event) -> None:
    calls, begun = UserCalls("test"), list[int]()

    def hangs() -> None:
        begun.append(threading.get_ident())
        never.wait(60)

    async def scene() -> None:
        for count in range(1, 9):
            await given_up(calls.in_thread(hangs), lambda: len(begun) == count)  # noqa: B023 -- called before the next
        with pytest.raises(BknbError, match="8 earlier calls of it have not returned"):
            await calls.in_thread(lambda: None)
        never.set()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(BknbError):
                    await calls.in_thread(lambda: None)
                    break
                await asyncio.sleep(0.001)

    asyncio.run(scene())


def test_what_did_not_return_is_tried_now_and_then_and_called_again_when_it_does(
    never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, now, hanging = UserCalls("test", probe_seconds=600), [1000.0], [0]
    monkeypatch.setattr("bknb.market.calls_in_threads.stopwatch", lambda: now[0])

    async def hang() -> None:
        began = threading.Event()

        def hangs() -> None:
            hanging[0] += 1
            began.set()
            never.wait(60)

        task = asyncio.create_task(calls.in_thread(hangs))
        async with asyncio.timeout(20):
            while not (began.is_set() or task.done()):  # noqa: ASYNC110 -- set by a thread
                await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def scene() -> None:
        for _ in range(8):
            await hang()
        for wait, count in ((599, 8), (1, 9), (599, 9)):
            now[0] += wait
            with contextlib.suppress(BknbError):
                await hang()
            assert hanging[0] == count
        with pytest.raises(BknbError, match="9 earlier calls of it have not returned"):
            await calls.in_thread(lambda: None)
        now[0] += 1
        for _ in range(80):
            with contextlib.suppress(BknbError):
                await calls.in_thread(lambda: None)
                await hang()
        assert hanging[0] == 64

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["plain", "awaited"])
def test_a_thread_that_computes_without_end_is_ended_when_its_call_is_given_up(how: str) -> None:
    calls, threads = UserCalls("test", answer_seconds=0.05), []

    def spins() -> None:
        threads.append(threading.current_thread())
        while True:
            pass

    async def spins_too() -> None:
        spins()

    async def waits() -> str:
        started.set()
        await asyncio.sleep(0.3)
        return "done"

    async def scene() -> list[str]:
        beside = asyncio.create_task(calls.on_loop(waits))
        assert await asyncio.to_thread(started.wait, 20)
        await given_up(calls.in_thread(spins) if how == "plain" else calls.on_loop(spins_too), lambda: bool(threads))
        return [await calls.on_loop(lambda: asyncio.sleep(0, "next")), await beside]

    started = threading.Event()
    assert asyncio.run(scene()) == ["next", "done"]
    threads[0].join(20)
    assert not threads[0].is_alive()


class Unwatched:
    """What no weak reference can be made of."""

    __slots__ = ()


def test_one_owner_has_one_place_and_copies_have_their_own() -> None:
    def owner() -> None: ...

    assert user_calls_of(owner, "x") is user_calls_of(owner, "x")
    assert user_calls_of(owner, "x") is not user_calls_of(whole, "x")
    unwatched = Unwatched()
    assert user_calls_of(unwatched, "x") is user_calls_of(unwatched, "x")
    copied = copy.deepcopy(UserCalls("x", limited=True))
    assert asyncio.run(copied.in_thread(lambda: 3)) == 3


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), StopIteration()])
def test_what_would_end_more_than_the_call_is_an_error_of_the_call(error: BaseException) -> None:
    def raises() -> None:
        raise error

    async def raises_later() -> None:
        raise error

    calls = UserCalls("test")
    with pytest.raises(BknbError):
        asyncio.run(calls.in_thread(raises))
    with pytest.raises((BknbError, RuntimeError)):
        asyncio.run(calls.on_loop(raises_later))


# --- beside a live run --------------------------------------------------------------------------------------------


def beside(bad: Any, **options: Any) -> tuple[list[tuple[str, int, str]], bknb.Result]:
    """What a good run tells, and the result of a bad one that was started before it and has not ended."""
    held = start(bad, settings=SOON, until=ORIGIN + 6 * MINUTE, **options)
    good = start(bknb.add_strategy("good", interval="1m", get_signal=signals(36)))
    told = story(good.result(20))
    return told, held.result(30)


def test_another_run_goes_on_to_its_end_while_a_coroutine_blocks(never: threading.Event) -> None:
    begun = threading.Event()

    async def blocks(ctx: Any) -> None:
        begun.set()
        never.wait(60)

    until_soon = ORIGIN + 5 * MINUTE
    held = start(bknb.add_strategy("bad", interval="1m", get_signal=blocks), until=until_soon)
    assert begun.wait(20)
    good = start(bknb.add_strategy("good", interval="1m", get_signal=signals(36)), until=until_soon)
    assert good.result(20).end == until_soon
    assert held.status == "pending"
    never.set()
    result = held.result(20)
    assert (result.end, result.errors) == (until_soon, [])


@pytest.mark.slow
@pytest.mark.parametrize("when", ["strategy", "callback", "rule"])
def test_a_coroutine_that_blocks_holds_up_no_other_run_and_is_given_up(when: str, never: threading.Event) -> None:
    expected, blocked = whole(), []

    async def blocks(ctx: Any) -> Any:
        if not blocked:
            blocked.append(threading.current_thread())
            never.wait(60)

    def always(ctx: Any) -> Any:
        return {"position": "long", "price_take_profit": ctx.price * 1.1, "price_stop_loss": ctx.price * 0.9,
                "minute_estimated_time": 60}  # fmt: skip

    bknb.add_risk("blocks", validations=[blocks])
    bad = bknb.add_strategy("bad", interval="1m", get_signal=blocks if when == "strategy" else always,
                            callbacks={"on_open": blocks} if when == "callback" else {},
                            risk="blocks" if when == "rule" else None)  # fmt: skip
    told, result = beside(bad)
    assert told == expected
    kind = {"strategy": ["timeout"], "callback": ["callback"], "rule": []}[when]
    assert [error.kind for error in result.errors] == kind
    if when == "rule":
        assert "took longer than max_signal_generation_seconds = 1" in result.refused[0].note
    assert blocked[0].name != "bknb-live"
    assert result.end == ORIGIN + 6 * MINUTE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["function", "object"])
def test_a_source_that_blocks_holds_up_no_other_run_and_no_backtest(kind: str, never: threading.Event) -> None:
    expected, calls, good = whole(), [0], source(walk(36))

    async def blocks(symbol: str, interval: str, since: int, limit: int) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            never.wait(60)
        return await good.get_candles(symbol, interval, since, limit)

    class Blocks:
        name, intervals, page_limit = "blocks", ("1m",), None
        format_price, format_quantity = good.format_price, good.format_quantity

        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Any:
            return await blocks(symbol, interval, since, limit)

    exchange = bknb.add_exchange("blocks", get_candles=blocks, intervals=["1m"]) if kind == "function" else Blocks()
    told, result = beside(bknb.add_strategy("bad", interval="1m", get_signal=lambda: None), exchange=exchange)
    assert told == expected
    assert [error.kind for error in result.errors] == ["exchange"]
    assert "it did not answer within 1 s" in result.errors[0].message
    assert result.end == ORIGIN + 6 * MINUTE


@pytest.mark.slow
def test_a_listener_of_candles_that_blocks_holds_up_no_other_run(never: threading.Event) -> None:
    expected, calls = whole(), [0]

    def blocks(*_: Any) -> None:
        calls[0] += 1
        if calls[0] == 3:
            never.wait(60)

    exchange = bknb.add_exchange("listens", get_candles=source(walk(36)).get_candles, intervals=["1m"],
                                 callbacks={"on_candle_data": blocks})  # fmt: skip
    told, result = beside(bknb.add_strategy("bad", interval="1m", get_signal=lambda: None), exchange=exchange)
    assert told == expected
    assert [error.kind for error in result.errors] == ["callback"]
    assert "on_candle_data took longer than 1 s" in result.errors[0].message
    assert result.end == ORIGIN + 6 * MINUTE


@pytest.mark.slow
def test_a_listener_of_candles_that_raises_holds_up_nothing() -> None:
    expected, calls = whole(), [0]

    def raises(*_: Any) -> None:
        calls[0] += 1
        raise ValueError("a bug in a callback")

    exchange = bknb.add_exchange("listens", get_candles=source(walk(36)).get_candles, intervals=["1m"],
                                 callbacks={"on_candle_data": raises})  # fmt: skip
    result = start("good", exchange=exchange).result(20)
    assert story(result) == expected
    assert [(error.kind, error.count) for error in result.errors] == [("callback", calls[0])]
    assert calls[0] > 100


@pytest.mark.slow
def test_a_broker_that_blocks_holds_up_no_other_run(never: threading.Event) -> None:
    expected = whole()

    class Blocks:
        name = "blocks"

        async def place(self, order: Any) -> Any:
            never.wait(60)

        cancel = report = place

        async def open_orders(self, symbol: str) -> Any:
            return []

    bad = bknb.add_strategy("bad", interval="1m", get_signal=signals(36))
    held = start(bad, broker=Blocks(), quantity=1.0, until=None)
    told = story(start("good").result(20))
    held.stop(now=True)
    held.result(20)
    assert told == expected


@pytest.mark.slow
@pytest.mark.parametrize("blocks", some_quick([False, True], [True]))
def test_a_market_of_a_broker_that_blocks_holds_up_no_other_run(*, blocks: bool, never: threading.Event) -> None:
    """It is called outside, as its orders are, which are there before the candle that fills them."""
    where: set[str] = set()

    class Market:
        name = "market"

        def __init__(self) -> None:
            self.paper = PaperBroker()
            self.place, self.cancel = self.paper.place, self.paper.cancel
            self.report, self.open_orders = self.paper.report, self.paper.open_orders

        def saw(self, symbol: str, minute: Any) -> None:
            where.add(threading.current_thread().name)
            if blocks:
                never.wait(60)
            self.paper.saw(symbol, minute)

    def get_signal(when: Any) -> bknb.Signal | None:
        return bknb.Signal(side="long", minute_estimated_time=5) if when.minute % 20 == 0 else None

    expected = whole()
    bad, broker = bknb.add_strategy("bad", interval="1m", get_signal=get_signal), Market()
    task = start(bad, broker=broker, quantity=1.0, clock=MinuteClock(ORIGIN), until=None if blocks else UNTIL)
    if blocks:
        assert until(lambda: bool(where))
        assert story(start("good").result(20)) == expected
        task.stop(now=True)
        task.result(20)
        return
    result = task.result(20)
    assert where == {"bknb-broker-market"}
    paper = PaperBroker()
    alone = start(bad, broker=paper, quantity=1.0, clock=MinuteClock(ORIGIN)).result(20)
    assert story(result) == story(alone)
    assert [order.average_price for order in broker.paper.orders.values()] == [
        order.average_price for order in paper.orders.values()
    ]
    assert len(paper.orders) == 13


def test_a_function_of_the_quantity_is_called_outside_and_given_up(never: threading.Event) -> None:
    where: list[int] = []

    def quantity(_signal: Any) -> float:
        where.append(threading.get_ident())
        never.wait(60)
        return 1.0

    async def scene() -> None:
        outside: Any = quantity_outside(quantity, seconds=0.02)
        with pytest.raises(TimeoutError, match="the function of the quantity took longer than"):
            await outside(None)
        assert where != [threading.get_ident()]

    asyncio.run(scene())
    assert quantity_outside(2.0, seconds=0.02) == 2.0


@pytest.mark.slow
def test_a_function_of_the_quantity_that_blocks_holds_up_no_other_run_and_is_given_up(never: threading.Event) -> None:
    expected, broker = whole(), bknb.brokers.paper()

    def quantity(_signal: Any) -> float:
        never.wait(60)
        return 1.0

    bad = bknb.add_strategy("bad", interval="1m", get_signal=signals(36))
    held = start(bad, broker=broker, quantity=quantity, until=None, settings=SOON)
    told = story(start("good").result(20))
    assert until(lambda: held.orders is not None and len(held.orders) > 0)
    held.stop(now=True)
    result = held.result(20)
    assert told == expected
    text = "the function of the quantity took longer than max_signal_generation_seconds = 1"
    assert (result.errors[0].kind, text in result.errors[0].message) == ("broker", True)
    assert broker.orders == {}


def test_brokers_of_bknb_are_called_where_they_are() -> None:
    paper = bknb.brokers.paper()
    for broker in (paper, FaultyBroker(paper)):
        assert broker_outside(broker) is broker


# --- the lag of the loop ------------------------------------------------------------------------------------------


def test_a_loop_that_is_blocked_is_told_once_with_the_line(never: threading.Event) -> None:
    told: list[str] = []

    async def scene() -> None:
        watch = LagWatch(asyncio.get_running_loop(), every_seconds=0.001, long_seconds=0.05)
        watch.listeners.append(told.append)
        watch.start()
        for count in (1, 2):
            deadline = time.monotonic() + 20
            while len(told) < count and time.monotonic() < deadline:
                pass  # blocks the loop
            await asyncio.sleep(0.01)
        watch.stop()

    asyncio.run(scene())
    assert len(told) == 2
    assert "the loop of all live runs has not answered for 0.05 s" in told[0]
    assert "test_live_citizens.py" in told[0]


def test_a_lag_is_told_to_every_run_that_goes_on() -> None:
    asked = threading.Event()

    def get_signal() -> None:
        asked.set()

    bknb.add_strategy("w", interval="1m", get_signal=get_signal)

    with Told() as heard:
        task = start("w", clock=HeldClock(ORIGIN, hold_at=ORIGIN), until=None)
        assert asked.wait(20)
        assert RUNTIME.lag is not None
        for tell in RUNTIME.lag.listeners:
            tell("it is blocked")
        task.stop(now=True)
        result = task.result(20)
    assert [error.kind for error in result.errors] == ["lag"]
    assert [event.message for event in heard] == ["it is blocked"]
    assert not RUNTIME.lag.listeners
