"""Live runs with an account: sizes, money and refusals are those of the backtest, also where a process is killed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_parity import JumpingClock
from test_live_portfolio import UNTIL, backtest, legs_of, live, told, until_of
from worlds import SETTINGS, signals, walk

import bknb
from bknb.testing.clocks import SimulatedClock

ISOLATED = [bknb.Margin(3, 0.5, "isolated"), bknb.Perpetual(10, 0.5, "isolated")]
FUNDED = ("perpetual", "funding series", "cross", "bars", "places")  # of live_portfolio_life.py
WEIGHTS = ("weights", "weights together", "weights together bars", "weights hours")
FUNDING = [(ORIGIN + k * MINUTE, 0.0003 * (-1) ** k) for k in range(0, 400, 7)]
KINDS: dict[str, dict[str, Any]] = {
    "spot": {"account": "spot", "sizing": "percent:60", "costs": bknb.Costs(taker=0.05, maker=0.01)},
    "margin": {"account": ISOLATED[0], "sizing": bknb.size.Risk(2), "costs": bknb.Costs(taker=0.05, borrow_yearly=30)},
    "perpetual": {"account": ISOLATED[1], "sizing": "percent:150", "costs": bknb.Costs(taker=0.05, funding=FUNDING)},
    "atr": {"sizing": bknb.size.AtrRisk(1.0, multiple=2, interval="5m", length=5)},
    "function": {"sizing": lambda request: request.free * 0.4},
    "kelly": {"sizing": bknb.size.Kelly(0.5, after=3)},
}


HOLDS = {"position": "long", "price_take_profit": 200.0, "price_stop_loss": 20.0}
HOW: dict[str, Any] = {"gone": {"gone": 0.05}, "late": {"late": 40}, "bars": {"bars": ("5m", "1m", "15m", "1m")}}


def money_of(result: Any, until: int = UNTIL) -> list[Any]:
    """Every movement of cash, and what each trade bought and brought."""
    rows = [row for row in result.run_account.rows if row.at < until]
    trades = result.trades[result.trades["closed_at"] < pd.Timestamp(until, unit="ms", tz="UTC")]
    return [rows, trades[["signal_id", "quantity", "cost", "money", "scaled", "cut"]].to_numpy().tolist()]


def world(seed: int, kind: str, *, model: str = "pessimistic", **options: Any) -> dict[str, Any]:
    return legs_of(seed, count=2 + seed % 3, model=model, **options) | {"capital": 10_000} | KINDS[kind]


@pytest.mark.parametrize(
    ("kind", "seed", "model", "how"),
    [
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in [
                ("spot", 1, "pessimistic", "whole"),
                ("margin", 2, "touch", "gone"),
                ("perpetual", 3, "vwap", "jumping"),
                ("perpetual", 1, "pessimistic", "bars"),
            ]
        ),
        *(
            pytest.param(kind, seed, model, how, marks=pytest.mark.long)
            for kind in KINDS
            for seed in range(10)
            for model, how in [
                ("pessimistic", "whole"),
                ("touch", "gone"),
                ("vwap", "jumping"),
                ("pessimistic", "late"),
                ("touch", "bars"),
            ]
            if how != "bars" or kind != "atr"  # its candles are shorter than the longest bars
        ),
    ],
)
def test_money_is_that_of_the_portfolio(
    kind: str, seed: int, model: str, how: str, request: pytest.FixtureRequest
) -> None:
    until = until_of(request)
    if how == "bars":
        until -= (until - ORIGIN) % (15 * MINUTE)  # no bar is under way at the end
    options = world(seed, kind, model=model, **HOW.get(how, {}))
    clock = JumpingClock(ORIGIN, seed) if how == "jumping" else SimulatedClock(ORIGIN)
    result = live(options, clock, until=until)
    expected = backtest(options, result, until)
    assert told(result, until) == told(expected, until)
    assert money_of(result, until) == money_of(expected, until)
    assert len(result.run_account.rows) > 8


def rates(clock: Any, *, late: int = 0, asked: list[int] | None = None) -> Any:
    """A function with the rows of funding that have come by a clock, each ``late`` minutes late; some calls fail."""
    calls = [] if asked is None else asked

    def read(since: int, until: int) -> pd.DataFrame:
        calls.append(until)
        if late and 20 < (until - ORIGIN) // MINUTE < 24:
            raise OSError("no answer")
        now = clock.now() if until < UNTIL + 60 * MINUTE else until
        rows = [(moment, rate) for moment, rate in FUNDING if since <= moment <= min(until, now - late * MINUTE)]
        return pd.DataFrame(rows, columns=["published_at", "rate"])

    return read


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "function"])
def test_funding_by_a_series_is_that_of_the_portfolio(kind: str) -> None:
    clock, asked = SimulatedClock(ORIGIN), list[int]()
    table = pd.DataFrame(FUNDING, columns=["published_at", "rate"])
    bknb.add_series("rates", table if kind == "table" else rates(clock, asked=asked))
    options = world(3, "perpetual") | {"costs": bknb.Costs(taker=0.05, funding="rates")}
    result = live(options, clock)
    clock.advance(clock.now() + 1_000 * MINUTE)
    expected = backtest(options, result)
    assert told(result) == told(expected)
    assert money_of(result) == money_of(expected)
    assert result.run_account.end.funding != 0.0
    assert (len(asked) > 100) == (kind == "function")


def charged(result: Any) -> list[tuple[int, str]]:
    """The moments of funding that were charged, and the leg of each."""
    return [(row.at, row.leg) for row in result.run_account.rows if row.kind == "funding"]


@pytest.mark.slow
def test_funding_that_comes_late_is_charged_then_and_none_twice() -> None:
    options = world(3, "perpetual") | {"costs": bknb.Costs(taker=0.05, funding="rates")}
    options["settings"] = SETTINGS | {"get_candles_retry_delay_ms": 0}
    found, ends, until = [], [], ORIGIN + 90 * MINUTE
    for late in (0, 2):
        clock = SimulatedClock(ORIGIN)
        bknb.add_series("rates", rates(clock, late=late))
        result = live(options, clock, until=until)
        found.append(charged(result))
        ends.append(result.run_account.end)
        told_of = [error.message for leg in result.legs.values() for error in leg.errors if "rates" in error.message]
        assert (told_of != []) == (late > 0)
    assert sorted(found[1]) == sorted(found[0])
    assert len({*found[0]}) == len(found[0]) > 3

    clock, store = SimulatedClock(ORIGIN), bknb.stores.memory()
    bknb.add_series("rates", rates(clock))
    before = live(options, clock, store, until=found[0][len(found[0]) // 2][0] + MINUTE)
    assert before.run_account.end.positions
    after = live(options, clock, store, until=until)
    assert charged(before) + charged(after) == found[0]
    assert after.run_account.end == ends[0]
    assert not [error for leg in after.legs.values() for error in leg.errors]


@pytest.mark.slow
def test_a_row_of_funding_that_comes_behind_a_later_one_is_not_charged_and_told_once() -> None:
    options = world(3, "perpetual") | {"costs": bknb.Costs(taker=0.05, funding="rates")}
    behind, until, found = ORIGIN + 42 * MINUTE, ORIGIN + 60 * MINUTE, []
    for comes in (behind, behind + 12 * MINUTE, None):
        clock = SimulatedClock(ORIGIN)
        regular = rates(clock)

        def read(since: int, until: int, comes: int | None = comes, regular: Any = regular) -> pd.DataFrame:
            rows = regular(since, until)
            return rows if comes is not None and until >= comes else rows[rows["published_at"] != behind]

        bknb.add_series("rates", read)
        result = live(options, clock, until=until)
        found.append(charged(result))
        told_of = [error for leg in result.legs.values() for error in leg.errors if "behind" in error.message]
        if comes in (behind, None):
            assert told_of == []
            continue
        assert len(told_of) == len(result.legs)
        for error in told_of:
            assert (error.kind, error.count) == ("exchange", 1)
            row = "the row of 2024-01-01 00:42 UTC"
            assert error.message == f"series 'rates': {row} came behind a later one that was charged: it is not charged"
    assert found[1] == found[2]
    assert {*found[0]} - {*found[1]} == {row for row in found[0] if row[0] == behind} != set()


@pytest.mark.slow
def test_a_row_of_funding_behind_a_charged_one_that_comes_between_two_processes_is_told_once() -> None:
    options = world(3, "perpetual") | {"costs": bknb.Costs(taker=0.05, funding="rates")}
    behind, store, clock = ORIGIN + 42 * MINUTE, bknb.stores.memory(), SimulatedClock(ORIGIN)
    regular, found = rates(clock), []
    for minute in (52, 56, 60):

        def read(since: int, until: int, regular: Any = regular, hidden: int = behind * (minute == 52)) -> pd.DataFrame:
            rows = regular(since, until)
            return rows[rows["published_at"] != hidden]

        bknb.add_series("rates", read)
        result = live(options, clock, store, until=ORIGIN + minute * MINUTE)
        found.append([error.message for leg in result.legs.values() for error in leg.errors])
        assert behind not in [moment for moment, _ in charged(result)]
    text = "series 'rates': the row of 2024-01-01 00:42 UTC came behind a later one that was charged: it is not charged"
    assert found == [[], [text] * len(result.legs), []]


@pytest.mark.slow
@pytest.mark.parametrize(
    "account", [bknb.Perpetual(1), ISOLATED[1], bknb.Perpetual(10, 0.5)], ids=["1", "own", "cross"]
)
def test_funding_due_by_the_end_of_a_run_is_charged(account: Any) -> None:
    """Two longs of 400 from minute 15 on; funding is due in the last quarter, at its close, and later."""
    bknb.add_strategy("holds", interval="15m", get_signal=lambda when: HOLDS if when.minute == 15 else None)
    flat = source([[ORIGIN + k * MINUTE, *[100.0] * 4, 100.0] for k in range(-60, 120)])
    options = {
        "legs": [("A", "holds"), ("B", "holds")], "base": {"A": "15m", "B": "15m"}, "exchange": {"A": flat, "B": flat},
        "settings": SETTINGS, "capital": 1000, "account": account, "sizing": "percent:40",
        "costs": bknb.Costs(taker=0.0, slippage=0.0, funding=[(ORIGIN + k * MINUTE, 0.001) for k in (20, 50, 60, 70)]),
    }  # fmt: skip
    store, clock, until = bknb.stores.memory(), SimulatedClock(ORIGIN), ORIGIN + 60 * MINUTE
    first = live(options, clock, store, until=until)
    paid = [((row.at - ORIGIN) // MINUTE, row.amount) for row in first.run_account.rows if row.kind == "funding"]
    assert paid == [(minute, pytest.approx(-0.4)) for minute in (20, 20, 50, 50, 60, 60)]
    assert float(first.equity.iloc[-1]) == float(backtest(options, first, until).equity.iloc[-1])
    second = live(options, clock, store, until=until + 30 * MINUTE)
    assert second.run_account.end == live(options, SimulatedClock(ORIGIN), until=until + 30 * MINUTE).run_account.end
    assert second.run_account.end.funding == pytest.approx(3.2)


@pytest.mark.slow
def test_funding_due_by_the_end_of_a_run_alone_is_charged() -> None:
    bknb.add_strategy("holds", interval="1m", get_signal=lambda when: HOLDS if when.minute == 5 else None)
    flat = source([[ORIGIN + k * MINUTE, *[100.0] * 4, 100.0] for k in range(-60, 120)])
    task = bknb.Live.background(
        "A", strategy="holds", exchange=flat, clock=SimulatedClock(ORIGIN), until=ORIGIN + 60 * MINUTE,
        store=bknb.stores.memory(), capital=1000, account=bknb.Perpetual(1), sizing="percent:40",
        costs=bknb.Costs(taker=0.0, slippage=0.0, funding=[(ORIGIN + 60 * MINUTE, 0.001)]),
    )  # fmt: skip
    assert task.result(timeout=60).run_record.money.end.funding == pytest.approx(0.4)


@pytest.mark.slow
def test_a_process_that_goes_on_within_a_longer_bar_knows_the_closes_at_its_open() -> None:
    """A is held from minute 1 on, and falls to 90 at minute 31; B is bought at the open of its bar of minute 30."""

    def get_signal(when: Any, price: float, symbol: str) -> Any:
        if when.minute == {"A": 1, "B": 30}[symbol] and when.hour == 0:
            return {"position": "long", "price_take_profit": 200.0, "price_stop_loss": 20.0}
        return None

    rows = [[ORIGIN + k * MINUTE, *[90.0 if k >= 31 else 100.0] * 4, 100.0] for k in range(-60, 100)]
    for symbol, interval in (("A", "1m"), ("B", "30m")):
        bknb.add_strategy(symbol, interval=interval, get_signal=get_signal)
    options = {
        "legs": [("A", "A"), ("B", "B")], "base": {"A": "1m", "B": "30m"}, "settings": SETTINGS, "capital": 1000,
        "exchange": {"A": source(rows), "B": source([[at, *[100.0] * 4, 100.0] for at, *_ in rows])},
        "account": "perpetual:10", "sizing": "percent:500", "costs": bknb.Costs(taker=0.02, slippage=0.0),
    }  # fmt: skip
    ends = []
    for minutes in ([70], [50, 55, 70]):
        store, clock = bknb.stores.memory(), SimulatedClock(ORIGIN)
        for minute in minutes:
            result = live(options, clock, store, until=ORIGIN + minute * MINUTE)
        ends.append(result.run_account.end)
    assert ends[0] == ends[1]
    assert len(ends[0].positions) == 2


@pytest.mark.slow
def test_what_is_reserved_for_an_order_that_ended_in_silence_is_free() -> None:
    """A rests at minute 1 for seven minutes, and is silent from minute 3 to 40; B is opened at minutes 7, 8 and 20."""

    def get_signal(when: Any, price: float, symbol: str) -> Any:
        if symbol == "B" and when.minute in (7, 8, 20):
            return {"position": "long", "price_take_profit": 150.0, "price_stop_loss": 50.0, "minute_estimated_time": 1}
        if symbol == "A" and when.minute == 1:
            return {"position": "long", "price_take_profit": 150.0, "price_stop_loss": 50.0, "price_open": 90.0}
        return None

    bknb.add_strategy("once", interval="1m", get_signal=get_signal)
    rows = [[ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 100.0] for k in range(-60, 60)]
    silent = [row for row in rows if not 3 <= (row[0] - ORIGIN) // MINUTE < 40]
    options = {
        "legs": [("A", "once"), ("B", "once")], "exchange": {"A": source(silent), "B": source(rows)},
        "settings": {"schedule_await_minutes": 7, "patience_minutes": 2}, "allow_gaps": True,
        "capital": 1000, "account": "spot", "sizing": "percent:60", "costs": bknb.Costs(taker=0.0, slippage=0.0),
    }  # fmt: skip
    until = ORIGIN + 50 * MINUTE
    result = live(options, SimulatedClock(ORIGIN), until=until)
    expected = backtest(options, result, until)
    assert sorted(told(result, until)) == sorted(told(expected, until))  # live, that it ended is told with its next bar
    assert money_of(result, until) == money_of(expected, until)
    assert result.leg("B").trades["cost"].tolist() == [400.0, 600.0, 600.0]


@pytest.mark.parametrize(
    ("places", "kind", "killed"),
    [
        pytest.param("chosen", "perpetual", 7, marks=pytest.mark.slow),
        pytest.param("chosen", "weights together bars", 5, marks=pytest.mark.long),
        *(
            pytest.param("every", kind, 60, marks=pytest.mark.long)
            for kind in ("spot", "cross interest", *FUNDED, *WEIGHTS)
        ),
        *(pytest.param("chosen", kind, 7, marks=pytest.mark.long) for kind in ("funding series", "cross")),
        pytest.param("chosen", "broker", 7, marks=pytest.mark.long),
        pytest.param("chosen", "places", 7, marks=pytest.mark.long),
        pytest.param("chosen", "places broker", 7, marks=pytest.mark.long),
        pytest.param("chosen", "weights broker", 7, marks=pytest.mark.long),
    ],
)
def test_killed_at_any_change_of_the_disk_the_account_is_that_of_an_undisturbed_life(
    places: str, kind: str, killed: int, folder_in_memory: Path
) -> None:
    script = Path(__file__).with_name("live_portfolio_life.py")
    call = [sys.executable, script, folder_in_memory, places, kind]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert len(found["killed"]) >= killed
    assert found["trades"] > 2
    assert found["fills"] > 6
    assert (found["funding"] != 0.0) == (kind in FUNDED)
    assert (found["borrow"] != 0.0) == (kind == "cross interest")
    assert found["forgiven"] == (3 if kind.startswith("cross") else 0)


class FailingStore(bknb.stores.MemoryStore):
    """A store that fails at every seventh write: of an account, before it or behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        self.count += 1
        if self.count % 7 == 3:
            raise bknb.StateError("the disk is full")
        super().write(kind, key, payload)


