"""Weights of several symbols live: what is held, told and paid is that of the portfolio over the same minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_account import money_of
from test_live_parity import JumpingClock
from test_live_portfolio import UNTIL, backtest, live, told
from worlds import SETTINGS, drawn_weights, signals, walk

import bknb
from bknb.live.portfolio_clock import LivePortfolioClock
from bknb.live.turn_lock import Turn
from bknb.testing.clocks import SimulatedClock

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")


def in_hours(rows: list[list[float]]) -> Any:
    """The rows of a market that is closed now and then."""
    hours = bknb.Sessions.weekly("UTC", {"mon-sun": "00:00-00:20, 00:51-01:30, 01:45-24:00"})
    minutes = [*range(20, 51), *range(90, 105)]
    return bknb.exchanges.in_sessions(
        source([row for row in rows if (row[0] - ORIGIN) // MINUTE not in minutes]), hours
    )


def weights_of(
    seed: int, *, gone: float = 0.0, late: int = 0, most: float = 1.0, closed: Sequence[str] = (), **options: Any
) -> dict[str, Any]:
    """Random weights on random walks; of some minutes are gone, the last begins ``late``, some are ``closed``."""
    drawn = drawn_weights(seed, most, levels=not closed)
    given = {"interval": "1m", "get_weights": drawn, "tolerance": 1.0} | options
    bknb.weights("rotation", symbols=SYMBOLS, **given)
    random, candles, hours = np.random.default_rng(seed), {}, {}
    for at, symbol in enumerate(SYMBOLS):
        rows = [row for row in walk(seed * 10 + at) if row[0] < ORIGIN or not gone or random.random() >= gone]
        if at == len(SYMBOLS) - 1:
            rows = [row for row in rows if not late or row[0] >= ORIGIN + late * MINUTE]
        candles[symbol] = bknb.Candles.from_rows(rows)
        hours[symbol] = in_hours(rows) if symbol in closed else source(rows)
    run = {"strategies": ["rotation"], "exchange": bknb.exchanges.FrameSource(candles), "settings": SETTINGS}
    run |= {"exchange": hours} if closed else {}
    return run | ({"allow_gaps": True} if gone or late else {})


BARS = {"AUSDT": "5m", "BUSDT": "1m", "CUSDT": "15m"}
BY_SYMBOL = {"AUSDT": bknb.Spot()} | {
    symbol: bknb.Perpetual(leverage=leverage, mode="isolated") for symbol, leverage in (("BUSDT", 2), ("CUSDT", 3))
}
EVERY_25 = ", ".join(f"{minute // 60:02}:{minute % 60:02} UTC" for minute in range(3, 120, 25))
EVERY_TENTH = ", ".join(f"{minute // 60:02}:{minute % 60:02} UTC" for minute in range(3, 130, 10))
WORLDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "every minute": ({}, {"capital": 10_000}),
    "slots": ({"interval": "5m"}, {"capital": 10_000, "costs": bknb.Costs(taker=0.05)}),
    "without a capital": ({"interval": "15m", "reenter": True, "cash_buffer_percent": 3}, {}),
    "jumping": ({"most": 2.0}, {"capital": 500, "account": bknb.Margin(leverage=2, mode="isolated")}),
    "accounts by symbol": ({"most": 1.6}, {"capital": 500, "account": BY_SYMBOL}),
    "schedule": ({"interval": None, "at": EVERY_TENTH}, {"capital": 10_000}),
    "gone": ({"gone": 0.05}, {"capital": 10_000}),
    "gone in slots": ({"gone": 0.1, "interval": "5m"}, {"capital": 10_000}),
    "late": ({"late": 40}, {"capital": 10_000}),
    "hours": ({"interval": "3m", "closed": ["AUSDT"]}, {"capital": 10_000, "costs": bknb.Costs(taker=0.05)}),
    "hours by a schedule": (
        {"interval": None, "at": EVERY_TENTH, "closed": ["BUSDT", "CUSDT"], "gone": 0.03},
        {"capital": 10_000},
    ),
    "hours together": ({"together": True, "interval": "5m", "closed": ["CUSDT"]}, {"capital": 10_000}),
    "hours and bars": ({"interval": "15m", "closed": ["CUSDT"]}, {"capital": 10_000, "base": BARS}),
    "bars": ({"interval": "15m", "gone": 0.02}, {"capital": 10_000, "base": BARS}),
    "bars by a schedule": ({"interval": None, "at": EVERY_25, "gone": 0.05}, {"capital": 10_000, "base": BARS}),
    "bars together": ({"together": True, "interval": "15m"}, {"capital": 10_000, "base": BARS}),
    "together": ({"together": True, "interval": "3m"}, {"capital": 10_000}),
    "together in slots": ({"together": True, "interval": "15m", "gone": 0.03}, {"capital": 1_000}),
}

SLOW = [("slots", 2), ("without a capital", 3), ("gone in slots", 7), ("together in slots", 11), ("late", 8)]
SLOW += [("accounts by symbol", 8), ("bars", 8), ("bars together", 2), ("hours", 2)]


@pytest.mark.parametrize(
    ("world", "seed"),
    [
        *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW),
        *(pytest.param(each, seed, marks=pytest.mark.long) for each in WORLDS for seed in range(20, 30)),
    ],
)
def test_weights_of_several_symbols_are_those_of_the_portfolio(world: str, seed: int) -> None:
    options, account = WORLDS[world]
    clock = JumpingClock(ORIGIN, seed) if world == "jumping" else SimulatedClock(ORIGIN)
    until = ORIGIN + 120 * MINUTE if "bars" in world else UNTIL  # no longer bar is under way then
    result = live(weights_of(seed, **options) | account, clock, until=until)
    expected = backtest(weights_of(seed, **options) | account, result, until)
    assert told(result, until) == told(expected, until)
    assert money_of(result, until) == money_of(expected, until)
    if "together" in world:
        whole = len(result.groups) - 1  # the last one may be ended by the end of the frame
        assert result.groups.head(whole).equals(expected.groups.head(whole))
    if (world, seed) in SLOW:  # it is known what happens there
        told_of = [[text for text in each.warnings if "one factor" in text] for each in (result, expected)]
        assert told_of[0] == told_of[1]
        assert (len(result.scaled) > 0) == bool(told_of[0])
        kinds = {kind for leg in result.legs.values() for kind in leg.fills["kind"]}
        assert kinds >= ({"entry", "exit"} if "together" in world else {"entry", "add", "reduce", "exit"})
        assert ("together" in result.trades["close_reason"].tolist()) == ("together" in world)
        assert len(result.scaled) > 0 or "together" in world
        rejected = any(len(leg.rejected) > 0 for leg in result.legs.values())
        assert rejected or world != "accounts by symbol"


@pytest.mark.long
def test_weights_of_several_symbols_beside_signals_are_those_of_the_portfolio() -> None:
    def both() -> dict[str, Any]:
        run = weights_of(9, interval="3m")
        beside = bknb.add_strategy("beside", interval="1m", get_signal=signals(9))
        money = {"capital": 10_000, "sizing": {"beside": "percent:20"}, "costs": bknb.Costs(taker=0.05)}
        return run | {"strategies": ["rotation", beside], "symbols": ["BUSDT"]} | money

    result = live(both(), SimulatedClock(ORIGIN))
    expected = backtest(both(), result)
    assert told(result) == told(expected)
    assert money_of(result) == money_of(expected)
    assert {trade.strategy for trade in result.told if isinstance(trade, bknb.Closed)} == {"rotation", "beside"}


class StoreOfMoments(bknb.stores.MemoryStore):
    """A store that keeps what it held before each write: where a process that was killed there left it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, tuple[str, ...]]] = []
        self.before: list[dict[tuple[str, tuple[str, ...]], bytes]] = []
        self.held: dict[tuple[str, tuple[str, ...]], bytes] = {}
        self.on_write: Callable[[], object] = dict

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        self.on_write()
        self.before.append(dict(self.held))
        self.written.append((kind, key))
        super().write(kind, key, payload)
        self.held[kind, key] = payload

    def delete(self, kind: str, key: tuple[str, ...]) -> None:
        super().delete(kind, key)
        self.held.pop((kind, key), None)


