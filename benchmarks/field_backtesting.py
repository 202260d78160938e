"""The strategy of ``field_case.py`` in backtesting.py: averages made once, the loop over one-minute bars."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

from field_case import FAST, FEE, SLOW, STOP, TARGET, Trade, frame, measure


def imports() -> str:
    """Import it with what a run needs."""
    import backtesting.lib  # noqa: F401 -- it is what is measured

    return version("backtesting")


def run(table: Any) -> list[Trade]:
    """A run with its statistics."""
    import numpy as np
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    def average(values: Any, count: int) -> Any:
        """Of 15m closes, from the minute on that completes them; resample_apply has it a minute later."""
        minutes = np.full(len(values), np.nan)
        minutes[14::15] = pd.Series(values[14::15]).rolling(count).mean()
        return pd.Series(minutes).ffill()

    class SmaCross(Strategy):
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, FAST)
            self.slow = self.I(average, self.data.Close, SLOW)

        def next(self) -> None:
            if not self.position and crossover(self.fast, self.slow):
                price = self.data.Close[-1]
                self.buy(size=1, tp=price * TARGET, sl=price * STOP)

    with warnings.catch_warnings(action="ignore"):
        stats = Backtest(table, SmaCross, cash=1e9, commission=FEE, finalize_trades=True).run()
    names = ["EntryTime", "EntryPrice", "ExitTime", "ExitPrice"]
    return [
        (int(a.timestamp() * 1000), float(b), int(c.timestamp() * 1000), float(d))
        for a, b, c, d in stats["_trades"][names].itertuples(index=False)
    ]


if __name__ == "__main__":
    measure(imports, frame, run)
