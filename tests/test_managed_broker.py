"""Managed positions in live runs with a broker: the record is that of a backtest, and the account follows it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from managed import flipped
from minute_clock import MinuteClock
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN, source
from test_by_hand import at, play, rows
from test_by_hand import told as told_by_hand
from test_managed_live import told
from test_managed_properties import drawn, managing
from worlds import SEEDS, SETTINGS, walk

import bknb
from bknb.brokers.paper_broker import PaperBroker, PaperOrder
from bknb.domain.broker_orders_and_ids import client_id
from bknb.domain.signal import key_of
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest

QUANTITY = 2.0
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}


def live(strategy: Any, exchange: Any, broker: PaperBroker, *, minutes: int, **more: Any) -> bknb.Result:
    return bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=exchange,
        clock=MinuteClock(ORIGIN),
        until=ORIGIN + minutes * MINUTE,
        store=bknb.stores.memory(),
        settings=SETTINGS | more,
        broker=broker,
        quantity=QUANTITY,
    ).result(timeout=120)


def order_of(
    broker: PaperBroker, end: bknb.Closed, purpose: Any, number: int = 0, attempt: int = 1
) -> PaperOrder | None:
    """The order at the broker for a fill of a position that ended."""
    signal = end.signal
    name = client_id(signal.strategy, signal.symbol, key_of(signal), purpose, attempt, number)
    return broker.orders.get(name)


def orders_of(broker: PaperBroker, end: bknb.Closed) -> Iterator[PaperOrder]:
    """All orders at the broker for a position that ended."""
    names = [("open", 0, 1), *(("close", 0, attempt) for attempt in (1, 2, 3))]
    names += [(purpose, number, 1) for number in range(1, 40) for purpose in ("add", "reduce", "close")]
    return filter(None, (order_of(broker, end, *name) for name in names))


def prices(broker: PaperBroker, result: bknb.Result) -> list[tuple[str, float, float, float | None]]:
    """Every fill of a record with an order of its own: purpose, quantity, price there and in the record, in turn."""
    found = []
    for end in result.run_record.records.closed:
        for fill in end.fills:
            purpose = {"entry": "open", "exit": "close"}.get(fill.kind, fill.kind)
            order = order_of(broker, end, purpose, fill.number if purpose == fill.kind else 0)
            assert order is not None, (fill, broker.orders)
            assert order.status == "filled"
            found.append((purpose, order.quantity, fill.price, order.average_price))
    return found


CALM = dict.fromkeys(range(-60, 40), (100.0, 100.5, 99.5, 100.0))


@pytest.mark.parametrize("mirrored", [False, True], ids=["long", "short"])
def test_ladders_parts_and_adds_are_carried_out(mirrored: bool) -> None:  # noqa: FBT001
    """A level of a ladder is sold at the open behind its candle, what was decided at the open of its moment."""
    candles = CALM | {
        3: (100.0, 101.0, 100.0, 101.0), 4: (101.0, 103.0, 101.0, 102.5), 5: (102.0, 102.5, 101.0, 102.0),
        6: (101.0, 101.5, 96.5, 97.5), 7: (97.5, 98.5, 97.0, 98.0), 8: (98.5, 99.0, 98.0, 98.5),
        9: (98.0, 99.0, 97.5, 98.0), 10: (97.0, 98.0, 96.0, 97.0),
    }  # fmt: skip
    signal = bknb.Signal(position="long", price_take_profit=[(102.0, 0.25), (120.0, 0.25)], price_stop_loss=90.0)
    answers: dict[int, Any] = {
        2: bknb.Add(0.5),
        5: bknb.Add(1.0, price_open=97.0),
        7: [bknb.Move(price_stop_loss=91.0), bknb.Reduce(0.2)],
        8: bknb.Reduce(0.3, of="first"),
        10: bknb.Close(),
    }
    if mirrored:
        candles = {k: tuple(200.0 - price for price in (o, low, high, c)) for k, (o, high, low, c) in candles.items()}
        signal, answers = flipped(signal), {k: flipped(answer) for k, answer in answers.items()}
    strategy = bknb.add_strategy(
        "parts", interval="1m", get_signal=lambda when: signal if when.minute == 1 else None,
        manage=lambda when: answers.get(when.minute),
    )  # fmt: skip
    broker, data = bknb.brokers.paper(), [(ORIGIN + k * MINUTE, *candles[k], 1.0) for k in candles]
    result = live(strategy, source(data), broker, minutes=15, **FREE)
    assert not result.errors, result.errors
    assert not result.rejections

    def flip(price: float) -> float:
        return 200.0 - price if mirrored else price

    assert prices(broker, result) == [
        ("open", 2.0, flip(100.0), flip(100.0)),
        ("add", 1.0, flip(100.0), flip(100.0)),
        ("reduce", 0.5, flip(102.0), flip(102.0)),  # the level, and the open of the next candle
        ("add", 2.0, flip(97.0), flip(97.0)),
        ("reduce", pytest.approx(0.9), flip(97.5), flip(97.5)),
        ("reduce", pytest.approx(0.6), flip(98.5), flip(98.5)),
        ("close", pytest.approx(3.0), flip(97.0), flip(97.0)),
    ]
    assert broker.position("BTCUSDT") == 0.0


def check_account(broker: PaperBroker, result: bknb.Result, *, until: int) -> int:
    """What was bought for each position was sold, and fills that were ordered before their candle are the record's."""
    same = 0
    for end in result.run_record.records.closed:
        if end.when >= until:  # what closes it may not have filled yet
            continue
        orders = list(orders_of(broker, end))
        assert all(order.status in ("filled", "cancelled") for order in orders), orders
        held = [order.filled_quantity * (1 if order.side == "buy" else -1) for order in orders]
        assert abs(math.fsum(held)) < 1e-9, orders
        for fill in end.fills:
            order = order_of(broker, end, fill.kind, fill.number)
            if order is None:
                continue
            assert order.filled_quantity == pytest.approx(fill.share * QUANTITY)
            in_time = fill.reason != "take_profit" and order.created_at % MINUTE == 0
            same += in_time
            assert not in_time or order.average_price == pytest.approx(fill.price, rel=1e-12)
    return same