@pytest.mark.slow
def test_what_cannot_be_saved_has_not_been_booked_and_is_done_at_the_next_minute() -> None:
    options = world(1, "spot")
    result = live(options, SimulatedClock(ORIGIN), FailingStore())
    expected = backtest(options, result)
    assert sum(error.count for leg in result.legs.values() for error in leg.errors if error.kind == "state") > 5
    assert told(result) == told(expected)
    assert money_of(result) == money_of(expected)
    assert len(result.trades) > 1


class FullStore(bknb.stores.MemoryStore):
    """A store that does not take the first value of a kind that holds a text."""

    def __init__(self, kind: str, text: bytes) -> None:
        super().__init__()
        self.left = [(kind, text)]

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        if any(each == kind and text in payload for each, text in self.left):
            self.left.clear()
            raise bknb.StateError("the disk is full")
        super().write(kind, key, payload)


@pytest.mark.parametrize("kind", ["portfolio", "signal"])
def test_an_add_that_cannot_be_saved_keeps_no_money_for_itself(kind: str) -> None:
    """A position of 60 is made larger by 30 of the 40 that are free, in a minute whose save fails."""
    rows = [[ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 100.0] for k in range(-60, 30)]

    def get_signal(when: Any, price: float) -> Any:
        levels = {"price_take_profit": 200.0, "price_stop_loss": 50.0}
        return {"position": "long", "minute_estimated_time": 20, **levels} if when.minute == 1 else None

    def manage(position: Any) -> Any:
        return bknb.Add(0.5) if position.entries == 1 else None

    strategy = bknb.add_strategy("adds", interval="1m", get_signal=get_signal, manage=manage, manage_interval="5m")
    options = {
        "legs": [("A", strategy)], "exchange": {"A": source(rows)}, "settings": SETTINGS, "capital": 1000,
        "sizing": "percent:60", "costs": bknb.Costs(taker=0.0, slippage=0.0),
    }  # fmt: skip
    order = {"portfolio": b'-20240101T0001",1,', "signal": b'"orders":[{'}
    store, until = FullStore(kind, order[kind]), ORIGIN + 20 * MINUTE
    result = live(options, SimulatedClock(ORIGIN), store, until=until)
    assert store.left == []
    assert [row.amount for row in result.run_account.rows if row.kind == "buy"] == [-600.0, -300.0]
    assert not result.run_account.end.reserved