def left_behind(values: dict[tuple[str, tuple[str, ...]], bytes]) -> Any:
    """A store with what a process left."""
    store = bknb.stores.memory()
    with store:
        for (kind, key), payload in values.items():
            store.write(kind, key, payload)
    return store


@pytest.mark.slow
def test_what_is_reserved_for_an_order_that_has_ended_is_free_after_a_restart() -> None:
    """An add is taken back with its position at minute 4, and the process ends before a save knows of it."""
    symbols = ("AUSDT", "BUSDT")
    bknb.weights("rotation", symbols=symbols, interval="1m", get_weights=drawn_weights(7), tolerance=1.0)
    candles = {symbol: bknb.Candles.from_rows(walk(seed)) for seed, symbol in enumerate(symbols, 3)}
    run: dict[str, Any] = {"strategies": ["rotation"], "exchange": bknb.exchanges.FrameSource(candles)}
    run |= {"settings": SETTINGS, "capital": 10_000, "costs": bknb.Costs(taker=0.05)}
    clock, store, until, times = SimulatedClock(ORIGIN), StoreOfMoments(), ORIGIN + 6 * MINUTE, list[int]()
    store.on_write = lambda: times.append(clock.now())
    whole = live(run, clock, store, until=until)
    killed = [left for when, left in zip(times, store.before, strict=True) if when == ORIGIN + 4 * MINUTE]
    ends = [live(run, SimulatedClock(ORIGIN + 4 * MINUTE), left_behind(left), until=until) for left in killed]
    assert len(killed) > 5
    assert [end.run_account.end for end in ends] == [whole.run_account.end] * len(killed)


