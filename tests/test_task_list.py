"""All runs of a symbol and a name that are going on are listed and stopped; the newest gives the data."""

from __future__ import annotations

import threading

import pytest

import bknb
from bknb.runs.backtest import TASKS


@pytest.fixture
def held():
    """A strategy that waits for an event at every question, and the event."""
    go = threading.Event()

    def held(ctx):
        go.wait(20)

    bknb.add_strategy("held", interval="1m", get_signal=held)
    bknb.add_exchange("world", get_candles=bknb.exchanges.demo())
    yield held, go
    go.set()


def background(strategy, day):
    return bknb.Backtest.background(
        "BTCUSDT", strategy=strategy, exchange="world", frame=(f"2024-01-{day:02}", f"2024-01-{day + 1:02}")
    )


def test_all_that_run_are_listed_and_stopped(held):
    strategy, go = held
    tasks = [background(strategy, day) for day in (1, 2, 3)]
    assert bknb.Backtest.list() == tasks
    assert background(strategy, 2) is tasks[1]
    bknb.Backtest.pause("BTCUSDT", "held")
    assert [task.paused for task in tasks] == [True, True, True]
    bknb.Backtest.resume("BTCUSDT", "held")
    assert [task.paused for task in tasks] == [False, False, False]
    bknb.Backtest.stop("BTCUSDT", "held", now=True)
    assert [task.stopping for task in tasks] == ["now", "now", "now"]
    go.set()
    results = [task.result() for task in tasks]
    assert all(result.stopped for result in results)
    assert bknb.Backtest.get_data("BTCUSDT", "held") is results[-1]


def test_those_that_are_over_give_way_to_the_newest(held):
    strategy, go = held
    go.set()
    first, second = background(strategy, 1), background(strategy, 2)
    assert first.wait(20)
    assert second.wait(20)
    assert bknb.Backtest.list() == [second]
    third = background(strategy, 3)
    assert third.wait(20)
    assert bknb.Backtest.list() == [third]
    bknb.Backtest.stop("BTCUSDT", "held")


def test_a_reset_ends_all_that_run(held):
    strategy, go = held
    tasks = [background(strategy, day) for day in (1, 2)]
    threading.Timer(0.2, go.set).start()
    TASKS.end_and_forget()
    assert [task.done for task in tasks] == [True, True]
    assert bknb.Backtest.list() == []


def test_comparisons_are_listed_and_stopped_alike(held):
    strategy, go = held
    tasks = [
        bknb.Walker.background("BTCUSDT", exchange="demo", frame=f"2024-01-0{day}:2024-01-0{day + 1}",
                               strategies=[strategy])
        for day in (1, 2)
    ]  # fmt: skip
    assert bknb.Walker.list() == tasks
    bknb.Walker.stop("BTCUSDT", tasks[0].walker, now=True)
    go.set()
    assert [task.result().stopped for task in tasks] == [True, True]
