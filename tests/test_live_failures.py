"""What a live run does when its own parts fail: a minute that cannot be worked on, orders that cannot be worked out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_holes import asked_once, at
from test_live_bad_days import LEVELS, Told, closed_by, lived, steps

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.fills_at_stops_and_gaps import Minute
from bknb.domain.lifecycle import Holding, Opening
from bknb.domain.signal_events import Opened
from bknb.engine import strategy_loop
from bknb.live import orders_from_record
from bknb.live.hole_journal import HoleJournal
from bknb.live.saved_values import read_state
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

MARKET = steps((-10, 60, 100.0), (60, 400, 90.0))


def live(first: int, until: int, **options: Any) -> bknb.Result:
    """A long position from minute 20 on with its stop at 98, which is reached in minute 60."""
    clock = SimulatedClock(at(first))
    return lived(closed_by(clock, MARKET), asked_once(20, **LEVELS), clock, until=until, **options)


def raising(function: Callable[..., Any], fails: Callable[..., bool]) -> Callable[..., Any]:
    """A function with a fault in it: what it raises is no error that bknb raises on purpose."""

    def called(*given: Any, **named: Any) -> Any:
        if fails(*given):
            raise ArithmeticError("a fault")
        return function(*given, **named)

    return called


def test_a_minute_that_could_not_be_worked_on_leaves_its_mark_on_the_trade_and_on_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = bknb.stores.memory()
    with monkeypatch.context() as patch, Told() as heard:
        fails = raising(strategy_loop.step, lambda _, given, __: isinstance(given, Minute) and given.t == at(41))
        patch.setattr(strategy_loop, "step", fails)
        before = live(10, 42, store=store)
    assert [failure.kind for failure in before.errors] == ["state"]
    assert [event.message for event in heard] == ["ArithmeticError: a fault"]
    with store:
        signal, _ = read_state(store, ("once", "X"))
    assert signal is not None
    assert (signal.last_minute, signal.in_doubt) == (at(41), True)
    result = live(42, 70, store=store)
    assert result.trades[["close_reason", "ambiguous"]].to_numpy().tolist() == [["stop_loss", True]]
    journal = HoleJournal(store, ("once", "X"))
    with store:
        journal.read([])
    assert [*journal.items()] == [(at(41), at(42))]


@pytest.mark.parametrize("changes", [0, 1, 2, 3])
def test_killed_while_a_minute_is_left_out_its_hole_and_its_doubt_are_there_or_neither(
    changes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ends(MemoryStore):
        left = 10_000  # changes until the process ends

        def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
            if not self.left:
                raise SystemExit("killed")
            self.left -= 1
            super().write(kind, key, payload)

    store = Ends()

    def is_faulty(_: object, given: object, __: object) -> bool:
        faulty = isinstance(given, Minute) and given.t == at(41)
        store.left = changes if faulty else store.left
        return faulty

    with monkeypatch.context() as patch:
        patch.setattr(strategy_loop, "step", raising(strategy_loop.step, is_faulty))
        with pytest.raises(SystemExit):
            live(10, 60, store=store)
    store.left = 10_000
    result = live(42, 70, store=store)
    left_out = changes == 3
    assert result.trades[["close_reason", "ambiguous"]].to_numpy().tolist() == [["stop_loss", left_out]]
    assert result.run_record.records.holes == ([(at(41), at(42))] if left_out else [])


@pytest.mark.parametrize("error", [ArithmeticError, SystemExit])
def test_a_broker_that_raises_when_it_is_told_of_a_minute_holds_up_no_watch(error: type[BaseException]) -> None:
    class Raises(PaperBroker):
        def saw(self, symbol: str, minute: Minute) -> None:
            if minute.t >= at(30):
                raise error("no market")
            super().saw(symbol, minute)

    broker = Raises()
    with Told() as heard:
        result = live(10, 70, broker=broker, quantity=1.0)
    assert result.trades["close_reason"].tolist() == ["stop_loss"]
    (told,) = [event.message for event in heard if event.message.startswith("BrokerError: paper did not take")]
    assert told == f"BrokerError: paper did not take the newest minute: {error.__name__}: no market"


@pytest.mark.parametrize(("state", "actions"), [(Opening, ["cancelled"]), (Holding, ["opened", "closed"])])
def test_orders_that_could_not_be_worked_out_are_told_and_worked_out_later_and_nothing_is_opened_meanwhile(
    monkeypatch: pytest.MonkeyPatch, state: type, actions: list[str]
) -> None:
    faults = [1]

    def fails(given: object, *_: object) -> bool:
        return isinstance(given, state) and bool(faults) and bool(faults.pop())

    monkeypatch.setattr(orders_from_record, "orders_of_state", raising(orders_from_record.orders_of_state, fails))
    broker = PaperBroker()
    result = live(10, 70, broker=broker, quantity=1.0)
    assert [event.action for event in result.events] == actions
    assert [failure.kind for failure in result.errors][:1] == ["broker"]
    assert any("the orders of X could not be worked out: ArithmeticError: a fault" in text for text in result.warnings)
    assert [order.side for order in broker.orders.values()] == (["buy", "sell"] if "closed" in actions else [])
    assert broker.position("X") == 0.0
    assert result.cancelled["reason"].tolist() == ([] if "closed" in actions else ["disagreement"])


def test_a_fault_that_lasts_holds_up_no_close_and_is_over_with_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = raising(orders_from_record.orders_after, lambda event, *_: isinstance(event, Opened))
    monkeypatch.setattr(orders_from_record, "orders_after", fails)
    broker = PaperBroker()
    result = live(10, 70, broker=broker, quantity=1.0)
    assert [event.action for event in result.events] == ["opened", "closed"]
    assert [(order.side, order.status) for order in broker.orders.values()] == [("buy", "filled"), ("sell", "filled")]
    assert broker.position("X") == 0.0
    why = "BrokerError: the orders of X could not be worked out: ArithmeticError: a fault"
    assert [(failure.kind, failure.message.partition(";")[0]) for failure in result.errors][:1] == [("broker", why)]
    assert [text.partition(": ")[0].partition(" from ")[0].partition(" at ")[0] for text in result.warnings] == [
        "new entries were stopped",
        "account and record agree; entries are asked for again",
    ]
