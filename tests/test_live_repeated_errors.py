"""What a strategy or a callback of a live run raises again and again is told once, counted, and told again later."""

from __future__ import annotations

from typing import Any

import pytest
from minute_clock import MinuteClock
from scenarios import ORIGIN, source

import bknb

MINUTE = 60_000
ROWS = [[ORIGIN + n * MINUTE, *[100.0] * 4, 5.0] for n in range(-60, 80)]


def raises(*args: Any, **kwargs: Any) -> None:
    raise LookupError("no such thing")


def hold(when: Any, price: float) -> dict[str, Any]:
    levels = {"price_take_profit": price * 1.15, "price_stop_loss": price * 0.85, "minute_estimated_time": 100}
    return {"position": "long", **levels}


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        ("strategy", {"get_signal": raises}),
        ("callback", {"get_signal": hold, "callbacks": {"on_active": raises}}),
    ],
)
def test_what_user_code_raises_every_minute_is_told_once_with_its_count(kind: str, strategy: dict[str, Any]) -> None:
    heard: list[Any] = []
    bknb.listen_error(heard.append)
    task = bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("s", interval="1m", **strategy), exchange=source(ROWS),
        clock=MinuteClock(ORIGIN), until=ORIGIN + 30 * MINUTE, store=bknb.stores.memory(),
    )  # fmt: skip
    (error,) = task.result(timeout=30).errors
    assert error.kind == kind
    assert error.count >= 25
    assert [event.kind for event in heard] == [kind]
