"""The strategy of ``field_case.py`` in jesse: its research module, in fast mode."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from field_case import FAST, FEE, MINUTE, SLOW, STOP, TARGET, Trade, columns, measure

EXCHANGE, PAIR = "Binance Perpetual Futures", "BTC-USDT"


def imports() -> str:
    """Import it with what a run needs."""
    import jesse.indicators
    import jesse.research  # noqa: F401 -- it is what is measured

    return version("jesse")


def load(path: str) -> Any:
    """Candles as it takes them: time, open, close, high, low, volume."""
    import numpy as np

    of = columns(path)
    return np.column_stack([of[name] for name in ("timestamp", "open", "close", "high", "low", "volume")])


def run(candles: Any) -> list[Trade]:
    """A run with its metrics."""
    import jesse.indicators as ta
    from jesse.research import backtest
    from jesse.strategies import Strategy

    class SmaCross(Strategy):
        def before(self) -> None:
            self.crossed = False
            if len(self.candles) > SLOW:
                fast, slow = (ta.sma(self.candles[-SLOW - 5 :], each, sequential=True) for each in (FAST, SLOW))
                self.crossed = bool(fast[-1] > slow[-1] and not fast[-2] > slow[-2])

        def should_long(self) -> bool:
            return self.crossed

        def go_long(self) -> None:
            self.buy = 1, self.price

        def on_open_position(self, order: Any) -> None:  # noqa: ARG002 -- jesse's name for it
            self.take_profit = 1, self.position.entry_price * TARGET
            self.stop_loss = 1, self.position.entry_price * STOP

        def should_cancel_entry(self) -> bool:
            return True

    key = f"{EXCHANGE}-{PAIR}"
    config = {
        "starting_balance": 100_000_000,
        "fee": FEE,
        "type": "futures",
        "futures_leverage": 1,
        "futures_leverage_mode": "cross",
        "exchange": EXCHANGE,
        "warm_up_candles": 0,
    }
    routes = [{"exchange": EXCHANGE, "strategy": SmaCross, "symbol": PAIR, "timeframe": "15m"}]
    result = backtest(
        config,
        routes,
        [],
        {key: {"exchange": EXCHANGE, "symbol": PAIR, "candles": candles.copy()}},
        generate_json=True,
        fast_mode=True,
    )
    return [
        (int(each["opened_at"]), float(each["entry_price"]), int(each["closed_at"]) - MINUTE, float(each["exit_price"]))
        for each in result["trades"]
    ]


if __name__ == "__main__":
    measure(imports, load, run)