class RefusingStore(bknb.stores.MemoryStore):
    """A store that takes nothing of one leg for half an hour."""

    def __init__(self, clock: SimulatedClock, leg: str) -> None:
        super().__init__()
        self.clock, self.leg = clock, leg

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        if self.leg in key and ORIGIN + 30 * MINUTE <= self.clock.now() < ORIGIN + 60 * MINUTE:
            raise bknb.StateError("the disk is full")
        super().write(kind, key, payload)


@pytest.mark.slow
def test_a_leg_of_which_nothing_can_be_saved_holds_the_others_up_for_its_patience_alone() -> None:
    options, clock = world(1, "spot"), SimulatedClock(ORIGIN)
    result = live(options, clock, RefusingStore(clock, "drawn 1"))
    (told_once,) = [error for error in result.leg("S1USDT").errors if error.kind == "silence"]
    assert told_once.count == 1
    assert {error.kind for leg in result.legs.values() for error in leg.errors} == {"state", "silence", "late"}
    others = [event.when for event in result.told if event.symbol != "S1USDT"]
    assert [when for when in others if ORIGIN + 41 * MINUTE < when < ORIGIN + 60 * MINUTE]
    assert {leg.end for leg in result.legs.values()} == {UNTIL}
    cash = result.run_account.rows[-1].cash
    assert cash == pytest.approx(10_000 + sum(row.amount for row in result.run_account.rows))