def halves_at(minute: int, *, asked: list[int], interval: str = "15m") -> dict[str, Any]:
    """A half in each of two symbols from a minute on."""

    def get_weights(ctx: Any) -> Any:
        asked.append((ctx.when_ms - ORIGIN) // MINUTE)
        return {"A": 0.4, "B": 0.4} if asked[-1] == minute else None

    bknb.weights("halves", symbols=["A", "B"], interval=interval, get_weights=get_weights)
    return {
        "strategies": ["halves"], "exchange": {"A": source(walk(1)), "B": source(walk(2))}, "settings": SETTINGS,
        "capital": 1_000,
    }  # fmt: skip


def entries(result: Any) -> dict[str, list[int]]:
    """The minutes at which each symbol was bought."""
    fills = {symbol: leg.fills for (symbol, _), leg in result.legs.items()}
    return {
        symbol: [int((at.value // 10**6 - ORIGIN) // MINUTE) for at in rows["at"][rows["kind"] == "entry"]]
        for symbol, rows in fills.items()
    }


def killed_behind_the_first_change() -> tuple[dict[tuple[str, tuple[str, ...]], bytes], Any]:
    """What is on the disk where A has its order of minute 15 and B has not, and what an undisturbed run holds."""
    asked: list[int] = []
    store = StoreOfMoments()
    whole = live(halves_at(15, asked=asked), SimulatedClock(ORIGIN), store, until=ORIGIN + 50 * MINUTE)
    assert asked == [0, 15, 30, 45]
    assert entries(whole) == {"A": [15], "B": [15]}
    planned = f'"when":{ORIGIN + 15 * MINUTE}'.encode()
    key = ("plan", ("portfolio", "halves"))
    plan = next(at for at, held in enumerate(store.before) if planned in held.get(key, b""))
    first = store.written.index(("signal", ("halves", "A")), plan)
    return store.before[first + 1], whole


@pytest.mark.slow
def test_a_restart_goes_on_with_the_plan_from_the_first_change_that_is_not_done() -> None:
    """The strategy would answer otherwise: it is not asked again."""
    values, whole = killed_behind_the_first_change()
    asked: list[int] = []
    again = live(
        halves_at(-1, asked=asked), SimulatedClock(ORIGIN + 15 * MINUTE), left_behind(values),
        until=ORIGIN + 50 * MINUTE,
    )  # fmt: skip
    assert asked == [30, 45]
    assert entries(again) == {"A": [15], "B": [15]}
    assert money_of(again)[1] == money_of(whole)[1]
    assert again.run_account.end == whole.run_account.end


@pytest.mark.slow
def test_a_symbol_of_which_nothing_was_saved_does_its_part_of_the_first_plan() -> None:
    """The process ends between the first orders of A and B; it goes on within that minute."""
    asked, store, until = list[int](), StoreOfMoments(), ORIGIN + 10 * MINUTE
    whole = live(halves_at(0, asked=asked), SimulatedClock(ORIGIN), store, until=until)
    values = store.before[store.written.index(("signal", ("halves", "A"))) + 1]
    assert ("signal", ("halves", "B")) not in values
    asked.clear()
    again = live(halves_at(-1, asked=asked), SimulatedClock(ORIGIN + 20_000), left_behind(values), until=until)
    assert asked == []
    assert entries(again) == entries(whole) == {"A": [0], "B": [0]}
    assert again.run_account.end == whole.run_account.end


@pytest.mark.slow
def test_a_plan_whose_slot_is_over_is_dropped_and_told() -> None:
    values, _ = killed_behind_the_first_change()
    asked: list[int] = []
    again = live(
        halves_at(-1, asked=asked), SimulatedClock(ORIGIN + 31 * MINUTE), left_behind(values),
        until=ORIGIN + 50 * MINUTE,
    )  # fmt: skip
    assert asked == [30, 45]
    assert entries(again) == {"A": [15], "B": []}
    told = [error.message for leg in again.legs.values() for error in leg.errors if "is stale" in error.message]
    began = "the plan of 'halves' of 2024-01-01 00:15 UTC is stale, as its slot was over at 2024-01-01 00:31 UTC"
    assert told == [f"{began}: what B had not done of it is dropped"]


@pytest.mark.slow
@pytest.mark.parametrize(("comes_after", "bought"), [(1, 15), (99, None)])
def test_a_candle_that_get_weights_looks_at_is_waited_for(comes_after: int, bought: int | None) -> None:
    """It is asked for weights again once it may be there; where it does not come, the slot passes without an answer."""
    asked: list[int] = []

    def get_weights(ctx: Any) -> Any:
        asked.append((ctx.when_ms - ORIGIN) // MINUTE)
        if asked[-1] == 15 and asked.count(15) <= comes_after:
            raise bknb.NotEnoughData("a candle of C has closed and not come", late=True)
        return {"A": 0.4, "B": 0.4} if asked[-1] == 15 else None

    run = halves_at(15, asked=[])
    bknb.weights("halves", symbols=["A", "B"], interval="15m", get_weights=get_weights)
    settings = SETTINGS | {"patience_minutes": 5}
    result = live(run | {"settings": settings}, SimulatedClock(ORIGIN), until=ORIGIN + 50 * MINUTE)
    warm_up = [error.count for leg in result.legs.values() for error in leg.errors if error.kind == "warm-up"]
    assert warm_up == ([] if bought else [1])
    assert asked.count(15) > 1
    assert sorted({*asked}) == [0, 15, 30, 45]
    assert entries(result) == ({"A": [bought], "B": [bought]} if bought else {"A": [], "B": []})


@pytest.mark.slow
def test_a_plan_is_that_of_its_portfolio() -> None:
    """Another one whose strategy has the same name, and other symbols, in the same store, is asked in the same slot."""
    candles = bknb.exchanges.FrameSource({name: bknb.Candles.from_rows(walk(at)) for at, name in enumerate("ABCD")})
    store, clock, bought = bknb.stores.memory(), SimulatedClock(ORIGIN), []
    for name, symbols in (("first", ["A", "B"]), ("second", ["C", "D"])):
        bknb.weights("halves", symbols=symbols, interval="1d", get_weights=lambda ctx: dict.fromkeys(ctx.symbols, 0.4))
        until = clock.now() + 5 * MINUTE
        result = live({"strategies": ["halves"], "exchange": candles, "settings": SETTINGS, "name": name}, clock, store,
                      until=until)  # fmt: skip
        bought.append([leg for leg, minutes in entries(result).items() if minutes])
    assert bought == [["A", "B"], ["C", "D"]]


class FailingStore(bknb.stores.MemoryStore):
    """A store that fails at every 31st write of a plan, an account or a state."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        is_counted = kind in ("plan", "portfolio", "signal")
        self.count += is_counted
        if is_counted and self.count % 31 == 3:
            raise bknb.StateError("the disk is full")
        super().write(kind, key, payload)


@pytest.mark.slow
def test_a_plan_that_cannot_be_saved_is_carried_out_at_the_next_minute() -> None:
    options, account = WORLDS["slots"]
    result = live(weights_of(6, **options) | account, SimulatedClock(ORIGIN), FailingStore())
    expected = backtest(weights_of(6, **options) | account, result)
    assert sum(error.count for leg in result.legs.values() for error in leg.errors if error.kind == "state") > 5
    assert told(result) == told(expected)
    assert money_of(result) == money_of(expected)
    assert len(result.trades) > 3


def test_a_leg_that_has_something_to_end_does_it_before_the_others_go_on() -> None:
    """The second leg waits for its next bar when the first one ends something that ends it, too."""
    clock = LivePortfolioClock(SimulatedClock(ORIGIN), [5 * MINUTE] * 2, longest=MINUTE)
    legs, locks, moment = [clock.leg(0), clock.leg(1)], [Turn(), Turn()], ORIGIN + MINUTE
    seen: list[str] = []

    async def first() -> None:
        async with locks[0]:
            assert await legs[0].bar(ORIGIN, moment)
            seen.append("bar")
            clock.end_first(1, moment)
            assert await legs[0].manage(moment)
            seen.append("manage")
            legs[0].over()

    async def second() -> None:
        async with locks[1]:
            assert not await legs[1].bar(moment, moment + MINUTE)
            assert await legs[1].ends(moment)
            seen.append("ends")
            assert await legs[1].bar(moment, moment + MINUTE)
            seen.append("next bar")
            legs[1].over()

    async def both() -> None:
        for leg, lock in zip(legs, locks, strict=True):
            leg.begin(lock, lambda *_: None)
        await asyncio.wait_for(asyncio.gather(second(), first()), 10)

    asyncio.run(both())
    assert seen == ["bar", "ends", "manage", "next bar"]


@pytest.mark.parametrize("answers", [True, False])
def test_a_leg_that_was_given_up_and_looks_is_waited_for_unless_its_exchange_does_not_answer(*, answers: bool) -> None:
    """All are woken at once: the first one has its bar at once, the second one has it while it looks."""
    time = SimulatedClock(ORIGIN)
    clock = LivePortfolioClock(time, [0, 0], longest=MINUTE, look_seconds=30.0 if answers else 0.001)
    legs, locks, moment = [clock.leg(0), clock.leg(1)], [Turn(), Turn()], ORIGIN + MINUTE
    seen: list[str] = []
    has_gone = asyncio.Event()

    async def first() -> None:
        async with locks[0]:
            for closes in (moment, moment + MINUTE):
                async with locks[0].given_up():
                    await legs[0].sleep(closes, closes, time.sleep_until)
                assert await legs[0].bar(closes - MINUTE, closes)
                seen.append(f"first {(closes - ORIGIN) // MINUTE}")
            has_gone.set()
            legs[0].over()

    async def second() -> None:
        async with locks[1]:
            for wakes in (moment, moment + MINUTE):
                async with locks[1].given_up():
                    await legs[1].sleep(wakes, moment, time.sleep_until)
                    for _ in range(20):
                        await asyncio.sleep(0)
            if not answers:
                async with locks[1].given_up():
                    await has_gone.wait()
            assert await legs[1].bar(moment - MINUTE, moment)
            seen.append("second 1")
            assert await legs[1].bar(moment, moment + MINUTE)
            seen.append("second 2")
            legs[1].over()

    async def both() -> None:
        for leg, lock in zip(legs, locks, strict=True):
            leg.begin(lock, lambda *_: None)
        await asyncio.wait_for(asyncio.gather(first(), second()), 10)

    asyncio.run(both())
    later = ["second 1", "first 2", "second 2"] if answers else ["first 2", "second 1", "second 2"]
    assert seen == ["first 1", *later]