def as_limits(answer: Any) -> Any:
    """Stop entries as limits: they are ordered behind the candle that reached them, so the account is a minute late."""
    if isinstance(answer, list):
        return [as_limits(one) for one in answer]
    return replace(answer, entry="limit") if isinstance(answer, bknb.Signal) else answer


@pytest.mark.slow
@settings(max_examples=1)
@given(seed=SEEDS)
@example(seed=1)
def test_random_managers_at_a_broker_equal_a_backtest_and_the_account_follows(seed: int) -> None:
    assert carried_out(seed) > 5 or seed != 1


@pytest.mark.slow
@settings(max_examples=6)
@given(seed=SEEDS)
def test_more_random_managers_at_a_broker(seed: int) -> None:
    carried_out(seed)


def carried_out(seed: int) -> int:
    """A random world in which the record must be that of a backtest; how many fills of the account are the record's."""
    minutes, candles = 100, walk(seed)
    exchange = source(candles)
    signals, answers = drawn(seed), managing(seed)

    def get_signal(when: Any, price: float) -> Any:
        return as_limits(signals(when, price))

    def manage(when: Any, position: Any, price: float) -> Any:
        return as_limits(answers(when, position, price))

    strategy = bknb.add_strategy("random", interval="1m", get_signal=get_signal, manage=manage, manage_interval="1m")
    broker = bknb.brokers.paper()
    result = live(strategy, exchange, broker, minutes=minutes)
    # an add and the end of its position in one candle: in the record the add may come too late; or it is the last one
    frame = (ORIGIN, ORIGIN + minutes * MINUTE)
    known = "; the record never added it"
    others = [error for error in result.errors if known not in error.message]
    at_end = [order for order in broker.orders.values() if order.working and order.price is None]
    assert len(others) == bool(at_end), others
    assert all("the run ended before paper carried out what the record says" in error.message for error in others)
    traded = max(row[0] for row in candles if row[0] < frame[1] and row[5] > 0)
    assert all(order.created_at > traded for order in at_end)  # no candle came that could fill it
    plan = plan_backtest("BTCUSDT", frame=frame, strategy=strategy, exchange=exchange, settings=SETTINGS)
    run = BacktestRun(plan)
    asyncio.run(run.through())
    ends = frame[1] - MINUTE
    assert told(result.run_record.records, before=ends) == told(run.records, before=ends)
    return check_account(broker, result, until=frame[1] - 5 * MINUTE)


# --- by hand ------------------------------------------------------------------------------------------------------

