"""A portfolio in vectorbt, one leg of it in backtesting.py, and figures of quantstats and empyrical: for the tests.

::

    python3 -m venv /tmp/known && /tmp/known/bin/pip install vectorbt backtesting quantstats empyrical-reloaded
    /tmp/known/bin/python benchmarks/known_portfolios.py tests/data/known-portfolios.json

The candles are random walks of days, stored with the values. ``tests/test_known_portfolios.py`` runs the same in bknb
over the same candles, compares, and needs none of these.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NAMES = ("AAA", "BBB", "CCC", "DDD")
START = pd.Timestamp("2024-01-01", tz="UTC")
BEFORE, DAYS = 40, 366
CAPITAL, EACH, FEE = 50_000.0, 20_000.0, 0.001
UNITS = 200
DAYS_A_YEAR = 365


def candles() -> dict[str, dict[str, list[float]]]:
    """Opens and closes of each symbol, with cents; opens are off the close before."""
    random = np.random.default_rng(9)
    found = {}
    for name in NAMES:
        close = np.round(100 * np.exp(np.cumsum(random.normal(0.0005, 0.02, BEFORE + DAYS))), 2)
        opened = np.round(np.concatenate((close[:1], close[:-1])) * (1 + random.normal(0, 0.003, BEFORE + DAYS)), 2)
        found[name] = {"open": opened.tolist(), "close": close.tolist()}
    return found


def crosses(close: list[float]) -> tuple[list[int], list[int]]:
    """Days at whose open the mean of 5 closes has crossed above that of 20, and below it; the last day leaves all."""
    above = [
        sum(close[day - 5 : day]) / 5 > sum(close[day - 20 : day]) / 20 for day in range(BEFORE - 1, BEFORE + DAYS)
    ]
    pairs = list(pairwise(above))
    ups = [day for day, (was, now) in enumerate(pairs) if now and not was and day < DAYS - 1]
    return ups, [day for day, (was, now) in enumerate(pairs) if (was and not now) or day == DAYS - 1]


def tables(stored: dict[str, dict[str, list[float]]]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Opens, closes, entries and exits by day and symbol."""
    index = pd.date_range(START, periods=DAYS, freq="1D")
    opened, close = (
        pd.DataFrame({name: stored[name][what][BEFORE:] for name in NAMES}, index=index) for what in ("open", "close")
    )
    entries, exits = (pd.DataFrame(data=False, index=index, columns=NAMES) for _ in range(2))
    for name in NAMES:
        ups, downs = crosses(stored[name]["close"])
        entries.loc[index[ups], name] = True
        exits.loc[index[downs], name] = True
    return opened, close, entries, exits


def orders_of(made: Any) -> list[list[Any]]:
    """Day, symbol, side, quantity, price and fees of each order, by day and symbol."""
    records = made.orders.records
    rows = [
        [int(row.idx), NAMES[int(row.col)], "buy" if row.side == 0 else "sell", row.size, row.price, row.fees]
        for row in records.itertuples()
    ]
    return sorted(rows, key=lambda row: (row[0], row[1]))


def in_vectorbt(stored: dict[str, dict[str, list[float]]], call_seq: str) -> Any:
    """20 000 in each symbol whose averages cross up, as far as the shared cash goes."""
    import vectorbt

    opened, close, entries, exits = tables(stored)
    return vectorbt.Portfolio.from_signals(
        close, entries, exits, price=opened, size=EACH, size_type="value", fees=FEE, init_cash=CAPITAL,
        cash_sharing=True, group_by=True, call_seq=call_seq, freq="1D",
    )  # fmt: skip


def monthly_in_vectorbt(stored: dict[str, dict[str, list[float]]]) -> Any:
    """Equal weights at the first open of each month, which is the close before, without costs."""
    import vectorbt

    _, close, _, _ = tables(stored)
    opened = close.shift(1)
    opened.iloc[0] = [stored[name]["close"][BEFORE - 1] for name in NAMES]
    weights = pd.DataFrame(np.nan, index=close.index, columns=NAMES)
    weights[close.index.day == 1] = 1 / len(NAMES)
    return vectorbt.Portfolio.from_orders(
        close, size=weights, size_type="targetpercent", price=opened, init_cash=CAPITAL, cash_sharing=True,
        group_by=True, call_seq="auto", freq="1D",
    )  # fmt: skip


