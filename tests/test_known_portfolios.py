"""A portfolio, one leg of it, monthly weights and figures beside what other libraries gave for the same candles.

``benchmarks/known_portfolios.py`` ran vectorbt, backtesting.py, quantstats and empyrical, and stored candles, orders,
equity and figures. Where bknb gives others, the test says why, as docs/money.md does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenarios import source

import bknb

pytestmark = pytest.mark.slow
STORED = json.loads((Path(__file__).parent / "data" / "known-portfolios.json").read_text(encoding="utf-8"))
CANDLES: dict[str, dict[str, list[float]]] = STORED["candles"]
NAMES = [*CANDLES]
DAY = 86_400_000
START = 1_704_067_200_000  # 2024-01-01
BEFORE, DAYS = 40, 366
CAPITAL = 50_000
FRAME = (START, START + DAYS * DAY)
COSTS = bknb.Costs(taker=0.1, slippage=0.0)
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
EXACT = 1e-9


def market(name: str, *, gaps: bool = True) -> Any:
    """Daily candles of a symbol; without gaps each opens at the close before."""
    close = np.array(CANDLES[name]["close"])
    opened = np.array(CANDLES[name]["open"]) if gaps else np.concatenate((close[:1], close[:-1]))
    columns = (opened, np.maximum(opened, close), np.minimum(opened, close), close, np.ones(len(close)))
    times = START + (np.arange(len(close)) - BEFORE) * DAY
    rows = [[int(time), *row] for time, row in zip(times, np.stack(columns, axis=1).tolist(), strict=True)]
    return source(rows)


def crosses(ctx: Any) -> int:
    """1 where the mean of 5 closes has crossed above that of 20, -1 below it, and on the last day."""
    if ctx.when_ms == START + (DAYS - 1) * DAY:
        return -1

    def above(close: list[float]) -> bool:
        return sum(close[-5:]) / 5 > sum(close[-20:]) / 20

    close = ctx.candles("1d", 21).close.tolist()
    return above(close) - above(close[:-1])


def add_crosses() -> None:
    bknb.add_strategy(
        "crosses",
        interval="1d",
        get_signal=lambda ctx: bknb.Signal(position="long") if crosses(ctx) > 0 else None,
        manage=lambda ctx: bknb.Close() if crosses(ctx) < 0 else None,
    )


def portfolio(**options: Any) -> Any:
    add_crosses()
    markets = {name: market(name) for name in NAMES}
    run = {"exchange": markets, "frame": FRAME, "capital": CAPITAL, "costs": COSTS, "account": "spot"}
    return bknb.portfolio(symbols=NAMES, strategies=["crosses"], sizing="cash:20000", **run, **options)


def fills(result: Any) -> list[tuple[Any, ...]]:
    """Day, symbol, side, quantity, price and fee of each fill, by day and symbol."""
    table = result.fills
    days = in_ms(table["at"])
    symbols = table["leg"].str.split(" ").str[-1]
    columns = (table["side"], table["quantity"], table["price"], table["fee"])
    return sorted((int(day), *rest) for day, *rest in zip((days - START) // DAY, symbols, *columns, strict=True))


def at_closes(result: Any) -> Any:
    """Equity at the close of each day."""
    return result.equity.to_numpy()[1 : DAYS + 1]


@pytest.fixture(scope="module")
def shared() -> Any:
    return portfolio(benchmark="AAA")


def test_orders_of_a_portfolio_that_shares_cash_are_those_of_vectorbt(shared: Any) -> None:
    """Partly filled where cash was short; what is sold at an open pays for what is bought there (``auto``)."""
    orders = STORED["vectorbt"]["orders"]
    found = fills(shared)
    assert [row[:3] for row in found] == [tuple(row[:3]) for row in orders]
    assert len(found) > 80
    assert np.allclose([row[3:] for row in found], [row[3:] for row in orders], rtol=EXACT, atol=1e-7)
    short = [row for row in orders if row[2] == "buy" and row[3] * row[4] < 19_999]
    assert len(short) > 3


def test_the_equity_of_that_portfolio_is_that_of_vectorbt_at_each_close(shared: Any) -> None:
    assert np.allclose(at_closes(shared), STORED["vectorbt"]["equity"], rtol=EXACT)


def test_in_the_order_of_symbols_vectorbt_sells_too_late_to_buy(shared: Any) -> None:
    """With its default ``call_seq`` the cash of an exit is there for later symbols alone."""
    there, here = STORED["vectorbt in order"]["orders"], fills(shared)
    first = next(at for at, (one, other) in enumerate(zip(there, here, strict=False)) if abs(one[3] - other[3]) > 1e-6
                 or one[:2] != list(other[:2]))  # fmt: skip
    day, symbol = here[first][:2]
    sold = [row[1] for row in here if row[0] == day and row[2] == "sell"]
    assert here[first][2] == "buy"
    assert [name for name in sold if name > symbol], "a later symbol was sold at that open"
    assert not np.allclose(at_closes(shared), STORED["vectorbt in order"]["equity"])


def test_equal_weights_monthly_are_those_of_vectorbt() -> None:
    """``size_type="targetpercent"`` at the first open of each month, without costs."""
    bknb.weights("equal", symbols=NAMES, at="month", get_weights=lambda ctx: dict.fromkeys(ctx.symbols, 1 / len(NAMES)))
    markets = {name: market(name, gaps=False) for name in NAMES}
    run = {"exchange": markets, "frame": FRAME, "settings": FREE, "capital": CAPITAL}
    result = bknb.portfolio(strategies=["equal"], **run)
    assert len(result.fills) > 40
    assert np.allclose(at_closes(result), STORED["vectorbt monthly"]["equity"], rtol=EXACT)


def in_ms(column: Any) -> Any:
    """Moments of a table as UTC ms."""
    return column.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)


def test_one_leg_is_that_of_backtesting_py() -> None:
    add_crosses()
    run = {"exchange": market("AAA"), "frame": FRAME, "capital": CAPITAL, "costs": COSTS}
    result = bknb.backtest("AAA", strategy="crosses", sizing="units:200", **run)
    table = result.trades
    opened, closed = ((in_ms(table[name]) - START) // DAY for name in ("pending_at", "closed_at"))
    found = np.column_stack((opened, table["price_open"], closed, table["price_close"], table["money"]))
    assert len(found) > 8
    assert np.allclose(found, STORED["backtesting"]["trades"], rtol=EXACT)
    assert np.allclose(at_closes(result), STORED["backtesting"]["equity"], rtol=EXACT)


# --- figures of the same returns --------------------------------------------------------------------------------------

SAME = {
    "empyrical": ["sharpe", "sortino", "volatility", "cagr", "total_return", "max_drawdown", "calmar", "beta"],
    "quantstats": [
        "sharpe",
        "sortino",
        "volatility",
        "cagr",
        "total_return",
        "max_drawdown",
        "calmar",
        "beta",
        "alpha",
    ],
}
PAGES = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(("library", "name"), [(library, name) for library, names in SAME.items() for name in names])
def test_a_figure_is_that_of_the_library(shared: Any, library: str, name: str) -> None:
    """Marks are at the close of each day here, so that drawdowns are those of daily returns."""
    assert shared.account[name] == pytest.approx(STORED["figures"][library][name], rel=EXACT)


def test_the_alpha_of_empyrical_is_compounded(shared: Any) -> None:
    compounded = ((1 + shared.account["alpha"] / 100 / 365) ** 365 - 1) * 100
    assert compounded == pytest.approx(STORED["figures"]["empyrical"]["alpha"], rel=EXACT)
    assert abs(compounded - shared.account["alpha"]) > 0.1


def test_the_information_ratio_of_quantstats_is_that_of_a_day(shared: Any) -> None:
    a_day = STORED["figures"]["quantstats"]["information_ratio"]
    assert shared.account["information_ratio"] == pytest.approx(a_day * 365**0.5, rel=EXACT)


def test_the_pages_tell_these_versions_and_numbers() -> None:
    versions, money = STORED["versions"], (PAGES / "money.md").read_text(encoding="utf-8")
    orders, trades = len(STORED["vectorbt"]["orders"]), len(STORED["backtesting"]["trades"])
    assert f'| vectorbt {versions["vectorbt"]}, `cash_sharing=True`, `call_seq="auto"` | the same {orders} ord' in money
    assert f"| backtesting.py {versions['backtesting']} | the same {trades} trades" in money
    page = (PAGES / "statistics.md").read_text(encoding="utf-8")
    assert f"quantstats {versions['quantstats']} and empyrical-reloaded {versions['empyrical-reloaded']}" in page