@pytest.mark.slow
def test_a_saved_account_is_taken_up_by_the_same_legs_and_capital_alone() -> None:
    options, store = world(1, "spot"), bknb.stores.memory()
    first = live(options, SimulatedClock(ORIGIN), store, until=ORIGIN + 60 * MINUTE)
    clock = SimulatedClock(ORIGIN + 60 * MINUTE)
    for change in ({"capital": 9_000}, {"legs": options["legs"][::-1]}):
        with pytest.raises(bknb.StateError, match="the saved account began with 10,000 and has the legs drawn 0 on"):
            live(options | change, clock, store)
    with pytest.raises(bknb.StateError, match=r"the saved account is Spot\(\), and account= is another"):
        live(options | {"account": bknb.Margin()}, clock, store)
    with pytest.raises(bknb.StateError, match=r"the saved account of .* has the position None"):
        live(options, clock, _without_account(store))
    second, whole = live(options, clock, store), live(options, SimulatedClock(ORIGIN))
    assert second.run_account.end == whole.run_account.end
    assert money_of(second)[1] == money_of(whole)[1]
    assert 0 < len(first.trades) < len(second.trades)
    assert float(second.equity.iloc[0]) == 10_000
    assert float(second.equity.iloc[-1]) == float(whole.equity.iloc[-1])


