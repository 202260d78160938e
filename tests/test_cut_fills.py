"""What the account cuts, or refuses, when an order fills is closed again at the broker: at once, once, and told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broker_journal import sent_twice
from cut_fill_world import AT_BROKER, RECORD, UNTIL, held, options
from desk_life import Life, script
from msgspec.structs import replace
from order_events import (
    MINUTE,
    added,
    cancelled,
    closed,
    holding,
    managed,
    opened,
    ordering,
    part,
    scheduled,
    taken_back,
)
from scenarios import ORIGIN, source
from test_live_portfolio import backtest, live, told
from test_live_portfolio_weights import StoreOfMoments, left_behind
from test_live_shared_margin import jumping
from worlds import SETTINGS, signals, walk

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.broker_orders_and_ids import Order, client_id, left_open
from bknb.domain.broker_orders_of_events import orders_after
from bknb.domain.next_order_action import due_actions, next_action
from bknb.domain.order_actions import CancelOrder, Place, Query, Save
from bknb.domain.quantity_of_partial_closes import size_of
from bknb.domain.sent_orders_reconciled_at_restart import reconcile
from bknb.live.saved_orders import read_orders
from bknb.testing.clocks import SimulatedClock

KEY = ("a", MINUTE)


def name_of(purpose: Any, number: int = 0, attempt: int = 1) -> str:
    return client_id("sma", "BTCUSDT", KEY, purpose, attempt, number)


# --- decisions ----------------------------------------------------------------------------------------------------


def entry(filled: float = 2.0, *, kept: float | None = 1.5, position: str = "long", **more: Any) -> Order:
    """An entry of 2, of which the record has so much."""
    (order,) = orders_after(scheduled(position=position), {}, lambda _signal: 2.0)
    order = replace(order, status="filled", filled_quantity=filled)
    (order,) = orders_after(opened(position=position, opened=3), {KEY: [order]}, lambda _signal: 2.0, lambda _s: kept)
    return replace(order, **more)


@pytest.mark.parametrize(("position", "side"), [("long", "sell"), ("short", "buy")])
def test_the_rest_of_an_entry_that_was_cut_is_closed_by_an_order_of_its_own(position: str, side: str) -> None:
    """It is known when the candle that filled the entry, the third, has closed."""
    first = entry(position=position)
    assert (first.kept, first.opened_at) == (1.5, 3 * MINUTE)
    action = next_action([first])
    assert isinstance(action, Save)
    rest = action.order
    assert (rest.purpose, rest.side, rest.kind, rest.quantity, rest.number) == ("reduce", side, "market", 0.5, 0)
    assert (rest.client_id, rest.created_at, rest.status) == (name_of("reduce"), 4 * MINUTE, "intended")
    assert next_action([first, rest]) == Place(rest)
    done = replace(rest, status="filled", filled_quantity=0.5)
    assert next_action([first, done]) is None
    assert left_open([first, done]) == 1.5


ROWS = [  # filled of 2, kept, and how much is closed again
    (2.0, None, 0.0), (2.0, 2.0, 0.0), (2.0, 3.0, 0.0), (2.0, 1.5, 0.5), (1.5, 1.5, 0.0),
    (1.5 * (1 + 1e-12), 1.5, 0.0), (1.0, 1.5, 0.0),
    (2.0, 2.0 * (1 - 1e-12), 0.0), (2.0, 0.0, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("filled", "kept", "closes"), ROWS)
def test_what_is_filled_beyond_what_the_record_has_is_closed(filled: float, kept: float | None, closes: float) -> None:
    actions = [action.order for action in due_actions([entry(filled, kept=kept)]) if isinstance(action, Save)]
    assert [order.quantity for order in actions] == ([closes] if closes else [])


def test_what_is_unfilled_of_an_entry_that_was_cut_is_cancelled_once_enough_is_filled() -> None:
    working = entry(1.0, kind="limit", status="partly_filled")
    assert next_action([working]) == Query(working)
    enough = replace(working, filled_quantity=1.75)
    assert next_action([enough]) == CancelOrder(enough)
    action = next_action([replace(enough, status="cancelled")])
    assert isinstance(action, Save)
    assert action.order.quantity == 0.25


def test_what_never_left_is_sent_as_large_as_the_record_has_it() -> None:
    (order,) = orders_after(scheduled(), {}, lambda _signal: 2.0)
    (order,) = orders_after(opened(), {KEY: [order]}, lambda _signal: 2.0, lambda _signal: 1.5)
    assert (order.quantity, order.kept, order.status) == (1.5, None, "intended")


def test_parts_and_adds_are_shares_of_what_the_record_has_of_the_entry() -> None:
    """Also before the rest of it is closed."""
    first = entry()
    part_, add = (replace(first, purpose=purpose, number=number, share=0.5, status="intended", kept=None)
                  for number, purpose in enumerate(("reduce", "add"), 1))  # fmt: skip
    assert size_of(part_, [first, part_, add]) == size_of(add, [first, part_, add]) == 0.75


def test_an_add_that_was_cut_counts_with_its_share_of_the_record() -> None:
    """Of 1 that was bought, the record has 0.7: 0.3 are sold again, and half of all is 1.35."""
    first = entry(kept=None)
    add = replace(first, client_id=name_of("add", 1), purpose="add", number=1, share=0.5, quantity=1.0,
                  filled_quantity=1.0, opened_at=None)  # fmt: skip
    (cut,) = orders_after(added(1, 0.35), {KEY: [first, add]}, lambda _signal: 2.0)
    assert (cut.share, cut.kept) == (0.35, pytest.approx(0.7))
    action = next_action([first, cut])
    assert isinstance(action, Save)
    assert (action.order.client_id, action.order.number) == (name_of("reduce", 1), 1)
    assert action.order.quantity == pytest.approx(0.3)
    half = replace(add, purpose="reduce", number=2, share=0.675, quantity=0.0, status="intended")
    assert size_of(half, [first, cut, half]) == pytest.approx(1.35)
    unsent = replace(add, quantity=0.0, status="intended", filled_quantity=0.0)
    (later,) = orders_after(added(1, 0.35), {KEY: [first, unsent]}, lambda _signal: 2.0)
    assert (later.share, later.kept) == (0.35, None)
    assert size_of(later, [first, later]) == pytest.approx(0.7)


def test_a_position_that_is_over_is_sold_by_one_order() -> None:
    """Whatever of it was to be closed before."""
    first = replace(entry(), ended_at=5 * MINUTE, exit_price=110.0)
    action = next_action([first])
    assert isinstance(action, Save)
    assert (action.order.purpose, action.order.quantity) == ("close", 2.0)


def test_a_restart_that_finds_the_position_knows_that_its_entry_was_cut() -> None:
    """Nobody told of it: the event was not followed."""
    (order,) = orders_after(scheduled(), {}, lambda _signal: 2.0)
    order = replace(order, status="filled", filled_quantity=2.0)
    found = reconcile([order], {}, held=[holding().signal], when=9 * MINUTE, kept_of=lambda _signal: 1.5)
    assert [saved.kept for saved in found.save] == [1.5]


# --- carried out --------------------------------------------------------------------------------------------------


async def is_opened(life: Life) -> None:
    """An order at the market has left and is filled, and the record opens its position."""
    await life.become(ordering())
    await life.receive(opened())


def test_the_rest_is_closed_and_told_with_both_quantities() -> None:
    life = Life(kept_of=lambda _signal: 1.5)
    life.live(lambda: is_opened(life))
    assert life.broker.position("BTCUSDT") == 1.5
    ((kind, text),) = life.told
    assert kind == "cut_fill"
    assert "2 of 2 filled; the record has 1.5 of it" in text
    assert text.endswith("so 0.5 BTCUSDT are closed again")


def test_it_is_told_before_the_rest_is_closed_and_a_refusal_is_tried_again() -> None:
    life = Life(broker=script(place=[None, "refuse", "refuse", None]), kept_of=lambda _signal: 1.5)

    async def play() -> None:
        await is_opened(life)
        await life.receive(closed())

    life.live(play)
    kinds = [kind for kind, _ in life.told]
    assert (kinds[0], kinds.count("cut_fill")) == ("cut_fill", 1)
    assert life.received[name_of("reduce", attempt=3)] == 1
    assert life.broker.position("BTCUSDT") == 0.0


@pytest.mark.parametrize("event", [cancelled(), replace(cancelled(), reason="risk")])
def test_what_is_refused_as_a_whole_is_told_by_the_same_words(event: Any) -> None:
    """An entry that the clock took back has another word."""
    life = Life()

    async def play() -> None:
        await life.receive(scheduled())
        life.broker.fill(name_of("open"))
        await life.receive(event)

    life.live(play)
    ((kind, text),) = life.told
    assert life.broker.position("BTCUSDT") == 0.0
    assert (kind, "the record has 0 of it" in text) == (
        ("cut_fill", True) if event.reason == "risk" else ("double_fill", False)
    )


def test_an_add_that_is_refused_as_a_whole_is_sold_again() -> None:
    life, order = Life(), part(1, 0.5, kind="add")

    async def play() -> None:
        await life.receive(opened())
        await life.become(managed(order))
        await life.receive(replace(taken_back(1), reason="risk"))

    life.live(play)
    assert life.broker.position("BTCUSDT") == 2.0
    ((kind, text),) = life.told
    assert kind == "cut_fill"
    assert "1 of 1 filled; the record has 0 of it" in text


@pytest.mark.parametrize("fault", ["lost_reply", "lost_request", "partly", "partly_cancelled", "delay"])
def test_whatever_the_broker_does_the_rest_is_closed_once(fault: str) -> None:
    life = Life(broker=script(place=[None, fault]), kept_of=lambda _signal: 1.5)

    async def play() -> None:
        await life.become(ordering())
        life.desk.follow(opened())
        for _ in range(20):
            await asyncio.sleep(0)
        for order in list(life.broker.orders.values()):
            if order.working:
                life.broker.fill(order.client_id)
        await life.restart(holding())
        await life.restart(holding())

    life.live(play)
    assert life.broker.position("BTCUSDT") == 1.5
    assert set(life.received.values()) == {1}


# --- in a portfolio -----------------------------------------------------------------------------------------------


class Noting(PaperBroker):
    """It notes what is held of each symbol in each minute."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.noted: dict[tuple[str, int], float] = {}

    def saw(self, symbol: str, minute: Any) -> None:
        super().saw(symbol, minute)
        self.noted[symbol, (minute.t - ORIGIN) // MINUTE] = self.position(symbol)

    @property
    def held(self) -> dict[int, float]:
        return {minute: quantity for (symbol, minute), quantity in self.noted.items() if symbol == "B" and minute >= 0}


def lived(clock: SimulatedClock, store: Any, broker: Noting) -> bknb.PortfolioResult:
    task = bknb.Live.portfolio(
        **options(), broker=broker, clock=clock, until=ORIGIN + UNTIL * MINUTE, store=store, late_minutes=10_000
    )
    return task.result(timeout=60)


def recorded(result: bknb.PortfolioResult, symbol: str = "B", until: int = UNTIL) -> list[float]:
    """How much the account holds of a symbol in each minute."""
    fills = result.leg(symbol).fills
    signed = [
        ((round(fill.at.timestamp() * 1000) - ORIGIN) // MINUTE, fill.quantity * (1 if fill.side == "buy" else -1))
        for fill in fills.itertuples()
    ]
    return [sum(quantity for minute, quantity in signed if minute <= k) for k in range(until)]


@pytest.mark.slow
def test_what_is_cut_at_an_open_is_sold_at_the_next_one() -> None:
    """In every minute behind one in which something was cut, the broker holds what the record does."""
    broker = Noting()
    result = lived(SimulatedClock(ORIGIN), bknb.stores.memory(), broker)
    until = ORIGIN + UNTIL * MINUTE
    assert told(result, until) == told(backtest(options(), result, until), until)
    assert recorded(result) == pytest.approx(held(RECORD))
    assert list(broker.held.values()) == pytest.approx(held(AT_BROKER))
    differ = [k for k in range(UNTIL) if abs(broker.held[k] - recorded(result)[k]) > 1e-9]
    assert differ == [5, 12, 20]
    errors = result.leg("B").errors
    assert [error.kind for error in errors] == ["cut_fill"] * 3
    texts = [error.message.partition("): ")[2].partition(", as no more")[0] for error in errors]
    assert texts == [
        "90 of 90 filled; the record has 82 of it",
        "41 of 41 filled; the record has 28.7 of it",
        "69.7 of 69.7 filled; the record has 0 of it",
    ]
    assert result.leg("A").errors == []


def killed_at(step: int, folder: Path) -> tuple[int, list[str]]:
    """Go on from where a process that is killed at every STEP-th write left its store and its broker."""
    clock, store, times, sizes = SimulatedClock(ORIGIN), StoreOfMoments(), list[int](), list[int]()
    journal, again = folder / "exchange.jsonl", folder / "again.jsonl"

    def note() -> None:
        times.append(clock.now())
        sizes.append(journal.stat().st_size if journal.exists() else 0)

    store.on_write = note
    whole = lived(clock, store, Noting(journal=journal))
    wrong: list[str] = []
    at = [
        (place, sizes[place + late])
        for place in range(0, len(times) - 1, step)
        for late in (0, -1)
        if place + late >= 0
    ]
    for place, size in at:
        again.write_bytes(journal.read_bytes()[:size])
        broker, left = Noting(journal=again), left_behind(store.before[place])
        result = lived(SimulatedClock(times[place]), left, broker)
        where = f"{place} {store.written[place]} {size}: "
        if recorded(result) != recorded(whole):
            wrong.append(f"{where}another record")
        wrong += [where + text for text in sent_twice(again)]
        with left:
            orders = [order for leg in "AB" for order in read_orders(left, f"cut {leg}", leg)]
        since = (times[place] - ORIGIN) // MINUTE + 2
        is_lost = any(order.status == "lost" for order in orders)
        if not is_lost and [broker.held[k] for k in range(since, UNTIL)] != pytest.approx(held(AT_BROKER)[since:]):
            wrong.append(f"{where}{broker.held}")
        if abs(broker.position("B")) > 1e-9 or abs(broker.position("A")) > 1e-9:
            wrong.append(f"{where}{broker.position('A')} and {broker.position('B')} are left")
    return len(at), wrong


@pytest.mark.parametrize("step", [pytest.param(41, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_any_write_what_is_cut_is_sold_once(step: int, folder_in_memory: Path) -> None:
    lives, wrong = killed_at(step, folder_in_memory)
    assert wrong == []
    assert lives > 8


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow if seed == 4 else pytest.mark.long) for seed in range(20)]
)
def test_the_broker_holds_what_the_record_does_in_every_minute_in_which_nothing_happened(seed: int) -> None:
    """Legs with shared margin near its limit, on markets that jump: entries at the market and limits are cut."""
    random, exchanges, legs, until = np.random.default_rng(seed), {}, [], 120
    for at in range(3):
        symbol, rows = f"S{at}USDT", jumping(walk(seed * 10 + at), random)
        exchanges[symbol] = source([(*row[:5], 100.0) for row in rows])
        bknb.add_strategy(f"drawn {at}", interval="1m", get_signal=signals(seed * 10 + at))
        legs.append((symbol, f"drawn {at}"))
    broker = Noting()
    run: dict[str, Any] = {
        "legs": legs, "exchange": exchanges, "account": bknb.Perpetual(20, 1.0), "capital": 10_000,
        "sizing": "units:700", "costs": bknb.Costs(taker=0.02, maker=0.01), "settings": SETTINGS,
    }  # fmt: skip
    result = live(run | {"broker": broker}, SimulatedClock(ORIGIN), until=ORIGIN + until * MINUTE)
    expected = backtest(run, result, ORIGIN + until * MINUTE)
    quantities = result.fills["quantity"].tolist()  # what is open at the end of a frame is closed there
    assert quantities == expected.fills["quantity"].tolist()[: len(quantities)]
    cut = sum(error.kind == "cut_fill" for leg in result.legs.values() for error in leg.errors)
    for symbol in exchanges:
        records = result.leg(symbol).run_record.records
        busy = {(event.closed_at - ORIGIN) // MINUTE for event in records.cancelled}
        busy |= {(round(at.timestamp() * 1000) - ORIGIN) // MINUTE for at in result.leg(symbol).fills["at"]}
        held, quiet = recorded(result, symbol, until), [k for k in range(until) if k not in busy]
        assert len(quiet) > until // 3
        assert [broker.noted[symbol, k] for k in quiet] == pytest.approx([held[k] for k in quiet], abs=1e-9)
    assert cut > 2 or seed != 4