BY_HAND: Mapping[str, tuple[dict[float, Any], dict[str, Any] | None, list[tuple[str, float, float, float]]]] = {
    "reduce, then close": (
        {5.5: lambda task: task.reduce(0.25), 8.2: lambda task: task.close()},
        None,
        [("open", 2.0, 100.0, 100.0), ("reduce", 0.5, 101.0, 101.0), ("close", 1.5, 104.0, 104.0)],
    ),
    "close all": (
        {5.5: lambda task: task.reduce(0.5), 6.5: lambda _task: bknb.Live.close_all()},
        None,
        [("open", 2.0, 100.0, 100.0), ("reduce", 1.0, 101.0, 101.0), ("close", 1.0, 102.0, 102.0)],
    ),
    "open": (
        {
            5.5: lambda task: task.open(bknb.Signal(side="short", trailing=bknb.Trailing(percent=9))),
            7.5: lambda task: task.reduce(0.5),
            8.5: lambda task: task.close(),
        },
        {},
        [("open", 2.0, 101.0, 101.0), ("reduce", 1.0, 103.0, 103.0), ("close", 1.0, 104.0, 104.0)],
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand_at_a_broker_is_as_without_one_and_the_account_follows(name: str) -> None:
    decisions, signal, wanted = BY_HAND[name]
    candles = rows(100, 101, 102, 103, 104, 105)
    broker = bknb.brokers.paper()
    result, answers, task = play(decisions, candles=candles, signal=signal, broker=broker)
    alone, _, _ = play(decisions, candles=candles, signal=signal)
    assert told_by_hand(result) == told_by_hand(alone), answers
    assert prices(broker, result) == wanted
    assert broker.position("X") == 0.0
    assert set(task.orders["status"]) == {"filled"}


def test_an_add_that_rests_is_taken_back_by_hand() -> None:
    strategy = {"manage": lambda when: bknb.Add(1.0, price_open=90.0) if when.minute == 4 else None}
    broker = bknb.brokers.paper()
    _, answers, task = play({5.5: lambda task: task.cancel(), 7.5: lambda task: task.close()}, broker=broker,
                            strategy=strategy)  # fmt: skip
    assert answers[0].startswith("takes back 1 add")
    assert list(zip(task.orders["purpose"], task.orders["status"], strict=True)) == [
        ("open", "filled"), ("add", "cancelled"), ("close", "filled"),
    ]  # fmt: skip
    assert broker.position("X") == 0.0


@pytest.mark.parametrize("decide", [lambda task: task.flatten("enough"), lambda task: task.cancel("enough")])
def test_an_entry_order_that_has_not_left_is_taken_back_by_hand(decide: Any) -> None:
    """A stop entry is watched here: nothing of it is at the broker."""
    entry = {"side": "long", "entry": "stop", "price_open": 101.0}
    broker = bknb.brokers.paper()
    result, answers, _ = play({1.5: decide, 2.5: decide}, candles=rows(100, 102), signal=entry, broker=broker)
    assert answers[0] == "takes back the entry order of hand-X-20240101T0001, which has not left"
    assert result.cancelled[["reason", "note"]].to_numpy().tolist() == [["manual", "enough"]]
    assert (len(result.trades), broker.orders) == (0, {})


def test_what_waits_can_be_cancelled_and_the_answers_say_so() -> None:
    """A stop entry that has not left, then the position, then the position with an add that rests."""
    entry = {"side": "long", "entry": "stop", "price_open": 101.0}
    strategy = {"manage": lambda position: bknb.Add(1.0, price_open=90.0) if position.minutes == 2 else None}
    look = lambda task: task.decisions  # noqa: E731 -- as the others
    _, answers, _ = play({1.25: look, 1.5: lambda task: task.close(), 5.5: look, 8.5: look}, candles=rows(102, 103),
                         signal=entry, broker=bknb.brokers.paper(), strategy=strategy)  # fmt: skip
    assert answers[0] == "('cancel',)"
    assert "the entry order of hand-X-20240101T0001 has not left\nuse cancel() to take it back" in answers[1]
    assert answers[2:] == ["('cancel', 'move', 'activate')", "('close', 'reduce', 'move', 'cancel')"]


@pytest.mark.parametrize("execution", ["pessimistic", "vwap"])
def test_a_run_that_is_stopped_ends_when_its_broker_has_closed_what_the_record_has_closed(execution: str) -> None:
    """A broker on paper fills at the next candle what the candle before it has closed in the record."""
    entry, broker = {"side": "long", "price_stop_loss": 95.0}, bknb.brokers.paper()
    result, _, task = play({5.5: lambda task: task.stop()}, candles=rows(100, 90), signal=entry, broker=broker,
                           strategy={"execution": execution}, until=40)  # fmt: skip
    assert result.trades["close_reason"].tolist() == ["stop_loss"]
    assert (broker.position("X"), set(task.orders["status"])) == (0.0, {"filled"})
    assert result.stopped
    assert (result.warnings, result.errors) == ([], [])


@pytest.mark.parametrize("left", [False, True])
def test_what_the_broker_has_not_carried_out_at_the_end_of_a_run_is_told(*, left: bool) -> None:
    """The last candle before the end closes the record, or the run is left behind it."""
    entry, broker = {"side": "long", "price_stop_loss": 95.0}, bknb.brokers.paper()
    decisions = {7.5: lambda task: task.stop(now=True)} if left else {}
    result, _, _ = play(decisions, candles=rows(100, 90), signal=entry, broker=broker, until=40 if left else 7)
    assert broker.position("X") == 2.0
    (warning,) = result.warnings
    assert warning.startswith("the run ended before paper carried out what the record says: the order to close ")
    assert "(sell 2 X, " in warning
    assert [failure.kind for failure in result.errors] == ["broker"]


@pytest.mark.parametrize("minute", [1.5, 3.5])
def test_an_entry_is_not_taken_back_with_a_note_that_cannot_be_saved(minute: float) -> None:
    entry = {"side": "long", "entry": "stop", "price_open": 101.0}
    broker = bknb.brokers.paper()
    _, answers, _ = play({minute: lambda task: task.cancel("\ud800")}, signal=entry, broker=broker)
    assert "note must be text that can be written, got '\\ud800'" in answers[0]


@pytest.mark.parametrize("decide", [lambda task: task.flatten(), lambda task: task.cancel()])
def test_an_entry_order_that_has_left_is_not_taken_back_by_hand(decide: Any) -> None:
    _, answers, _ = play({1.5: decide}, broker=bknb.brokers.paper())
    assert "the entry order of hand-X-20240101T0001 has left, no candle has filled it yet" in answers[0]


@pytest.mark.parametrize("position", ["long", "short"])
def test_an_add_that_rests_is_taken_back_when_its_run_is_stopped(position: str) -> None:
    level, reached = (90.0, 89.0) if position == "long" else (110.0, 111.0)
    strategy = {"manage": lambda when: bknb.Add(1.0, price_open=level) if when.minute == 4 else None}
    signal = {"position": position, "minute_estimated_time": 9}
    broker = bknb.brokers.paper()
    result, _, task = play({5.5: lambda task: task.stop()}, candles=rows(*[100.0] * 8, reached), signal=signal,
                           broker=broker, strategy=strategy)  # fmt: skip
    (back,) = [event for event in result.run_record.records.positions if isinstance(event, bknb.AddCancelled)]
    assert (back.reason, back.price_open, back.when) == ("stopped", level, at(5))
    assert list(zip(task.orders["purpose"], task.orders["status"], strict=True)) == [
        ("open", "filled"), ("add", "cancelled"), ("close", "filled"),
    ]  # fmt: skip
    assert result.trades[["close_reason", "fills"]].to_numpy().tolist() == [["time_expired", 2]]
    assert broker.position("X") == 0.0


def test_an_account_that_differs_takes_no_add_and_its_position_is_watched_to_its_end() -> None:
    """A part is refused again and again: until the position has left by its stop, nothing is added or rests."""
    reduces = [bknb.brokers.Trouble(kind="refuse")] * 8
    broker = bknb.brokers.paper(script={"place": [None, None, *reduces]})
    answers = {
        3: bknb.Add(1.0, price_open=90.0),
        4: bknb.Reduce(0.5),
        13: bknb.Add(1.0),
        14: bknb.Move(price_stop_loss=99.0),
    }
    strategy = {"manage": lambda when: answers.get(when.minute)}
    result, _, task = play({}, candles=rows(*[100.0] * 10, 98.0), broker=broker, strategy=strategy)
    assert [reason.code for event in result.rejections for reason in event.reasons] == ["stopped"]
    assert list(result.trades["close_reason"]) == ["stop_loss"]
    assert broker.position("X") == 0.0
    assert task.orders["quantity"].iloc[-1] == 2.0
    (told_,) = [warning for warning in result.run_record.records.warnings if "new entries were stopped" in warning]
    assert "the order to reduce" in told_
    (back,) = [event for event in result.run_record.records.positions if isinstance(event, bknb.AddCancelled)]
    assert (back.reason, back.price_open) == ("disagreement", 90.0)
    assert dict(zip(task.orders["purpose"], task.orders["status"], strict=True))["add"] == "cancelled"
    assert result.run_record.records.closed[0].closed_at == at(15)


# --- killed -------------------------------------------------------------------------------------------------------


KILLED = (("broker", 7, 8, pytest.mark.slow), ("disk", 29, 6, pytest.mark.slow),
          ("broker", 1, 70, pytest.mark.long), ("disk", 1, 200, pytest.mark.long))  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(("where", "step", "killed"), [pytest.param(*case[:3], marks=case[3]) for case in KILLED])
def test_killed_anywhere_each_order_is_sent_once_and_nothing_is_left(
    folder_in_memory: Path, where: str, step: int, killed: int
) -> None:
    """A process is killed at the n-th change of its disk or at the n-th call of its broker, for every STEP-th n."""
    script = Path(__file__).with_name("managed_broker_life.py")
    command = [sys.executable, script, folder_in_memory, where, str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["killed"] > killed
    assert found["fills"] == [9, 4]
    assert found["purposes"] == {"open": 2, "reduce": 4, "add": 5, "close": 3}
