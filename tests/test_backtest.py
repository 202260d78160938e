"""Plain, in the background, trade by trade: the same run; listeners, callbacks, risk refusals."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing

import pytest
from scenarios import MINUTE, ORIGIN, source

import bknb

FRAME = ("2024-01-01", "2024-01-03")
CALL = {"exchange": "demo", "frame": FRAME, "interval": "1h"}


def eager(price):
    return bknb.Signal(
        position="long", price_take_profit=price * 1.01, price_stop_loss=price * 0.99, minute_estimated_time=50
    )


def patient(price):
    return bknb.Signal(
        position="long",
        price_open=price * 0.999,
        price_take_profit=price * 1.01,
        price_stop_loss=price * 0.99,
        minute_estimated_time=50,
    )


def ends(events):
    return [event for event in events if event.action in ("closed", "cancelled")]


@pytest.fixture
def plain():
    return bknb.backtest("BTCUSDT", strategy=eager, **CALL)


def test_trade_by_trade_and_in_the_background_come_to_the_same(plain):
    async def collect():
        return [trade async for trade in bknb.Backtest.run("BTCUSDT", strategy=eager, **CALL)]

    async def wait():
        return await bknb.Backtest.background("BTCUSDT", strategy=eager, **CALL)

    assert len(plain.trades) > 10
    assert asyncio.run(collect()) == ends(plain.events)
    assert asyncio.run(wait()).events == plain.events


def test_leaving_the_loop_early_ends_the_run():
    asked, waited = [], []

    def patient(price):  # asked a second time while the exit is on its way; gives a third answer when the loop was left
        asked.append(price)
        until = time.monotonic() + 20
        while len(asked) > 2 and time.monotonic() < until and not any(each.stopping for each in bknb.Backtest.list()):
            time.sleep(0.001)
        waited.append(time.monotonic() >= until)
        return eager(price)

    async def first():
        async with aclosing(bknb.Backtest.run("BTCUSDT", strategy=patient, **CALL)) as trades:
            return await anext(trades)

    assert asyncio.run(first()).action == "closed"
    (task,) = [task for task in bknb.Backtest.list() if task.strategy == "patient"]
    assert task.done
    assert task.result().stopped
    assert not any(waited)


def test_stop_watches_the_position_to_its_end_and_stop_now_leaves_it():
    for now, trades in ((False, 1), (True, 0)):
        tasks = []
        asked = threading.Event()

        def on_open(event, now=now, tasks=tasks, asked=asked):
            assert asked.wait(10)
            tasks[0].stop(now=now)

        name = f"stopped {now}"
        bknb.add_strategy(name, interval="1h", get_signal=eager, callbacks={"on_open": on_open})
        tasks.append(bknb.Backtest.background("BTCUSDT", strategy=name, **CALL))
        asked.set()
        result = tasks[0].result(timeout=20)
        assert result.stopped
        assert len(result.trades) == trades
        assert tasks[0].status == "fulfilled"


def test_a_failed_run_raises_where_it_is_awaited():
    task = bknb.Backtest.background("BTCUSDT", strategy=eager, exchange=lambda *_: [], frame=FRAME)
    with pytest.raises(bknb.NotEnoughData):
        task.result(timeout=20)
    assert task.status == "rejected"


def test_reports_of_two_strategies_never_share_a_file(tmp_path):
    bknb.add_strategy("../up", interval="1h", get_signal=eager)
    result = bknb.backtest("BTCUSDT", strategy="../up", exchange="demo", frame=FRAME)
    path = bknb.Backtest.dump("BTCUSDT", "../up", tmp_path)
    assert path.parent == tmp_path
    assert path.read_text() == result.report() == bknb.Backtest.get_report("BTCUSDT", "../up")
    with pytest.raises(bknb.UnknownName):
        bknb.Backtest.get_data("BTCUSDT", "nobody")


def test_callbacks_receive_every_event_and_never_stop_a_run(plain):
    opened, ticks = [], []

    def on_close(_):
        raise RuntimeError("no")

    bknb.add_strategy(
        "told",
        interval="1h",
        get_signal=eager,
        callbacks={
            "on_open": lambda event: opened.append(bknb.get_when()),
            "on_close": on_close,
            "on_tick": ticks.append,
        },
    )
    result = bknb.backtest("BTCUSDT", strategy="told", exchange="demo", frame=FRAME)
    assert len(opened) == len(plain.trades)
    assert [type(event) for event in ticks] == [type(event) for event in plain.events]
    (failure,) = result.errors
    assert (failure.kind, failure.count) == ("callback", len(plain.trades))


def test_listeners_receive_the_events_of_the_run_in_order():
    received, milestones, done, progress = [], [], [], []
    stops = [
        bknb.listen_signal_backtest(received.append),
        bknb.listen_partial_profit(milestones.append),
        bknb.listen_partial_loss(milestones.append),
        bknb.listen_done_backtest(lambda event: done.append(len(received))),
        bknb.listen_progress_backtest(lambda event: progress.append(event.progress)),
    ]
    result = bknb.backtest("BTCUSDT", strategy=patient, **CALL)
    task = bknb.Backtest.background("BTCUSDT", strategy=patient, **CALL)
    task.result()
    for stop in stops:
        stop()
    assert received == result.events * 2
    assert {event.action for event in received} >= {"scheduled", "opened", "closed", "cancelled"}
    assert sorted(map(repr, milestones)) == sorted(map(repr, result.milestones * 2))
    assert progress == sorted(progress[: len(progress) // 2]) * 2
    assert progress[-1] == 1.0


def test_a_quiet_listener_receives_each_quiet_minute_once(plain):
    received = []
    stop = bknb.listen_signal(received.append, quiet=True)
    result = bknb.backtest("BTCUSDT", strategy=eager, **CALL)
    stop()
    assert result.events == plain.events
    quiet = [event.when for event in received if event.action in ("idle", "active")]
    closing = {event.closed_at for event in ends(result.events)}
    minutes = set(range(result.start, result.end + 60_000, 60_000))
    assert len(quiet) == len(set(quiet))
    assert set(quiet) == minutes - closing


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        (lambda request: False, "a rule says no"),
        (lambda request: "too wild", "a rule says no: too wild"),
        (lambda request: 1 / 0, "a rule says no: division by zero"),
    ],
)
def test_a_risk_profile_refuses_with_its_note(rule, note):
    bknb.add_risk("never", validations=[{"validate": rule, "note": "a rule says no"}])
    bknb.add_strategy("held-back", interval="1h", get_signal=eager, risk="never")
    received = []
    stop = bknb.listen_risk(received.append)
    result = bknb.backtest("BTCUSDT", strategy="held-back", exchange="demo", frame=FRAME)
    stop()
    assert result.trades.empty
    assert {refused.note for refused in result.refused} == {note}
    assert received == result.refused
    assert len(received) == 48  # every hour of two days but the last moment


def test_risk_is_asked_once_per_candidate_and_again_at_activation():
    asked = []

    async def watch(request):
        await asyncio.sleep(0)
        asked.append((request.signal.id, request.open_position_count))
        touched = asked[:-1].count(asked[-1])
        return not touched or sum(asked.count(one) > 1 for one in set(asked)) > 1  # refuses the first activation

    bknb.add_risk("watch", validations=watch)
    bknb.add_strategy("watched", interval="1h", get_signal=patient, risk="watch")
    result = bknb.backtest("BTCUSDT", strategy="watched", exchange="demo", frame=FRAME)
    assert [reason for reason in result.cancelled["reason"] if reason == "risk"] == ["risk"]
    assert {count for _, count in asked} == {0}  # a place that is given back is free again
    opened = [event for event in result.events if event.action == "opened"]
    scheduled = [event for event in result.events if event.action == "scheduled"]
    later = [event for event in opened if event.signal.pending_at > event.signal.scheduled_at]
    assert len(asked) == len({event.signal.id for event in [*scheduled, *opened]}) + len(later) + 1


@pytest.mark.slow
def test_a_strategy_that_never_answers_is_abandoned_for_its_slot():
    async def get_signal(when):
        if when.hour == 1:
            await asyncio.Event().wait()

    result = bknb.backtest("BTCUSDT", strategy=get_signal, settings={"max_signal_generation_seconds": 1}, **CALL)
    (failure,) = [failure for failure in result.errors if failure.kind == "timeout"]
    assert failure.count == 2  # one o'clock comes twice
    assert not result.stopped


def test_equity_compounds_and_why_lists_the_events(plain):
    value = 1.0
    for pnl in plain.trades["pnl_percentage"]:
        value *= 1 + pnl / 100
    assert plain.equity.iloc[-1] == pytest.approx(value)
    assert plain.equity.iloc[0] == 1.0
    first = plain.trades.iloc[0]
    story = plain.why(first["signal_id"]).splitlines()
    assert "opened: long" in story[0]
    assert f"closed: {first['close_reason']}" in story[-1]
    with pytest.raises(bknb.UnknownName):
        plain.why("nothing")
    assert plain.stats["n"] == len(plain.trades)


def test_registering_again_replaces_and_logs_it(caplog):
    with caplog.at_level("INFO", logger="bknb"):
        for _ in range(2):
            bknb.add_strategy("twice", interval="1h", get_signal=eager)
    assert caplog.messages == ["strategy 'twice' replaced"]
    with pytest.raises(bknb.UsageError, match="exists already"):
        bknb.add_strategy("twice", interval="1h", get_signal=eager, strict=True)


@pytest.mark.parametrize("execution", ["pessimistic", "touch", "vwap"])
@pytest.mark.parametrize("limit", [None, 99.0])
def test_where_the_data_end_nobody_is_asked_again(execution, limit):
    rows = [(ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 1.0) for k in range(-10, 31)]
    asked = []

    def get_signal(when):
        asked.append(round(when.timestamp() * 1000))
        return bknb.Signal(
            position="long", price_open=limit, price_take_profit=110.0, price_stop_loss=90.0, minute_estimated_time=100
        )

    result = bknb.backtest(
        "BTCUSDT", strategy=get_signal, exchange=source(rows), interval="1m", execution=execution,
        frame=(ORIGIN, ORIGIN + 60 * MINUTE),
    )  # fmt: skip
    assert asked == [ORIGIN]
    (end,) = ends(result.events)
    assert (getattr(end, "close_reason", None) or end.reason, end.when) == ("data_end", ORIGIN + 30 * MINUTE)