def in_backtesting(stored: dict[str, list[float]]) -> Any:
    """Whole units of one symbol, in at a cross up, out at a cross down."""
    from backtesting import Backtest, Strategy

    ups, downs = crosses(stored["close"])

    class Crosses(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            day = len(self.data) - BEFORE  # the day whose open comes next
            if day in ups:
                self.buy(size=UNITS)
            elif day in downs:
                self.position.close()

    table = pd.DataFrame({"Open": stored["open"], "Close": stored["close"]})
    table["High"], table["Low"], table["Volume"] = table.max(axis=1), table.min(axis=1), 1.0
    table.index = pd.date_range(START - pd.Timedelta(days=BEFORE), periods=len(table), freq="1D")
    return Backtest(table, Crosses, cash=CAPITAL, commission=FEE).run()


def figures(equity: pd.Series, other: pd.Series) -> dict[str, dict[str, float]]:
    """Figures of an equity curve, the second one of a benchmark, from daily returns."""
    import empyrical
    import quantstats

    daily, beside = equity.pct_change().dropna(), other.pct_change().dropna()
    year = {"annualization": DAYS_A_YEAR}
    periods = {"periods": DAYS_A_YEAR}
    stats = quantstats.stats
    named = daily.tz_localize(None)
    greeks = stats.greeks(named, beside.tz_localize(None), periods=DAYS_A_YEAR)
    return {
        "empyrical": {
            "sharpe": empyrical.sharpe_ratio(daily, **year),
            "sortino": empyrical.sortino_ratio(daily, **year),
            "volatility": 100 * empyrical.annual_volatility(daily, **year),
            "cagr": 100 * empyrical.annual_return(daily, **year),
            "total_return": 100 * empyrical.cum_returns_final(daily),
            "max_drawdown": -100 * empyrical.max_drawdown(daily),
            "calmar": empyrical.calmar_ratio(daily, **year),
            "beta": empyrical.beta(daily, beside),
            "alpha": 100 * empyrical.alpha(daily, beside, **year),
        },
        "quantstats": {
            "sharpe": stats.sharpe(named, **periods),
            "sortino": stats.sortino(named, **periods),
            "volatility": 100 * stats.volatility(named, **periods),
            "cagr": 100 * stats.cagr(named, **periods),
            "total_return": 100 * stats.comp(named),
            "max_drawdown": -100 * stats.max_drawdown(named),
            "calmar": stats.calmar(named, **periods),
            "beta": greeks["beta"],
            "alpha": 100 * greeks["alpha"],
            "information_ratio": stats.information_ratio(named, beside.tz_localize(None)),
        },
    }


def main() -> None:
    """Store what all of them give in the file that is named."""
    stored = candles()
    shared, in_order, monthly = in_vectorbt(stored, "auto"), in_vectorbt(stored, "default"), monthly_in_vectorbt(stored)
    equity = shared.value()
    start = pd.Series([CAPITAL], index=[equity.index[0] - pd.Timedelta(days=1)])
    _, close, _, _ = tables(stored)
    first = pd.Series([stored["AAA"]["open"][BEFORE]], index=start.index)
    single = in_backtesting(stored["AAA"])
    trades = single["_trades"]
    found = {
        "versions": {name: version(name) for name in ("vectorbt", "backtesting", "quantstats", "empyrical-reloaded")},
        "candles": stored,
        "vectorbt": {"orders": orders_of(shared), "equity": equity.tolist()},
        "vectorbt in order": {"orders": orders_of(in_order), "equity": in_order.value().tolist()},
        "vectorbt monthly": {"equity": monthly.value().tolist()},
        "backtesting": {
            "trades": [
                [int(row.EntryBar) - BEFORE, row.EntryPrice, int(row.ExitBar) - BEFORE, row.ExitPrice, row.PnL]
                for row in trades.itertuples()
            ],
            "equity": single["_equity_curve"]["Equity"].iloc[BEFORE:].tolist(),
        },
        "figures": figures(pd.concat([start, equity]), pd.concat([first, close["AAA"]])),
    }
    Path(sys.argv[1]).write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
