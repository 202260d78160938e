"""What the run cards beside this file were made of: ``python -c "import carded_money; carded_money.make()"``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bknb

FRAME = "2024-01-02:2024-01-03"
PART = 0.5


def half(request: bknb.SizeRequest) -> float:
    return request.equity * PART


def ticket(order: bknb.CostRequest) -> float:
    return 0.5 + 0.0001 * order.value


def get_signal(price: float) -> Any:
    return {"position": "long", "price_take_profit": price * 1.01, "price_stop_loss": price * 0.99}


def register() -> None:
    bknb.add_risk("calm", validations=[bknb.protections.cooldown(pause="30m", losses=1)])
    bknb.add_strategy("carded", interval="2h", get_signal=get_signal, risk="calm")


def play() -> dict[str, Any]:
    """A run without a capital, one with it, and a portfolio."""
    register()
    money: dict[str, Any] = {"capital": 10_000, "costs": bknb.Costs(taker=0.05, fixed=ticket), "benchmark": "SOLUSDT"}
    run = {"exchange": "demo", "frame": FRAME}
    sizes = {"BTCUSDT": half, "ETHUSDT": "risk:1"}
    legs = [("BTCUSDT", "carded"), ("ETHUSDT", "carded")]
    return {
        "plain": bknb.backtest("BTCUSDT", strategy="carded", **run),
        "run": bknb.backtest("BTCUSDT", strategy="carded", sizing=half, account="margin:1", **money, **run),
        "portfolio": bknb.portfolio(legs=legs, sizing=sizes, name="two", **money, **run),
    }


def make() -> None:
    for name, result in play().items():
        result.card.save(Path(__file__).with_name(f"{name}.json"))
