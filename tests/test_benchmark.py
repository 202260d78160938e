"""An account beside a benchmark: figures from tables written by hand and from numpy's own formulas, wrong use told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE, ORIGIN, long
from test_capital import FREE
from test_exposure_and_contribution import RISE, two_legs
from test_portfolio import market, strategy_of

import bknb
from bknb.metrics.benchmark_figures import Benchmark, benchmark_figures, day_closes
from bknb.reports.equity_png import equity_png
from bknb.reports.portfolio_figure import portfolio_traces
from bknb.reports.portfolio_in_notebook import account_html
from bknb.reports.portfolio_panels import status_text
from bknb.reports.tearsheet_info import tearsheet_info
from bknb.runs.benchmark import BenchmarkPrices, equal_parts

DAY = 86_400_000
FRAME = "2024-01-01:2024-02-15"
KEYS = ("benchmark", "alpha", "beta", "correlation", "information_ratio")


def beside(own: Any, other: Any, *, held: bool = True, first: float = 100.0) -> tuple[Any, Any]:
    """Figures of daily returns of an account and a benchmark, as fractions, without costs."""
    closes = first * np.cumprod(1 + np.asarray(other, dtype=np.float64))
    days = np.arange(len(closes), dtype=np.int64) * DAY
    benchmark = Benchmark(name="B", first=first, day_close=closes, time_ms=days, price=closes, slippage=0.0, fee=0.0)
    return benchmark_figures(benchmark, days, np.asarray(own), start=0, days_a_year=365, held=held)


def test_a_table_written_by_hand() -> None:
    """Benchmark +1 %, -1 %, …; the account twice that and 0.1 % more: beta 2, alpha 0.1 % * 365, correlation 1.

    The account leaves the benchmark behind by 0.1 % + B: mean 0.1 %, deviation 1 % * sqrt(30 / 29).
    """
    other = np.tile([0.01, -0.01], 15)
    figures, reasons = beside(2 * other + 0.001, other)
    assert reasons == {}
    assert figures["beta"] == pytest.approx(2.0)
    assert figures["alpha"] == pytest.approx(36.5)
    assert figures["correlation"] == pytest.approx(1.0)
    assert figures["information_ratio"] == pytest.approx(0.1 / np.sqrt(30 / 29) * np.sqrt(365))
    assert figures["benchmark"] == pytest.approx(((1.01 * 0.99) ** 15 - 1) * 100)


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_numpy(seed: int) -> None:
    """Beta is the slope and alpha the intercept of least squares, correlation that of `numpy.corrcoef`."""
    draw = np.random.default_rng(seed)
    other = draw.normal(0.001, 0.02, 250)
    own = 0.5 * other + draw.normal(0.0, 0.01, 250)
    figures, _ = beside(own, other)
    beta, alpha = np.polyfit(other, own, 1)
    active = own - other
    assert figures["beta"] == pytest.approx(beta)
    assert figures["alpha"] == pytest.approx(alpha * 365 * 100)
    assert figures["correlation"] == pytest.approx(np.corrcoef(own, other)[0, 1])
    assert figures["information_ratio"] == pytest.approx(active.mean() / active.std(ddof=1) * np.sqrt(365))


def test_what_is_not_available_says_why() -> None:
    moves = np.tile([0.01, -0.01], 15)
    figures, reasons = beside(moves[:29], moves[:29])
    assert {key for key, value in figures.items() if value is None} == set(KEYS[1:]) == set(reasons)
    assert reasons["beta"] == "29 days have a return of account and benchmark, at least 30 are needed"
    _, still = beside(moves, np.zeros(30))
    assert still == dict.fromkeys(("alpha", "beta", "correlation"), "the benchmark did not move")
    same, alike = beside(moves, moves)
    assert (same["beta"], alike) == (
        pytest.approx(1.0),
        {"information_ratio": "the account moved as the benchmark did"},
    )
    _, rests = beside(np.zeros(30), moves, held=False)
    assert rests == dict.fromkeys(KEYS[1:], "no position was held")
    none, below = beside(moves, moves, first=-100.0)
    assert none == dict.fromkeys(KEYS)
    assert below["benchmark"] == "a price of the benchmark B is not above 0"


def test_the_last_price_up_to_the_end_of_each_day() -> None:
    """Prices at 06:00 of the first day and at midnight behind the second; a frame from 05:00 to noon of the fourth."""
    hour = DAY // 24
    known, price = np.array([30 * hour, 48 * hour, 90 * hour]), np.array([1.0, 2.0, 3.0])
    closes = day_closes(known, price, 5 * hour, 84 * hour)
    assert closes.tolist()[1:] == [2.0, 2.0, 2.0]
    assert np.isnan(closes[0])


def strategy(price: float) -> dict[str, Any]:
    return long(price * 1.02, price * 0.99, 240)


@pytest.mark.slow
def test_a_symbol_beside_a_run() -> None:
    """Its own symbol is what buying and holding makes; daily returns of both give the figures."""
    call: dict[str, Any] = {"exchange": "demo", "frame": FRAME, "interval": "4h", "strategy": strategy}
    own = bknb.backtest("BTCUSDT", benchmark="BTCUSDT", **call)
    plain = bknb.backtest("BTCUSDT", **call)
    assert own.account["benchmark"] == own.account["buy_and_hold"] == plain.account["buy_and_hold"]
    assert {key: value for key, value in own.account.items() if key not in KEYS} == plain.account
    other = bknb.backtest("BTCUSDT", benchmark="ETHUSDT", **call)
    rests = bknb.backtest("ETHUSDT", strategy=lambda: None, interval="1d", exchange="demo", frame=FRAME)
    closes = rests.candles.to_pandas()["close"].resample("1D").last().to_numpy()[:45]
    before = np.concatenate(([rests.candles.open[0]], closes[:-1]))
    beta, alpha = np.polyfit(closes / before - 1, other.returns("1D").to_numpy(), 1)
    assert other.account["beta"] == pytest.approx(beta)
    assert other.account["alpha"] == pytest.approx(alpha * 36_500)
    assert other.account["benchmark"] == rests.account["buy_and_hold"]
    both = bknb.portfolio(
        legs=[("BTCUSDT", strategy), ("ETHUSDT", lambda: None)], exchange="demo", frame=FRAME, capital=100,
        sizing={"BTCUSDT": "percent:100", "ETHUSDT": "percent:1"}, benchmark="ETHUSDT",
    )  # fmt: skip
    assert both.account["benchmark"] == rests.account["buy_and_hold"]
    assert "Information ratio" in other.report()
    assert "Benchmark held" in other._repr_html_()


@pytest.mark.slow
def test_a_series_beside_a_run_and_a_portfolio() -> None:
    """Prices at midnights: that of the start is the first one; the same figures from both."""
    prices = pd.Series(100 + np.arange(50) % 7, index=pd.date_range("2023-12-31", periods=50, tz="UTC"), name="index")
    bknb.add_strategy("hours", interval="4h", get_signal=strategy)
    call: dict[str, Any] = {"exchange": "demo", "frame": FRAME, "capital": 10_000, "benchmark": prices}
    single = bknb.backtest("BTCUSDT", strategy="hours", **call)
    several = bknb.portfolio(symbols=["BTCUSDT"], strategies=["hours"], **call)
    values = prices.to_numpy()[1:47]
    beta, _ = np.polyfit(values[1:] / values[:-1] - 1, single.returns("1D").to_numpy(), 1)
    assert single.account["beta"] == pytest.approx(beta)
    assert {key: several.account[key] for key in KEYS} == pytest.approx({key: single.account[key] for key in KEYS})
    assert several.account.definitions["start"].unit == "USDT"
    assert "formula" in several.account.explain("alpha")


def test_equal_parts_are_bought_at_the_first_price_of_each_and_held() -> None:
    """A: 100 at its open, then 110 and 120; B opens two minutes later at 50, then 75: until then its part is cash."""
    first = BenchmarkPrices("A", np.array([1, 2, 3]), np.array([100.0, 110.0, 120.0]), np.array([0]), np.array([100.0]))
    second = BenchmarkPrices("B", np.array([3, 4]), np.array([50.0, 75.0]), np.array([2]), np.array([50.0]))
    held = equal_parts([first, second], 0)
    assert held.name == "equal parts"
    assert held.known_ms.tolist() == [0, 1, 2, 3, 4]
    assert held.price.tolist() == pytest.approx([1.0, 1.0, 1.05, 1.10, (1.2 + 1.5) / 2])
    assert equal_parts([first, first], 0).price.tolist() == pytest.approx([1.0, 1.0, 1.1, 1.2])
    below = second._replace(price=np.array([50.0, -1.0]))
    assert not equal_parts([first, below], 0).price.any()


@pytest.mark.slow
def test_equal_parts_beside_a_portfolio_are_what_buying_and_holding_makes() -> None:
    legs = [("BTCUSDT", strategy), ("ETHUSDT", lambda: None), ("ETHUSDT", strategy)]
    call: dict[str, Any] = {"legs": legs, "exchange": "demo", "frame": "2024-01-01:2024-01-08", "capital": 100}
    result = bknb.portfolio(sizing="percent:20", benchmark="equal", **call)
    assert result.account["benchmark"] == pytest.approx(result.account["buy_and_hold"], abs=1e-9)
    assert "holding equal parts made" in repr(result)


def test_without_a_benchmark_there_are_no_such_figures() -> None:
    result = bknb.backtest("A", strategy=lambda: None, exchange=market(), frame=(ORIGIN, ORIGIN + 30 * MINUTE))
    assert "beta" not in result.account
    assert "beta" not in result.account.definitions


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (5, "benchmark must be a symbol such as 'BTCUSDT', 'equal' .*, or a pandas Series of prices .* got int"),
        (" ", "got an empty text"),
        (pd.Series([1.0, 2.0]), "its index is RangeIndex\nuse pandas.to_datetime"),
        (pd.Series([1.0, -2.0], index=pd.date_range("2024-01-01", periods=2)), "a price is -2, not above 0"),
        (pd.Series(["a", "b"], index=pd.date_range("2024-01-01", periods=2)), "not numbers"),
        (pd.Series([1.0, 2.0], index=pd.DatetimeIndex(["2024-01-01"] * 2)), "two prices at 2024-01-01"),
        (pd.Series([1.0, 2.0], index=pd.date_range("1999-01-01", periods=2)), "has no price in the frame"),
        ("B", "the benchmark B on (.|\n)*give a symbol that the exchange has"),
    ],
)
@pytest.mark.parametrize("kind", ["backtest", "portfolio"])
def test_wrong_use_is_told(given: Any, says: str, kind: str) -> None:
    strategy_of("rests", {}, risk=None)
    exchange = bknb.exchanges.from_frame(market_frame(), symbol="A")
    call: dict[str, Any] = {"exchange": exchange, "frame": (ORIGIN, ORIGIN + 30 * MINUTE), "benchmark": given}
    runs = {
        "backtest": lambda: bknb.backtest("A", strategy="rests", settings=FREE, **call),
        "portfolio": lambda: bknb.portfolio(legs=[("A", "rests")], capital=100, **call),
    }
    with pytest.raises(bknb.BknbError, match=says):
        runs[kind]()


def market_frame() -> Any:
    index = pd.to_datetime([ORIGIN + k * MINUTE for k in range(-60, 60)], unit="ms", utc=True)
    return pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, index=index)


def test_a_portfolio_without_a_capital_has_no_account_to_set_beside() -> None:
    rests = strategy_of("rests", {}, risk=None)
    with pytest.raises(bknb.UsageError, match="without a capital there is none\ngive capital=10_000"):
        bknb.portfolio(legs=[("A", rests)], exchange=market(), frame=(ORIGIN, ORIGIN + MINUTE), benchmark="A")


@pytest.mark.slow
def test_the_benchmark_is_a_grey_line_beside_the_equity() -> None:
    """Flat at 100 and at 110 from minute 10 on: 0 %, then 10 %; without one there is no such line."""
    rise = market(dict.fromkeys(range(10, 41), (110.0, 110.0, 110.0, 110.0)))
    call: dict[str, Any] = {"exchange": rise, "frame": (ORIGIN, ORIGIN + 30 * MINUTE), "strategy": lambda: None}
    call["settings"] = FREE
    result = bknb.backtest("A", benchmark="A", **call)
    line = next(trace for trace in result.figure().data if trace.name == "A held")
    assert (line.line.color, line.yaxis, line.showlegend) == ("#9a9a9a", "y", True)
    assert [int(line.x[0]), int(line.x[-1])] == [ORIGIN, ORIGIN + 30 * MINUTE]
    assert line.y.tolist() == pytest.approx([0.0] * 11 + [10.0] * 20)
    assert len(equity_png(result)) > len(equity_png(bknb.backtest("A", **call)))
    assert "A held" not in [trace.name for trace in bknb.backtest("A", **call).figure().data]


def test_what_the_benchmark_held_is_one_figure_wherever_it_stands() -> None:
    """A rises from 100 to 110 with 0.1 % fee and 0.1 % slippage a side: 109.89 / 100.1, less 0.1 % of both sides."""
    costs = bknb.Costs(taker=0.1, slippage=0.1)
    several = two_legs(benchmark="A", costs=costs)
    out = 110 * 0.999 / 100.1
    held = (out - 1) * 100 - 0.1 * (1 + out)
    worth = 10_000 * (1 + held / 100)
    assert several.account["benchmark"] == pytest.approx(held, abs=1e-12)
    lines = tearsheet_info(several).equity
    assert lines is not None
    drawn = portfolio_traces(several)[0]
    snapshot = several.snapshot()
    assert [lines.held[-1], drawn["y"][-1], snapshot.held[-1]] == pytest.approx([worth] * 3, abs=1e-9)
    assert status_text(snapshot, "").endswith(f"A held +{held:.2f} %")
    assert f"A held +{held:.2f} %" in account_html(several)
    one = bknb.backtest(
        "A", strategy=lambda: None, exchange=market(RISE), frame=(ORIGIN, ORIGIN + 30 * MINUTE), benchmark="A"
    )
    lines = tearsheet_info(one).equity
    assert lines is not None
    for line in (lines.held[-1] - 1, one.benchmark.percent[-1] / 100):
        assert line == pytest.approx(one.account["buy_and_hold"] / 100, abs=1e-12)
    plain = tearsheet_info(
        bknb.backtest("A", strategy=lambda: None, exchange=market(RISE), frame=(ORIGIN, ORIGIN + 30 * MINUTE))
    ).equity
    assert plain is not None
    assert plain.held[-1] == pytest.approx(lines.held[-1], abs=1e-12)
