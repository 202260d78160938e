"""A function given to a run is the strategy it was registered as: interval, risk, execution model and parameters."""

from __future__ import annotations

import pytest

import bknb
from bknb.testing.clocks import SimulatedClock

FRAME = "2024-01-01:2024-01-01 04:00"


def idle():
    return None


def run(strategy, **options):
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame=FRAME, **options)


def test_a_registered_function_runs_as_it_was_registered():
    asked = []

    def refuse(request):
        return False

    bknb.add_risk("closed", validations=[refuse])

    @bknb.strategy("mine", interval="15m", risk="closed", execution="touch", params={"size": 7})
    def get_signal(when, size=1):
        asked.append((when, size))

    plan = run(get_signal).run_record.plan
    assert {(when.minute % 15, size) for when, size in asked} == {(0, 7)}
    assert len(asked) == 16
    assert plan.strategy is bknb.get_strategy("mine")
    assert plan.execution == "touch"


def test_what_the_call_gives_comes_before_the_registration():
    bknb.add_strategy("mine", interval="15m", execution="touch", get_signal=idle)
    plan = run(idle, interval="1h", execution="pessimistic").run_record.plan
    assert (plan.strategy.name, plan.strategy.interval, plan.execution) == ("mine", "1h", "pessimistic")


def test_vectorised_functions_and_methods_have_their_registration_too():
    def get_signals(candles, length=20):
        return {
            "position": candles.close * 0,
            "price_take_profit": candles.close,
            "price_stop_loss": candles.close,
            "minute_estimated_time": 5,
        }

    class Desk:
        def get_signal(self):
            return None

    desk = Desk()
    bknb.add_strategy("rows", interval="1h", get_signals=get_signals, lookback=3)
    bknb.add_strategy("desk", interval="30m", get_signal=desk.get_signal)
    assert run(get_signals).run_record.plan.strategy is bknb.get_strategy("rows")
    assert run(desk.get_signal).run_record.plan.strategy is bknb.get_strategy("desk")
    assert run(Desk().get_signal).run_record.plan.strategy.interval == "1m"


def test_a_function_that_is_not_registered_is_asked_every_minute():
    bknb.add_strategy("mine", interval="15m", get_signal=lambda: None)
    plan = run(idle).run_record.plan
    assert (plan.strategy.name, plan.strategy.interval) == ("idle", "1m")


def test_a_function_with_several_registrations_has_to_be_named():
    bknb.add_strategy("slow", interval="1h", get_signal=idle)
    bknb.add_strategy("fast", interval="5m", get_signal=idle)
    with pytest.raises(bknb.UsageError) as caught:
        run(idle)
    assert str(caught.value) == (
        "the function idle is registered as 'slow' and 'fast', and each may run differently\n"
        "give the run the name of one of them, such as strategy='slow'"
    )


def test_live_runs_sweeps_and_comparisons_use_the_registration():
    bknb.add_strategy("mine", interval="15m", get_signal=idle)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=idle,
        exchange="demo",
        clock=SimulatedClock(1_704_067_200_000),
        until="2024-01-01 00:02",
        store=bknb.stores.memory(),
    )
    task.wait()
    assert task.strategy == "mine"
    compared = bknb.walker("BTCUSDT", exchange="demo", frame=FRAME, strategies=[idle], metric="n")
    assert [entry.strategy for entry in compared] == ["mine"]
