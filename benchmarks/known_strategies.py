"""Known strategies in backtesting.py and vectorbt, over two weeks of the demo market: their trades, for the tests.

::

    python3 -m venv /tmp/known && /tmp/known/bin/pip install -e . backtesting vectorbt
    /tmp/known/bin/python benchmarks/known_strategies.py tests/data/known-strategies.json

Each strategy is written as the documentation of its tool writes it. ``tests/test_known_strategies.py`` runs the same
strategies in bknb over the same candles, compares with what this program stored, and needs neither tool.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bknb

START, END = pd.Timestamp("2024-01-02", tz="UTC"), pd.Timestamp("2024-01-16", tz="UTC")
STEP = pd.Timedelta("15min")
FEE = 0.001
UNITS = 300  # whole units in backtesting.py, which three can be divided by


def minutes() -> pd.DataFrame:
    """The one-minute candles, from a day before the start on."""
    frame = (START - pd.Timedelta("1D"), END)
    strategy = bknb.add_strategy("nobody", interval="1d", get_signal=lambda: None)
    candles = bknb.backtest("BTCUSDT", strategy=strategy, exchange=bknb.exchanges.demo(), frame=frame).candles
    index = pd.to_datetime(candles.timestamp, unit="ms", utc=True)
    columns = {name.title(): getattr(candles, name) for name in ("open", "high", "low", "close", "volume")}
    table = pd.DataFrame(columns, index=index)
    return table[(table.index >= frame[0]) & (table.index < END)]


def quarters(table: pd.DataFrame) -> pd.DataFrame:
    """Candles of 15 minutes, by their open time."""
    how = {"Open": "first", "High": "max", "Low": "min", "Close": "last", "Volume": "sum"}
    return table.resample("15min").agg(how)


def crosses(table: pd.DataFrame) -> pd.Series:
    """Whether the average of 10 crossed above that of 30, by the moment at which the candle that shows it closes."""
    close = quarters(table).Close
    above = close.rolling(10).mean() > close.rolling(30).mean()
    crossed = above & ~above.shift(1, fill_value=False)
    crossed.index = crossed.index + STEP
    return crossed


def trade(opened: Any, price: float, closed: Any, out: float, percent: float) -> list[Any]:
    """A trade as it is stored: moments as text, prices, net result in percent of the entry."""
    return [f"{opened:%m-%d %H:%M}", float(price), f"{closed:%m-%d %H:%M}", float(out), float(percent)]


def backtesting_sma_cross(table: pd.DataFrame) -> list[list[Any]]:
    """The strategy of the quick start guide, long only, on candles of 15 minutes."""
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    def average(values: Any, count: int) -> Any:
        return pd.Series(values).rolling(count).mean()

    class SmaCross(Strategy):
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, 10)
            self.slow = self.I(average, self.data.Close, 30)

        def next(self) -> None:
            if crossover(self.fast, self.slow) and self.data.index[-1] >= START.tz_localize(None) - STEP:
                self.buy(size=UNITS)
            elif crossover(self.slow, self.fast):
                self.position.close()

    return [trade(*row) for row in trades_of(run(Backtest, quarters(table), SmaCross))]


def run(backtest: Any, table: pd.DataFrame, strategy: Any) -> pd.DataFrame:
    """The trades of a strategy in backtesting.py; each market order fills at the open of the next bar."""
    plain = table.tz_localize(None)
    made = backtest(plain, strategy, cash=1e9, commission=FEE, finalize_trades=True)
    found: pd.DataFrame = made.run()["_trades"]
    return found.sort_values(["EntryTime", "ExitTime"], kind="stable")


def trades_of(found: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Entry, exit and result of each trade."""
    names = ("EntryTime", "EntryPrice", "ExitTime", "ExitPrice", "ReturnPct")
    return [(a, b, c, d, 100 * e) for a, b, c, d, e in found[list(names)].itertuples(index=False)]


def vectorbt_trailing(table: pd.DataFrame, percent: float = 1.0) -> list[list[Any]]:
    """``from_signals`` with ``sl_trail``: enter at the open after a cross, leave 1 % below the best price."""
    import vectorbt as vbt

    crossed = crosses(table)
    table = table[table.index >= START]
    entries = crossed.reindex(table.index, fill_value=False)
    portfolio = vbt.Portfolio.from_signals(
        table.Close,
        entries,
        exits=None,
        price=table.Open,
        open=table.Open,
        high=table.High,
        low=table.Low,
        sl_stop=percent / 100,
        sl_trail=True,
        stop_entry_price="FillPrice",
        fees=FEE,
        size=1.0,
        init_cash=1e9,
        freq="1min",
    )
    found = portfolio.trades.records
    rows = zip(
        table.index[found["entry_idx"]], found["entry_price"], table.index[found["exit_idx"]], found["exit_price"],
        100 * found["return"], strict=True,
    )  # fmt: skip
    return [trade(*row) for row in rows]


def vectorbt_tight_trailing(table: pd.DataFrame) -> list[list[Any]]:
    """The same with a stop so tight that the first minute decides some trades."""
    return vectorbt_trailing(table, percent=0.15)


def backtesting_three_targets(table: pd.DataFrame) -> list[list[Any]]:
    """Three orders of a third each, with one stop and a target of their own, on candles of one minute."""
    from backtesting import Backtest, Strategy

    crossed = crosses(table)

    class ThreeTargets(Strategy):
        def init(self) -> None: ...

        def next(self) -> None:
            moment = self.data.index[-1].tz_localize("UTC") + pd.Timedelta("1min")
            if moment >= START and not self.position and crossed.get(moment, False):
                close = self.data.Close[-1]
                for up in (1.004, 1.008, 1.012):
                    self.buy(size=UNITS // 3, sl=close * 0.994, tp=close * up)

    return [trade(*row) for row in trades_of(run(Backtest, table, ThreeTargets))]


def backtesting_dca(table: pd.DataFrame) -> list[list[Any]]:
    """Five steps: another order of the same size 0.5 % below the last, all closed 0.5 % above their average."""
    from backtesting import Backtest, Strategy

    crossed = crosses(table)

    class FiveSteps(Strategy):
        def init(self) -> None: ...

        def next(self) -> None:
            moment, close = self.data.index[-1].tz_localize("UTC") + STEP, self.data.Close[-1]
            entries = [each.entry_price for each in self.trades]
            if not entries:
                if moment >= START and crossed.get(moment, False):
                    self.buy(size=UNITS)
            elif close >= 1.005 * float(np.mean(entries)):
                self.position.close()
            elif len(entries) < 5 and close <= 0.995 * entries[-1]:
                self.buy(size=UNITS)

    return [trade(*row) for row in trades_of(run(Backtest, quarters(table), FiveSteps))]


def main(path: Path) -> None:
    """Run all of them and store their trades."""
    table = minutes()
    strategies = (
        backtesting_sma_cross,
        vectorbt_trailing,
        vectorbt_tight_trailing,
        backtesting_three_targets,
        backtesting_dca,
    )
    found: dict[str, Any] = {name: version(name) for name in ("backtesting", "vectorbt")}
    for strategy in strategies:
        found[strategy.__name__] = strategy(table)
        print(strategy.__name__, len(found[strategy.__name__]))
    rows = {
        name: value if isinstance(value, str) else "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        for name, value in found.items()
    }
    text = ",\n ".join(f'"{name}": {value if value[0] == "[" else json.dumps(value)}' for name, value in rows.items())
    path.write_text("{" + text + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