def _without_account(store: Any) -> Any:
    """A copy of a store in which the account is missing."""
    copied = bknb.stores.memory()
    with store, copied:
        for kind in ("signal", "schedule", "ended", "partial"):
            for key in store.keys(kind):
                copied.write(kind, key, store.read(kind, key))
    return copied


def single(seed: int, kind: str, **options: Any) -> dict[str, Any]:
    strategy = bknb.add_strategy("alone", interval="1m", get_signal=signals(seed), **options)
    run = {"strategy": strategy, "exchange": source(walk(seed)), "settings": SETTINGS}
    return run | {"capital": 10_000} | KINDS[kind]


@pytest.mark.parametrize("kind", ["margin", pytest.param("perpetual", marks=pytest.mark.slow)])
def test_a_live_run_with_a_capital_is_its_backtest(kind: str) -> None:
    options = single(7, kind)
    result = bknb.Live.background(
        "BTCUSDT", clock=SimulatedClock(ORIGIN), until=UNTIL, store=bknb.stores.memory(), **options
    ).result(60)
    expected = bknb.backtest("BTCUSDT", frame=(ORIGIN, UNTIL), **options)
    assert money_of_run(result) == money_of_run(expected)
    assert result.equity.iloc[:-3].tolist() == expected.equity.iloc[:-3].tolist()
    assert result.capital == 10_000
    assert len(result.trades) > 1


