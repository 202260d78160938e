"""A signal at the market that is taken for right breaks no rule, and its order is the one that all rules lead to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import bknb
from bknb.config import Settings
from bknb.domain.checked_signal import checked_signal, is_right_at_market
from bknb.domain.fills_at_stops_and_gaps import execution_model
from bknb.domain.signal import ScheduledSignal, Signal
from bknb.domain.signal_validation import broken_rules
from bknb.domain.states import Rules

PRICES = st.floats(80, 120) | st.sampled_from([0.0, -1.0, 100.0, float("nan"), float("inf"), 100, None, True])
MODEL = execution_model("pessimistic")
RULES = Rules("BTCUSDT", "s", "demo", None, "backtest", MODEL, Settings())
GOOD: dict[str, Any] = {
    "position": "long", "price_take_profit": 110.0, "price_stop_loss": 95.0, "minute_estimated_time": 60,
}  # fmt: skip


@given(
    position=st.sampled_from(["long", "short", "up", None]),
    target=PRICES,
    stop=PRICES,
    minutes=st.sampled_from([60, 1, 0, -1, 10**6, 60.0, True, None]),
    side=st.sampled_from([None, "long", "short"]),
    price=st.floats(90, 110) | st.sampled_from([0.0, -5.0, float("nan"), float("inf")]),
    limits=st.sampled_from([{}, {"max_stop_loss_distance_percent": 3.0}, {"max_signal_lifetime_minutes": 30}]),
)
def test_a_signal_that_is_taken_for_right_breaks_no_rule(
    position: Any, target: Any, stop: Any, minutes: Any, side: Any, price: float, limits: Any
) -> None:
    signal = Signal(
        position=position,
        price_take_profit=target,
        price_stop_loss=stop,
        minute_estimated_time=minutes,
        side=side,
    )
    settings = replace(Settings(), **limits)
    if is_right_at_market(signal, price, settings):
        assert broken_rules(signal, price=price, model=MODEL, settings=settings) == []


@pytest.mark.parametrize("position", ["long", "short"])
def test_its_order_is_the_one_that_all_rules_lead_to(position: Any) -> None:
    target, stop = (110.0, 95.0) if position == "long" else (90.0, 105.0)
    given = GOOD | {"position": position, "price_take_profit": target, "price_stop_loss": stop, "note": "up"}
    signal = Signal(**given)
    assert is_right_at_market(signal, 100.0, Settings())
    rules = RULES._replace(place="a")
    order = checked_signal(signal, 60_000, 100.0, rules, last_id=None, suffix="-2")
    named = checked_signal(replace(signal, id="mine"), 60_000, 100.0, rules, last_id=None)  # goes through all rules
    assert isinstance(order, ScheduledSignal)
    assert order.id == "s-BTCUSDT-19700101T0001@a-2"
    assert isinstance(named, ScheduledSignal)
    assert replace(named, id=order.id) == order


@pytest.mark.parametrize(
    "more",
    [
        {"price_open": 99.0},
        {"entry": "stop", "price_open": 101.0},
        {"entry": "close"},
        {"note": "two\x00"},
        {"note": 5},
        {"id": "mine"},
        {"trailing": bknb.Trailing(percent=1.0)},
        {"breakeven": bknb.Breakeven(after=1.0)},
        {"memo": {"leg": 1}},
        {"until": 30},
        {"bars": 3},
        {"valid": None},
        {"size": 0.5},
        {"score": 1.0},
        {"stop_percent": 1.0},
        {"target_percent": 1.0},
        {"place": "a"},
        {"side": "short"},
        {"price_take_profit": [(104.0, 0.5)]},
    ],
)
def test_all_rules_are_gone_through_where_a_signal_says_more(more: dict[str, Any]) -> None:
    assert is_right_at_market(Signal(**GOOD), 100.0, Settings())
    assert not is_right_at_market(Signal(**GOOD | more), 100.0, Settings())
