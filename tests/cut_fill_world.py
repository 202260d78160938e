"""Two symbols that share 10 000 of cash: what one sells at an open pays for the other one, and is less than it seemed.

A falls at the opens at which it leaves: an entry and an add of B are cut when they fill. Nobody trades A at minute 20:
an entry of B that counts on its cash is refused when it fills.
"""

from __future__ import annotations

from typing import Any

from scenarios import MINUTE, ORIGIN, source

import bknb

UNTIL = 28
OPENS = {5: 80.0, 12: 70.0}
"""Prices of A, where they are not 100."""

SIGNALS = {"A": (0, 10, 17), "B": (5, 20)}
ANSWERS: dict[str, dict[int, Any]] = {
    "A": {5: bknb.Close(), 12: bknb.Close(), 20: bknb.Close()},
    "B": {8: bknb.Reduce(0.5, of="first"), 12: bknb.Add(1.0), 14: bknb.Reduce(0.5), 16: bknb.Close()},
}
RECORD = {5: 82.0, 8: 41.0, 12: 69.7, 14: 34.85, 16: 0.0}
"""How much of B is held from the open of a minute on: 8 200 of 9 000, half of it, 2 870 of the 4 100 that was free."""

AT_BROKER = {5: 90.0, 6: 82.0, 8: 41.0, 12: 82.0, 13: 69.7, 14: 34.85, 16: 0.0, 20: 69.7, 21: 0.0}
"""The same at a broker: what is cut at an open is sold at the next one."""


def held(by_minute: dict[int, float]) -> list[float]:
    """How much is held in each minute."""
    found, now = [], 0.0
    for minute in range(UNTIL):
        now = by_minute.get(minute, now)
        found.append(now)
    return found


def options() -> dict[str, Any]:
    """The legs, their markets and their account."""
    legs = []
    for symbol in "AB":

        def get_signal(when: Any, symbol: str = symbol) -> Any:
            levels = {"price_take_profit": 900.0, "price_stop_loss": 1.0, "minute_estimated_time": 500}
            return {"position": "long"} | levels if when.minute in SIGNALS[symbol] else None

        def manage(when: Any, symbol: str = symbol) -> Any:
            return ANSWERS[symbol].get(when.minute)

        name = f"cut {symbol}"
        bknb.add_strategy(name, interval="1m", get_signal=get_signal, manage=manage, manage_interval="1m")
        legs.append((symbol, name))
    rows = {
        "A": [(ORIGIN + k * MINUTE, *[OPENS.get(k, 100.0)] * 4, 0.0 if k == 20 else 100.0) for k in range(-60, 60)],
        "B": [(ORIGIN + k * MINUTE, *[100.0] * 4, 100.0) for k in range(-60, 60)],
    }
    return {
        "legs": legs, "exchange": {symbol: source(rows[symbol]) for symbol in rows}, "account": bknb.Spot(),
        "capital": 10_000, "sizing": {"A": "cash:9000", "B": "cash:9000"},
        "settings": {"percent_fee": 0.0, "percent_slippage": 0.0},
    }  # fmt: skip