def money_of_run(result: Any) -> list[Any]:
    return [row for row in result.run_record.money.rows if row.at < UNTIL - 2 * MINUTE]


def test_a_broker_is_sent_what_the_account_granted() -> None:
    """The quantity is money over the last close; of a resting order, over its level."""
    options, broker = single(7, "spot"), bknb.brokers.paper()
    task = bknb.Live.background(
        "BTCUSDT", clock=SimulatedClock(ORIGIN), until=ORIGIN + 60 * MINUTE, store=bknb.stores.memory(), broker=broker,
        **options,
    )  # fmt: skip
    result = task.result(60)
    sent = task.orders[task.orders["purpose"] == "open"]
    positions = [*result.run_record.money_positions.values()]
    assert len(sent) == len(positions) > 2
    closes = {row[0] + MINUTE: row[4] for row in walk(7)}
    for order, position in zip(sent.itertuples(), positions, strict=True):
        filled = position.fills[0].fill.order  # of the same money, over the price that was paid
        over = order.price if order.kind == "limit" else closes[filled.at]
        assert order.quantity * over == pytest.approx(filled.quantity * filled.price, rel=1e-12)
        assert order.quantity == order.filled
    resting = sent["kind"] == "limit"
    assert resting.any()
    assert not resting.all()
    with pytest.raises(bknb.UsageError, match="give sizing=, and no quantity"):
        bknb.Live.background("BTCUSDT", broker=broker, quantity=1.0, store=bknb.stores.memory(), **options)


