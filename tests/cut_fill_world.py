"""Two symbols that share 10 000 of cash: what one sells at an open pays for the other one, and is less than it seemed.

A falls at the opens at which it leaves: an entry and an add of B are cut when they fill. Nobody trades A at minute 20:
an entry of B that counts on its cash is refused when it fills.
"""

from __future__ import annotations

from typing import Any

from scenarios import MINUTE, ORIGIN, source

import bknb

UNTIL = 28
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
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
        "settings": FREE,
    }  # fmt: skip


def ended_with_adds(
    answers: dict[int, Any], candle: tuple[float, ...], *, at: int = 8, minutes: int = 500, paid: bool = False
) -> dict[str, Any]:
    """B alone: 50 are held from minute 0 on, with a stop at 90; where not all is ``paid``, funding takes 2 500 at 5.

    The market is flat at 100 up to a candle, and where that closed from then on.
    """

    def get_signal(when: Any) -> Any:
        levels = {"price_take_profit": 900.0, "price_stop_loss": 90.0, "minute_estimated_time": minutes}
        return {"position": "long"} | levels if when.minute == 0 else None

    bknb.add_strategy(
        "ends", interval="1m", get_signal=get_signal, manage=lambda when: answers.get(when.minute), manage_interval="1m"
    )
    candles = [*[(100.0,) * 4] * (60 + at), candle, *[(candle[3],) * 4] * (59 - at)]
    rows = [(ORIGIN + k * MINUTE, *each, 100.0) for k, each in enumerate(candles, -60)]
    funding = [] if paid else [(ORIGIN + 5 * MINUTE, 0.5)]
    return {
        "legs": [("B", "ends")], "exchange": {"B": source(rows)}, "account": bknb.Perpetual(), "capital": 10_000,
        "sizing": "units:50", "settings": FREE, "costs": bknb.Costs(funding=funding),
    }  # fmt: skip
