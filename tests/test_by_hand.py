"""Decisions by hand in a live run: what each does, what it answers, and that it equals what manage would have done."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hand_clock import BrokerHandClock, HandClock
from quick import each_once, first_quick
from scenarios import MINUTE, ORIGIN, source
from waiting import until
from worlds import MODELS, SETTINGS, walk

import bknb
from bknb import Close
from bknb.domain import manage_answers_refused as managing
from bknb.live.manual_orders import ByHand, Flatten
from bknb.live.manual_refusals import OVER
from bknb.live.turn_lock import Turn
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.stores.sqlite_store import SqliteStore

HALF = 30_000
Decide = Callable[[Any], object]


def rows(*opens: float, rest: int = 20) -> list[tuple[float, ...]]:
    """Calm minutes at 100, then some that open at given prices, one after the other from ORIGIN + 5 on."""
    prices = {5 + k: price for k, price in enumerate(opens)}
    last = opens[-1] if opens else 100.0
    found = []
    for k in range(-60, 5 + len(opens) + rest):
        price = 100.0 if k < 5 else prices.get(k, last)
        found.append((ORIGIN + k * MINUTE, price, price + 0.5, price - 0.5, price, 1.0))
    return found


def at(minute: float) -> int:
    return ORIGIN + round(minute * MINUTE)


def play(
    decisions: dict[float, Decide],
    *,
    candles: list[tuple[float, ...]] | None = None,
    signal: dict[str, Any] | None = None,
    until: int = 20,
    begin: float = 0.0,
    broker: Any = None,
    **options: Any,
) -> tuple[bknb.Result, list[str], Any]:
    """A run that opens a long at minute 1, in which something is decided by hand."""
    wanted = {"side": "long"} if signal is None else signal

    def get_signal(when: Any) -> Any:
        return bknb.Signal(**wanted) if wanted and when.minute == 1 else None

    strategy = bknb.add_strategy("hand", interval="1m", get_signal=get_signal, **options.pop("strategy", {}))
    script = {at(minute): decide for minute, decide in decisions.items()}
    clock = HandClock(at(begin), script) if broker is None else BrokerHandClock(at(begin), script)
    if broker is not None:
        options = {"broker": broker, "quantity": 2.0} | options
    options = {"store": bknb.stores.memory()} | options
    from bknb.runs.live_task import TASKS, LiveTask, plan_live

    task = LiveTask(
        plan_live("X", strategy=strategy, exchange=source(candles or rows()), clock=clock, until=at(until), **options)
    )
    TASKS.add(task)
    clock.task = task
    task.start()
    return task.result(timeout=60), clock.answers, task


def test_close_within_a_minute_fills_at_the_open_of_the_next() -> None:
    result, answers, _ = play({6.5: lambda task: task.close("enough")}, candles=rows(100, 100, 103, 104))
    assert answers == [
        "closes long X (hand-X-20240101T0001) at the open of the first candle from 2024-01-01 00:07 UTC on"
    ], answers
    (trade,) = result.run_record.records.closed
    assert (trade.close_reason, trade.price_close, trade.closed_at, trade.note) == ("manual", 103.0, at(7), "enough")
    assert "manual" in result.why(trade.signal.id)
    assert "enough" in result.why(trade.signal.id)


def test_close_at_a_full_minute_fills_in_the_candle_that_opens_then() -> None:
    result, _, _ = play({6: lambda task: task.close()}, candles=rows(100, 102, 103))
    assert result.trades["price_close"].tolist() == [102.0]


def test_in_vwap_a_close_fills_at_the_average_price_of_the_last_full_minute() -> None:
    result, answers, _ = play(
        {7.5: lambda task: task.close()}, candles=rows(100, 102, 104, 110), strategy={"execution": "vwap"}
    )
    assert answers[0].endswith(" at the average price of 2024-01-01 00:07 UTC")
    assert result.trades["price_close"].tolist() == [pytest.approx(100.4)]  # four minutes at 100, one at 102
    assert result.run_record.records.closed[0].closed_at == at(7)


@pytest.mark.parametrize("decide", [lambda task: task.close(), lambda task: task.flatten()])
def test_a_close_in_a_hole_is_not_put_off_by_a_deadline_that_is_known_behind_it(decide: Decide) -> None:
    """No candle from minute 4 until 15; the deadline is minute 6, and the decision by hand has left long ago."""
    candles = [row for row in rows(*(100.0 + k for k in range(20))) if not at(4) <= row[0] < at(15)]
    result, answers, _ = play(
        {9.5: decide}, candles=candles, signal={"side": "long", "minute_estimated_time": 5}, allow_gaps=True
    )
    assert answers[0].endswith(" at the open of the first candle from 2024-01-01 00:10 UTC on")
    (trade,) = result.run_record.records.closed
    assert (trade.close_reason, trade.closed_at, trade.price_close) == ("manual", at(15), 110.0)
    assert "late" not in {failure.kind for failure in result.errors}


@pytest.mark.parametrize("begin", [9.6, 13])
def test_a_decision_in_a_hole_stays_decided_after_a_kill(begin: float) -> None:
    """The disk is as it was when the decision was answered; the next life begins in the hole, too."""
    candles = [row for row in rows(*(100.0 + k for k in range(20))) if not at(4) <= row[0] < at(15)]
    store, killed = MemoryStore(), MemoryStore()

    def decide(task: Any) -> None:
        task.close("enough")
        killed.sealed = dict(store.sealed)

    signal = {"side": "long", "minute_estimated_time": 5}
    whole, _, _ = play({9.5: decide}, candles=candles, signal=signal, allow_gaps=True, store=store)
    result, _, _ = play({}, candles=candles, signal={}, allow_gaps=True, store=killed, begin=begin)
    (trade,) = result.run_record.records.closed
    assert (trade.close_reason, trade.closed_at, trade.note) == ("manual", at(15), "enough")
    assert [trade] == whole.run_record.records.closed


def test_reduce_then_close() -> None:
    result, answers, _ = play(
        {5.5: lambda task: task.reduce(0.5, note="half"), 6.2: lambda task: task.close()},
        candles=rows(100, 101, 102),
    )
    fills = result.fills
    assert list(zip(fills["kind"], fills["share"], fills["price"], fills["reason"], strict=True)) == [
        ("entry", 1.0, 100.0, ""), ("reduce", 0.5, 101.0, "manual"), ("exit", 0.5, 102.0, "manual"),
    ], fills  # fmt: skip
    assert answers[0].startswith("reduces long X (hand-X-20240101T0001) by 0.5 of what is held at the open of")
    assert "half" in result.why("hand-X-20240101T0001")


def test_a_share_of_the_first_size_is_called_that() -> None:
    _, answers, _ = play({5.5: lambda task: task.reduce(0.5, of="first")})
    assert answers[0].startswith("reduces long X (hand-X-20240101T0001) by 0.5 of its first size at the open of")


@pytest.mark.parametrize("minute", [6, 5.5])
def test_move_is_in_force_from_the_next_candle_on(minute: float) -> None:
    """The minute under way went below the new stop before the decision: that is no reason to close."""
    candles = rows(105, 105, 105, 98)
    candles[60 + 4] = (at(4), 100.0, 105.0, 99.0, 105.0, 1.0)
    candles[60 + 5] = (at(5), 105.0, 105.0, 99.0, 105.0, 1.0)
    result, answers, _ = play({minute: lambda task: task.move(price_stop_loss=104.0)}, candles=candles)
    (trade,) = result.run_record.records.closed
    assert (trade.close_reason, trade.closed_at, trade.price_close) == ("stop_loss", at(8), 98.0), answers
    moved = [event for event in result.run_record.records.positions if isinstance(event, bknb.Moved)]
    assert [(event.when, event.reason, event.price_stop_loss) for event in moved] == [(at(6), "manual", 104.0)]
    assert "in force from 2024-01-01 00:06 UTC on" in answers[0]


def test_a_stop_that_is_reached_closes_at_the_market() -> None:
    result, answers, _ = play({6.5: lambda task: task.move(price_stop_loss=101.0)}, candles=rows(100, 100, 99.7))
    assert answers[0].startswith("closes long X")
    assert result.trades["close_reason"].tolist() == ["stop_loss"]
    assert result.trades["price_close"].tolist() == [99.7]


def test_a_planned_move_that_cannot_be_carried_out_is_told_once_and_keeps_back_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = managing.moved_book

    def moved_book(state: Any, book: Any, move: bknb.Move, *, when: int, **more: Any) -> Any:
        if move.price_stop_loss == 90.0:
            raise ArithmeticError("a fault")
        return real(state, book, move, when=when, **more)

    monkeypatch.setattr(managing, "moved_book", moved_book)

    def decide(task: Any) -> None:
        monkeypatch.undo()
        task.move(price_stop_loss=90.0)
        monkeypatch.setattr(managing, "moved_book", moved_book)
        task.move(price_stop_loss=91.0)

    result, _, _ = play({5.5: decide})
    moved = [event for event in result.run_record.records.positions if isinstance(event, bknb.Moved)]
    assert [(event.when, event.price_stop_loss) for event in moved] == [(at(6), 91.0)]
    assert [(failure.kind, failure.count) for failure in result.errors] == [("strategy", 1)]


WAITING = {"side": "long", "price_open": 99.0, "price_stop_loss": 95.0}


def test_cancel_takes_back_what_waits() -> None:
    result, answers, _ = play({6.5: lambda task: task.cancel("no")}, candles=rows(100, 100, 98), signal=WAITING)
    (end,) = result.run_record.records.cancelled
    assert (end.reason, end.closed_at, end.note) == ("manual", at(7), "no")
    assert answers[0].startswith("takes back the limit entry of long X at 99")
    assert len(result.trades) == 0


def test_an_order_that_waits_is_moved_or_taken_back_by_its_id() -> None:
    moved: dict[float, Decide] = {6.5: lambda task: task.move(price_open=98.0), 12.5: lambda task: task.close()}
    result, answers, _ = play(moved, candles=rows(100, 100, 99, 98, 97), signal=WAITING)
    (end,), (trade,) = result.run_record.records.cancelled, result.run_record.records.closed
    assert (end.reason, end.closed_at, end.note) == ("manual", at(7), "moved to 98")
    assert (trade.signal.price_open, trade.signal.pending_at) == (98.0, at(8))
    assert answers[0].startswith("moves the limit entry of long X at 99 (hand-X-20240101T0001)"), answers
    adds = [bknb.Add(1, price_open=98.0), bknb.Add(0.5, price_open=97.0)]
    first = "hand-X-20240101T0001"
    taken: dict[float, Decide] = {
        6.5: lambda task: task.cancel("no", id=f"{first}#1"),
        8.5: lambda task: task.move(price_open=99.0, id=f"{first}#2"),
        12.5: lambda task: task.close(),
    }
    adding = {"manage": lambda when: adds if when.minute == 4 else None, "manage_interval": "1m"}
    result, answers, _ = play(taken, candles=rows(100, 100, 100, 100, 100, 98.8), strategy=adding)
    gone = [each for each in result.run_record.records.positions if isinstance(each, bknb.AddCancelled)]
    assert [(each.number, each.reason, each.note) for each in gone] == [
        (1, "manual", "no"),
        (2, "manual", "moved to 99.0"),
    ]
    (trade,) = result.run_record.records.closed
    assert [fill.price for fill in trade.fills] == [100.0, 98.8, 98.8]
    assert answers[0] == f"takes back {first}#1"


@pytest.mark.parametrize("entry", ["limit", "stop"])
def test_activate_opens_what_waits_at_the_market(entry: str) -> None:
    signal = WAITING | ({} if entry == "limit" else {"entry": "stop", "price_open": 110.0})
    result, answers, _ = play(
        {6.5: lambda task: task.activate(), 8.5: lambda task: task.close()},
        candles=rows(100, 100, 101, 102, 103),
        signal=signal,
    )
    (trade,) = result.run_record.records.closed
    assert (trade.signal.price_open, trade.signal.pending_at) == (101.0, at(7)), answers
    assert answers[0].startswith(f"opens the {entry} entry of long X at ")
    assert not result.errors  # it is not late: it was not decided before


def test_open_and_reverse() -> None:
    def turn(task: Any) -> str:
        return f"{task.close()}; {task.open(bknb.Signal(side='short', note='mine'))}"

    result, answers, _ = play({6.5: turn, 9: lambda task: task.close()}, candles=rows(100, 100, 103, 104, 102))
    assert "opens short X (hand-X-20240101T0007-manual) at the open" in answers[0], answers
    trades = result.trades
    assert list(zip(trades["position"], trades["price_open"], trades["price_close"], strict=True)) == [
        ("long", 100.0, 103.0), ("short", 103.0, 102.0),
    ]  # fmt: skip


def test_close_all_closes_and_takes_back() -> None:
    result, answers, _ = play({6.5: lambda _task: bknb.Live.close_all("flat")})
    assert "('X', 'hand'): 'closes long X" in answers[0]
    assert result.trades["close_reason"].tolist() == ["manual"]
    result, answers, _ = play({6.5: lambda _task: bknb.Live.close_all()}, signal=WAITING)
    assert "takes back the limit entry" in answers[0]
    _, answers, _ = play({6.5: lambda _task: bknb.Live.close_all()}, signal={})
    assert answers == ["{}"]
    _, answers, _ = play({1.5: lambda _task: bknb.Live.close_all()})
    assert "nothing is closed yet; hand on X: the entry order of hand-X-20240101T0001 has left" in answers[0]


class FillsAtOnce:
    """A broker with a market of its own, at 101; what closes it fills by half, or not."""

    name = "outside"

    def __init__(self, *, refuses: bool = False) -> None:
        self._paper, self._refuses = bknb.brokers.paper(price_of=lambda _symbol: 101.0), refuses
        self.cancel, self.report, self.open_orders = self._paper.cancel, self._paper.report, self._paper.open_orders

    async def place(self, order: Any) -> Any:
        if order.purpose == "close" and self._refuses:
            raise bknb.BrokerError("not now", refused=True)
        return await self._paper.place(order)


@pytest.mark.parametrize("call", [bknb.Live.flatten, bknb.Live.close_all])
def test_flatten_says_what_was_sold_at_a_broker_and_what_is_still_held(call: Any) -> None:
    broker = FillsAtOnce()
    _, answers, task = play({6.5: lambda _task: call("flat"), 6.75: lambda _task: call()}, broker=broker)
    assert answers[0].endswith(" UTC on; sold 2 X at 101'}")
    assert "leaves already" in answers[1] or answers[1] == "{}"
    assert task.orders["purpose"].tolist() == ["open", "close"]
    assert broker._paper.position("X") == 0.0


def test_flatten_says_why_a_position_is_still_held_after_its_time() -> None:
    def flatten(_task: Any) -> object:
        return bknb.Live.flatten(seconds=0.2)

    _, answers, _ = play({6.5: flatten}, broker=FillsAtOnce(refuses=True), until=9)
    assert "2 X are still held: BrokerError: not now" in answers[0]


def test_what_is_sold_at_the_broker_by_hand_closes_the_record_at_its_price() -> None:
    both = bknb.brokers.Abilities(stop="market", move="amend", watch="both")
    broker = bknb.brokers.paper(market="spot", abilities=both)

    def sell(_task: Any) -> None:
        for order in broker.orders.values():
            if order.working:
                order.cancel()
        sold = bknb.brokers.Order(
            client_id="web", signal_id="", decided_at=0, symbol="X", strategy="", exchange="", purpose="open",
            side="sell", kind="market", quantity=2.0, price=None, record_price=100.0, created_at=at(6.5),
        )  # fmt: skip
        asyncio.run(broker.place(sold))

    levels = {"side": "long", "price_stop_loss": 90.0}
    result, _, task = play({6.5: sell}, broker=broker, signal=levels, candles=rows(100, 100, 103, 104))
    (trade,) = result.run_record.records.closed
    assert (trade.close_reason, trade.closed_by, trade.price_close) == ("manual", "manual", 103.0)
    assert task.manual == {"X": -2.0}
    assert [failure.message for failure in result.errors if failure.kind == "manual"] == [
        "2 X of 'hand-X-20240101T0001' were sold by hand at 103; 0 of it are held now, and no more is sold"
    ]
    assert broker.position("X") == 0.0


def test_moves_of_one_minute_are_each_judged_by_themselves() -> None:
    def decide(task: Any) -> None:
        task.move(price_stop_loss=99.0)
        task.move(price_take_profit=100.9)  # the market is beyond it when it can be in force

    result, _, _ = play({6.5: decide}, candles=rows(100, 101))
    records = result.run_record.records
    assert [event.price_stop_loss for event in records.positions if isinstance(event, bknb.Moved)] == [99.0]
    assert [event.reasons[0].code for event in records.rejected] == ["take_profit_side"]


@pytest.mark.parametrize(
    ("decide", "signal", "text"),
    [
        (lambda task: task.close(), {}, "close needs an open position; hand on X has nothing open and nothing that"),
        (lambda task: task.close(), WAITING, "has the limit entry of long X at 99 (hand-X-20240101T0001)\nuse "),
        (lambda task: task.reduce(0), None, "Reduce needs a share above 0, such as 0.5 for the half, got 0"),
        (lambda task: task.reduce(2), None, "is more than the 1 of the first size that is held; Close()"),
        (lambda task: task.reduce("half"), None, "a share above 0"),
        (lambda task: task.move(), None, "move takes at least one of price_stop_loss"),
        (lambda task: task.move(stop=99), None, "got stop\nsuch as price_stop_loss=99.0"),
        (lambda task: task.move(price_take_profit=90.0), None, "price_take_profit 90 must be above the last close 100"),
        (lambda task: task.move(price_stop_loss=80.0), {"side": "long", "price_stop_loss": 90.0}, "changes nothing"),
        (lambda task: task.cancel(), None, "cancel needs an entry or an add that waits; hand on X: long "),
        (lambda task: task.activate(), None, "activate needs an entry that waits"),
        (lambda task: task.open(bknb.Signal(side="long")), None, "open needs nothing that is open or waits"),
        (lambda task: task.open("long"), None, "open needs a bknb.Signal"),
        (lambda task: task.open(bknb.Signal(side="long", entry="close")), {}, "open by hand takes no entry='close'"),
        (lambda task: task.open(bknb.Signal(side="long", price_stop_loss=120.0)), {}, "not carried out\n"),
        (lambda task: (task.pause(), task.open(bknb.Signal(side="long"))), {}, "this one is paused\nresume() it first"),
        (lambda task: (task.pause(), task.activate()), WAITING, "this one is paused"),
        (lambda task: (task.close(), task.close()), None, "came too late; hand on X: hand-X-20240101T0001 leaves"),
    ],
)  # fmt: skip
def test_mistakes_are_answered(decide: Decide, signal: dict[str, Any] | None, text: str) -> None:
    _, answers, _ = play({6.5: decide}, signal=signal)
    assert text in answers[0]


def test_without_a_candle_nothing_is_opened() -> None:
    candles = [(at(k), 100.0, 100.5, 99.5, 100.0, 1.0) for k in range(4, 30)]  # the market begins here
    _, answers, _ = play({1.5: lambda task: task.open(bknb.Signal(side="long"))}, candles=candles, signal={})
    assert "no candles of it have come yet\ntry again after the next minute" in answers[0]


def test_where_a_run_has_just_ended_with_nothing_there_is_nothing_to_close() -> None:
    """``close_all`` meets runs that end meanwhile."""
    _, _, task = play({}, signal={}, until=3)
    assert task._run.by_hand.give(Flatten()).result(10) == ""
    with pytest.raises(bknb.UsageError, match="the run is over"):
        task._run.by_hand.give(Close()).result(10)


def test_before_the_first_full_minute_of_a_run_the_last_one_has_the_price() -> None:
    candles = [(at(k), *(4 * (100 + k / 10,)), 1.0) for k in range(-10, 30)]
    open_now = {2.5: lambda task: task.open(bknb.Signal(side="long"))}
    result, _, _ = play(open_now, begin=2.3, candles=candles, strategy={"execution": "vwap"})
    assert result.events[0].signal.price_open == pytest.approx(99.9)  # of minutes -3 to 1


def test_a_run_that_is_over_says_so() -> None:
    _, _, task = play({})
    with pytest.raises(bknb.UsageError, match=r"is over\nstart it with the same store"):
        task.close()


def test_a_strategy_decides_by_what_it_returns() -> None:
    said: list[str] = []

    def manage() -> None:
        try:
            bknb.Live.list()[0].close()
        except bknb.UsageError as error:
            said.append(str(error))

    play({}, strategy={"manage": manage})
    assert "return bknb.Close() and the like from manage" in said[0]


def test_the_risk_profile_is_asked() -> None:
    bknb.add_risk("never", validations=[(lambda request: False)])
    _, answers, _ = play({6.5: lambda task: task.open(bknb.Signal(side="long"))}, signal={}, strategy={"risk": "never"})
    assert answers[0].startswith("open was refused by the risk profile 'never'")


def test_what_comes_while_a_run_is_paused_for_a_moment_is_not_opened_and_says_so() -> None:
    def pauses(_request: Any) -> bool:
        bknb.Live.list()[0].pause()
        return True

    bknb.add_risk("pauses", validations=[pauses])
    resumes = {"on_reject": lambda _event: bknb.Live.list()[0].resume()}
    result, answers, _ = play({6.5: lambda task: task.open(bknb.Signal(side="long"))}, signal={},
                              strategy={"risk": "pauses", "callbacks": resumes})  # fmt: skip
    (text,) = answers
    assert text.startswith("open needs a run that takes entries; this one was paused while its risk profile was asked")
    assert text.endswith("\nit was resumed since: repeat this")
    assert result.events == []


def test_an_answer_that_comes_after_a_decision_is_left_out() -> None:
    """The strategy thinks about a position that is closed by hand meanwhile."""
    asked, decided = threading.Event(), threading.Event()
    in_time: list[bool] = []

    async def manage(when: Any) -> Any:
        if when.minute != 6:
            return None
        asked.set()
        in_time.append(await asyncio.to_thread(decided.wait, 20))
        return bknb.Reduce(0.5)

    def close() -> None:
        assert asked.wait(20)
        bknb.Live.list()[0].close()
        decided.set()

    impatient = threading.Thread(target=close, daemon=True)
    impatient.start()
    result, _, _ = play({}, strategy={"manage": manage})
    assert in_time == [True]
    assert result.trades["close_reason"].tolist() == ["manual"]
    assert result.fills["kind"].tolist() == ["entry", "exit"]
    assert not result.errors


def test_where_something_is_moved_meanwhile_manage_is_asked_again() -> None:
    asked: list[int] = []

    def manage(when: Any) -> Any:
        import threading

        asked.append(minute_of(when))
        if len(asked) == 1:
            by_hand = threading.Thread(target=lambda: bknb.Live.list()[0].move(price_stop_loss=90.0))
            by_hand.start()
            by_hand.join(20)
        return bknb.Close("out")

    result, _, _ = play({}, strategy={"manage": manage, "manage_interval": "15m"}, until=20)
    assert asked == [15, 15]
    assert [(end.close_reason, end.closed_at) for end in result.run_record.records.closed] == [("strategy", at(15))]


# --- the same as manage -----------------------------------------------------------------------------------------------


def minute_of(when: Any) -> int:
    return (round(when.timestamp() * 1000) - ORIGIN) // MINUTE


def told(result: bknb.Result) -> list[str]:
    records = result.run_record.records
    everything = [*records.events, *records.positions, *records.milestones]
    plain = [msgspec.structs.replace(event, mode="live", frame=None) for event in everything]
    return [msgspec.json.encode(event).decode().replace("manual", "strategy") for event in plain]


ANSWERS: dict[str, tuple[Decide, Callable[[], Any]]] = {
    "close": (lambda task: task.close("now"), lambda: bknb.Close("now")),
    "reduce": (lambda task: task.reduce(0.25), lambda: bknb.Reduce(0.25)),
    "move": (
        lambda task: task.move(price_stop_loss=None, loosen=True, trailing=bknb.Trailing(percent=0.2)),
        lambda: bknb.Move(price_stop_loss=None, loosen=True, trailing=bknb.Trailing(percent=0.2)),
    ),
    "cancel": (lambda task: task.cancel(), bknb.Cancel),
}


@pytest.mark.parametrize(("name", "model"), each_once(ANSWERS, MODELS))
@pytest.mark.parametrize("seed", first_quick([3, 8]))
def test_by_hand_at_a_minute_equals_a_backtest_whose_manage_answers_the_same(name: str, model: str, seed: int) -> None:
    decide, answer = ANSWERS[name]
    moments = range(7, 160, 6)
    signal = {"position": "long", "minute_estimated_time": 25} | ({"price_open": 99.0} if name == "cancel" else {})

    def get_signal(when: Any, price: float) -> Any:
        if minute_of(when) in moments:
            return None  # a decision by hand comes after the question of its moment, an answer of manage before it
        given = signal | {"price_stop_loss": price * 0.97, "price_take_profit": price * 1.03}
        if "price_open" in given:
            given["price_open"] = price * 0.995
        return bknb.Signal(**given)

    def manage(when: Any, position: Any) -> Any:
        if minute_of(when) not in moments or (name == "cancel" and not position.waiting):
            return None
        return answer()

    exchange = source(walk(seed))
    common: dict[str, Any] = {"interval": "1m", "get_signal": get_signal, "execution": model}
    clock = HandClock(ORIGIN, {at(minute): decide for minute in moments})
    from bknb.runs.live_task import TASKS, LiveTask, plan_live

    strategy = bknb.add_strategy("both", **common)
    task = LiveTask(
        plan_live(
            "X",
            strategy=strategy,
            exchange=exchange,
            clock=clock,
            until=at(160),
            settings=SETTINGS,
            store=bknb.stores.memory(),
        )
    )
    TASKS.add(task)
    clock.task = task
    task.start()
    live = task.result(timeout=60)
    strategy = bknb.add_strategy("both", **common, manage=manage)
    back = bknb.backtest("X", strategy=strategy, exchange=exchange, frame=(at(0), at(160)), settings=SETTINGS)
    ended = at(150)
    mine, theirs = ([line for line in told(each) if int(line.split('"when":')[1].split(",")[0]) < ended]
                    for each in (live, back))  # fmt: skip
    for one, other in zip(mine, theirs, strict=False):
        assert one == other
    assert mine == theirs
    assert sum("strategy" in line.split('"signal"')[0] for line in mine) > 2
    assert len([text for text in clock.answers if text.startswith(("closes", "reduces", "moves", "takes"))]) > 2


# --- at a broker ------------------------------------------------------------------------------------------------------


def test_at_a_broker_the_order_of_a_close_leaves_at_once() -> None:
    broker = bknb.brokers.paper()
    sent: list[int] = []

    def decide(task: Any) -> None:
        task.close()
        assert until(lambda: len(task.orders) == 2 and task.orders["status"].iloc[1] != "intended", 20)
        sent.append(task.plan.clock.now())

    result, answers, task = play({6.5: decide}, broker=broker, candles=rows(100, 100, 103))
    assert sent == [at(6.5)], answers
    assert list(task.orders["purpose"]) == ["open", "close"]
    assert list(task.orders["status"]) == ["filled", "filled"]
    assert broker.position("X") == 0
    assert result.trades["price_close"].tolist() == [103.0]


def test_at_a_broker_a_limit_is_not_activated() -> None:
    _, answers, _ = play({6.5: lambda task: task.activate()}, broker=bknb.brokers.paper(), signal=WAITING)
    assert "take it back with cancel(), then open a Signal without price_open" in answers[0]


# --- on the disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", first_quick(["files", "sqlite"]))
@pytest.mark.parametrize(
    ("decide", "reason", "when"),
    [
        (lambda task: task.close("c"), "manual", 7),
        (lambda task: task.move(price_stop_loss=101.0), "stop_loss", 8),
        (lambda task: (task.reduce(0.5), task.move(minute_estimated_time=8)), "time_expired", 9),
    ],
)
def test_a_run_that_ends_behind_a_decision_goes_on_with_it(
    decide: Decide, reason: str, when: int, kind: str, tmp_path: Path
) -> None:
    def store() -> Any:
        return FileStore(tmp_path) if kind == "files" else SqliteStore(tmp_path / "state.db")

    candles = rows(101.8, 102, 102, 100, 103)

    def decided(task: Any) -> None:
        decide(task)
        task.stop(now=True)

    first, answers, _ = play({6.5: decided}, candles=candles, store=store())
    assert len(first.trades) == 0, answers
    result, _, _ = play({}, candles=candles, store=store(), signal={})
    assert [(end.close_reason, end.closed_at) for end in result.run_record.records.closed] == [(reason, at(when))]


def test_a_decision_that_is_saved_when_its_run_is_left_says_that_the_next_start_goes_on_with_it() -> None:
    asked, answers, answered = threading.Event(), [], threading.Event()

    async def quantity(_signal: Any) -> float:
        asked.set()
        await asyncio.sleep(60)
        return 1.0

    def opens(task: Any) -> None:
        try:
            answers.append(task.open(bknb.Signal(side="long")))
        finally:
            answered.set()

    def decide(task: Any) -> None:
        threading.Thread(target=opens, args=(task,), daemon=True).start()
        assert asked.wait(20)
        task.stop(now=True)

    store, broker = bknb.stores.memory(), bknb.brokers.paper()
    play({6.5: decide}, store=store, broker=broker, signal={}, quantity=quantity)
    assert answered.wait(20)
    (text,) = answers
    assert text.startswith("opens long X (hand-X-20240101T0007-manual) at the open of the first candle from 2024-01-01")
    assert text.endswith("; the run is over, and the next start with the same store goes on with it")
    result, _, _ = play({}, store=store, broker=broker, signal={}, begin=6.6)
    assert [event.signal.id for event in result.events] == ["hand-X-20240101T0007-manual"]
    assert broker.position("X") == 2.0


def test_a_decision_is_answered_where_its_run_ends_before_it_began() -> None:
    async def ends() -> str | None:
        hand = ByHand(Turn(), lambda call: call())
        answered = hand.give(Close())
        hand.end()
        await asyncio.sleep(0.001)
        error = answered.exception(0)
        return None if error is None else str(error)

    assert asyncio.run(ends()) == OVER


def test_a_decision_is_answered_whatever_a_store_raises() -> None:
    class Ends(MemoryStore):
        ends = False

        def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
            if self.ends:
                raise SystemExit("the store ends")
            super().write(kind, key, payload)

    store = Ends()

    def decide(task: Any) -> str:
        store.ends = True
        try:
            return str(task.close())
        except SystemExit as error:
            return f"not carried out: {error}"
        finally:
            store.ends = False

    result, answers, _ = play({6.5: decide}, store=store)
    assert answers == ["not carried out: the store ends"]
    assert (len(result.trades), result.fills["kind"].tolist()) == (0, ["entry"])


@pytest.mark.parametrize("until", [4, 8, 11])
def test_a_limit_entry_is_that_of_a_maker_also_after_a_restart(until: int) -> None:
    """The run ends while it waits, while its position is open, or when that is closed."""
    store, candles = bknb.stores.memory(), rows(100, 98)
    signal = {"side": "long", "price_open": 97.8, "price_stop_loss": 90.0, "minute_estimated_time": 3}
    play({}, store=store, signal=signal, candles=candles, until=until)
    result, _, _ = play({}, store=store, signal={}, candles=candles, begin=until, until=15)
    assert result.fills[["kind", "price", "maker"]].to_numpy().tolist()[0] == ["entry", 97.8, True]


def test_after_a_restart_the_fills_of_an_open_position_are_there_and_its_stops_are_counted_as_left_out() -> None:
    store, signal = bknb.stores.memory(), {"side": "long", "price_stop_loss": 90.0}
    first, _, _ = play({6.5: lambda task: task.reduce(0.5)}, store=store, signal=signal, until=10)
    assert (first.fills["kind"].tolist(), first.stops.attrs["left_out"]) == (["entry", "reduce"], 0)
    then: dict[str, Any] = {"store": store, "signal": {}, "begin": 10}
    again, _, _ = play({12.5: lambda task: task.reduce(0.5)}, until=15, **then)
    assert again.fills["share"].tolist() == [1.0, 0.5, 0.25]
    assert again.fills.head(2).equals(first.fills)
    assert (len(again.stops), again.stops.attrs["left_out"]) == (0, 1)
    last, _, _ = play({16.5: lambda task: task.close()}, until=20, **then | {"begin": 15})
    assert last.fills["kind"].tolist() == ["entry", "reduce", "reduce", "exit"]
    assert (len(last.stops), last.stops.attrs["left_out"]) == (0, 1)


@pytest.mark.parametrize(
    ("store", "places", "killed"),
    [
        pytest.param("files", "chosen", 18, marks=pytest.mark.slow),
        pytest.param("files", "every", 50, marks=pytest.mark.long),
        pytest.param("sqlite", "every", 50, marks=pytest.mark.long),
    ],
)
def test_killed_at_any_change_of_the_disk_a_decision_is_carried_out_once_or_not_at_all(
    store: str, places: str, killed: int, folder_in_memory: Path
) -> None:
    call = [sys.executable, Path(__file__).with_name("hand_life.py"), folder_in_memory, store, places]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["killed"] >= killed
    assert found["as with"] >= 14  # of seven decisions: saved but not answered yet, and answered
    assert found["as without"] >= 7


def test_an_entry_for_the_close_of_a_session_can_be_taken_back_until_it_leaves() -> None:
    result, answers, _ = play({6.5: lambda task: task.cancel("no")}, signal={"side": "long", "entry": "close"})
    assert answers == ["takes back the entry order of hand-X-20240101T0001, which has not left"]
    (cancelled,) = result.run_record.records.cancelled
    assert (cancelled.reason, cancelled.note) == ("manual", "no")


def test_a_close_for_the_close_of_the_session_fills_there() -> None:
    evening = rows(rest=1450)
    last = 60 + 1439  # the candle of 23:59
    evening[last] = (*evening[last][:4], 100.25, 1.0)
    again = {1386.5: lambda task: task.close("late", at="close"), 1390.5: lambda task: task.close(at="close"),
             1392: lambda task: task.close(at="noon")}  # fmt: skip
    result, answers, _ = play(again, candles=evening, begin=1380, until=1443)
    name = "long X (hand-X-20240101T2301)"
    assert answers[0] == f"closes {name} at the close of its session, 2024-01-02 00:00 UTC"
    assert answers[1].endswith(f"close changes nothing: {name} closes at the close of its session already"), answers[1]
    assert "at of Close must be 'market' or 'close', got 'noon'" in answers[2]
    (trade,) = result.run_record.records.closed
    assert (trade.close_reason, trade.price_close, trade.closed_at) == ("manual", 100.25, at(1439))
    assert trade.note == "late"
    assert "the price of a closing auction may be another" in result.report()