@pytest.mark.slow
def test_protections_know_what_was_closed_also_before_a_restart() -> None:
    """It is started again five minutes after its first loss, which forbids entries for half an hour."""
    options = single(7, "spot", risk="calm")
    bknb.add_risk("calm", validations=[bknb.protections.cooldown(pause="30m"), bknb.protections.max_drawdown(8)])
    expected = bknb.backtest("BTCUSDT", frame=(ORIGIN, UNTIL), **options)
    loss = expected.trades[expected.trades["money"] < 0.0]["closed_at"].iloc[0]
    store, half = bknb.stores.memory(), int(loss.timestamp() * 1000) + 5 * MINUTE
    for start, until in ((ORIGIN, half), (half, UNTIL)):
        task = bknb.Live.background("BTCUSDT", clock=SimulatedClock(start), until=until, store=store, **options)
        result = task.result(60)
    later = [event.when for event in expected.refused if half < event.when < UNTIL]
    assert later[0] < half + 25 * MINUTE
    assert [event.when for event in result.refused if event.when < UNTIL] == later
    assert result.trades["money"].tolist() == expected.trades["money"].tolist()[: len(result.trades)]


def test_funding_of_a_quiet_time_is_charged_at_the_closes_of_then_after_a_restart() -> None:
    """Nothing happens between minute 3 and 80; the run is started again at minute 60."""

    def get_signal(when: Any) -> Any:
        levels = {"price_take_profit": 500.0, "price_stop_loss": 1.0, "minute_estimated_time": 77}
        return {"position": "long"} | levels if when.minute == 3 else None

    strategy = bknb.add_strategy("quiet", interval="1m", get_signal=get_signal)
    costs = bknb.Costs(taker=0.05, funding=FUNDING)
    options = {"strategy": strategy, "exchange": source(walk(7)), "capital": 10_000, "account": bknb.Perpetual(),
               "sizing": "percent:50", "costs": costs}  # fmt: skip
    store, half = bknb.stores.memory(), ORIGIN + 60 * MINUTE
    for start, until in ((ORIGIN, half), (half, UNTIL)):
        task = bknb.Live.background("BTCUSDT", clock=SimulatedClock(start), until=until, store=store, **options)
        result = task.result(60)
    expected = bknb.backtest("BTCUSDT", frame=(ORIGIN, UNTIL), **options)
    assert result.trades["funding"].tolist()[:1] == expected.trades["funding"].tolist()[:1] != [0.0]
    assert result.trades["money"].tolist()[:1] == expected.trades["money"].tolist()[:1]


def test_what_an_account_does_not_do_live_is_refused() -> None:
    options = world(1, "spot") | {"store": bknb.stores.memory()}
    bknb.add_strategy("drawn 1", interval="5m", get_signal=signals(1))
    with pytest.raises(bknb.UnknownName, match="no series is called 'rates'"):
        bknb.Live.portfolio(**options | {"account": bknb.Perpetual(), "costs": bknb.Costs(funding="rates")})
    with pytest.raises(bknb.UsageError, match="sizing and account need a capital"):
        bknb.Live.portfolio(**{name: each for name, each in options.items() if name not in ("capital", "costs")})

    bknb.weights("halves", symbols=["S0USDT", "S1USDT"], interval="1h", get_weights=dict)
    alone = {name: options[name] for name in ("exchange", "store")} | {"strategies": ["halves"]}
    with pytest.raises(bknb.UsageError, match="'halves' answers with the weights of several symbols, which a broker"):
        bknb.Live.portfolio(**alone, broker=bknb.brokers.paper())
    exchange = {"S0USDT": source(walk(1)), "S1USDT": bknb.exchanges.in_sessions(source(walk(2)), "us-equities")}
    with pytest.raises(bknb.UsageError, match="need the same trading hours, and those of S1USDT are not those of S0U"):
        bknb.Live.portfolio(**alone | {"exchange": exchange, "broker": bknb.brokers.paper(), "capital": 10_000})


def test_an_option_that_a_live_portfolio_does_not_know_is_told_with_the_one_that_was_meant() -> None:
    told = {
        "capitel": "bknb.Live.portfolio takes no 'capitel'; did you mean 'capital'?",
        "frame": "bknb.Live.portfolio takes no 'frame': it begins now, and ends at until=",
        "benchmark": "takes no 'benchmark': live there is none; bknb.portfolio over that time has one",
        "executor": "takes no 'executor': live everything runs in this process",
        "zzzz": "takes no 'zzzz'; it takes account, adopt, allow_gaps, base, broker, capital, clock, costs",
    }
    for name, text in told.items():
        with pytest.raises(TypeError, match=re.escape(text)):
            bknb.Live.portfolio(**{name: 3})
    with pytest.raises(TypeError, match=r"bknb\.Live\.background takes no 'capitel'; did you mean 'capital'"):
        bknb.Live.background("BTCUSDT", strategy=lambda: None, exchange="demo", capitel=3)
    with pytest.raises(TypeError, match=r"bknb\.Portfolio takes no 'capitel'; did you mean 'capital'"):
        bknb.Portfolio.background(capitel=3)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("percent60", "percent:60"), ("60 %", "percent:60"), ("0.6", "percent:60"), ("risk1", "risk:1")],
)
def test_a_size_without_its_colon_is_told_as_it_is_written(given: str, meant: str) -> None:
    options = {"strategy": lambda: None, "exchange": "demo", "frame": "2024-01-01:2024-01-02", "capital": 10_000}
    with pytest.raises(bknb.UsageError, match=f"no sizing is called '{given}'; did you mean '{meant}'?"):
        bknb.backtest("BTCUSDT", sizing=given, **options)  # type: ignore[arg-type]


class NotGoneOver(dict[Any, Any]):
    """Positions that are not to be gone over one by one while their run goes on: there may be thousands of them."""

    clock = SimulatedClock(ORIGIN)

    def __iter__(self) -> Any:
        assert self.clock.now() >= UNTIL
        return super().__iter__()

    def items(self) -> Any:
        assert self.clock.now() >= UNTIL
        return super().items()

    def keys(self) -> Any:
        assert self.clock.now() >= UNTIL
        return super().keys()


@pytest.mark.slow
def test_a_turn_does_not_go_over_the_positions_of_before() -> None:
    options, there = single(7, "spot"), threading.Event()
    get_signal = signals(7)

    def guarded(when: Any, price: float) -> Any:
        assert there.wait(60)
        leg = task._money.account
        if when.minute > 20 and not isinstance(leg.positions, NotGoneOver):
            leg.positions = NotGoneOver(leg.positions)
        return get_signal(when, price)

    options["strategy"] = bknb.add_strategy("guarded", interval="1m", get_signal=guarded)
    NotGoneOver.clock = clock = SimulatedClock(ORIGIN)
    task = bknb.Live.background("BTCUSDT", clock=clock, until=UNTIL, store=bknb.stores.memory(), **options)
    there.set()
    result = task.result(60)
    assert isinstance(task._money.account.positions, NotGoneOver)
    assert result.errors == []
    assert len(result.trades) > 2
