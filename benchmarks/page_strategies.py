"""Strategies of docs/strategies.md in backtesting.py, vectorbt and bt over the same bars: their trades, for the tests.

::

    python3 -m venv /tmp/page && /tmp/page/bin/pip install -e . backtesting vectorbt bt
    /tmp/page/bin/python benchmarks/page_strategies.py tests/data/page-strategies.json

Each is written as its tool would have it, and as near to the words of the page as it can be. The tests of
``tests/test_strategy_page.py`` compare what this program stored with the runs of the page, and need none of the tools.
"""

from __future__ import annotations

import json
import math
import re
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from strategy_loops.formulas import atr, ema, rsi, sma, stdev  # noqa: E402
from strategy_loops.market import DAY, HOUR, MINUTE, Bar, bars_of_table, demo_bars, longer, ms, without_gaps  # noqa: E402
from strategy_loops.new_york import sessions  # noqa: E402

UNITS = 1


def frame_of(bars: list[Bar]) -> pd.DataFrame:
    """Bars as the tools want them, by their open times without a zone."""
    table = pd.DataFrame(bars, columns=["t", "Open", "High", "Low", "Close", "Volume"])
    table.index = pd.to_datetime(table.pop("t"), unit="ms")
    return table


def known(bars: list[Bar], length: int, values: list[Any]) -> dict[int, Any]:
    """Values of closed bars, by the moment from which on they are known."""
    return {bar.t + length: value for bar, value in zip(bars, values, strict=True)}


def funds_of_the_page() -> dict[str, list[Bar]]:
    """The days of the ten funds, as the page makes them, without gaps."""
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page.partition("## 1. ")[0], re.MULTILINE | re.DOTALL):
        exec(block, names)  # noqa: S102 -- a page of this repository
    table = names["shares"](names["FUNDS"], pd.bdate_range("2022-01-03", "2024-12-31"), 0.01, seed=100)
    return {name: without_gaps(bars_of_table(rows)) for name, rows in table.groupby("symbol")}


def backtested(bars: list[Bar], step: int, decide: Any, **options: Any) -> list[list[Any]]:
    """The trades of ``decide(strategy, moment)`` in backtesting.py, asked at the close of each bar."""
    from backtesting import Backtest, Strategy

    class Asked(Strategy):
        def init(self) -> None:
            self.asked, self.place = -1, -1

        def next(self) -> None:
            self.place = len(self.data) - 1
            decide(self, bars[self.place].t + step)

    made = Backtest(frame_of(bars), Asked, cash=1e9, finalize_trades=True, **options).run()["_trades"]
    made = made.sort_values(["EntryTime", "ExitTime"], kind="stable")
    opened, closed = (made[name].astype("datetime64[ms]").astype("int64") for name in ("EntryTime", "ExitTime"))
    rows = zip(opened, made["EntryPrice"], closed, made["ExitPrice"], strict=True)
    return [[int(a), float(b), int(c), float(d)] for a, b, c, d in rows]


def leave_at(strategy: Any, moment: int, end: str) -> None:
    """Take back what waits, and leave at the next open, once the frame of the page is over."""
    if moment == ms(end):
        for order in [each for each in strategy.orders if not each.is_contingent]:
            order.cancel()
        strategy.position.close()


def backtesting_1() -> list[list[Any]]:
    """EMA cross over bars of four hours, ``exclusive_orders``."""
    bars = longer(demo_bars("BTCUSDT", "2023-09-01", "2024-04-02", 60), 4 * HOUR)
    closes = [bar.close for bar in bars]
    above = known(bars, 4 * HOUR, [up > down for up, down in zip(ema(closes, 20), ema(closes, 50), strict=True)])

    def decide(self: Any, moment: int) -> None:
        if ms("2024-01-01") <= moment < ms("2024-04-01"):
            if above[moment] and not self.position.is_long:
                self.buy(size=UNITS)
            elif not above[moment] and not self.position.is_short:
                self.sell(size=UNITS)
        leave_at(self, moment, "2024-04-01")

    return backtested(bars, 4 * HOUR, decide, exclusive_orders=True)


def backtesting_4() -> list[list[Any]]:
    """Two limit orders at the bands, each with its stop and target, cancelled each hour."""
    bars = demo_bars("BTCUSDT", "2023-12-30", "2024-01-23")
    hours = longer(bars, HOUR)
    closes = [bar.close for bar in hours]
    bands = known(hours, HOUR, list(zip(sma(closes, 20), stdev(closes, 20), strict=True)))

    def decide(self: Any, moment: int) -> None:
        if not ms("2024-01-01") <= moment < ms("2024-01-22"):
            leave_at(self, moment, "2024-01-22")
            return
        hour = moment // HOUR * HOUR
        middle, width = bands[hour]
        if self.position or moment == hour:
            for order in [each for each in self.orders if not each.is_contingent]:
                order.cancel()
        if self.position and moment == hour:
            for trade in self.trades:
                if (trade.size > 0) == (middle > bars[self.place].close):
                    trade.tp = middle
        if not self.position and not self.orders and hour > self.asked:
            self.asked = hour
            lower, upper = middle - 2 * width, middle + 2 * width
            self.buy(size=UNITS, limit=lower, sl=2 * lower - middle, tp=middle)
            self.sell(size=UNITS, limit=upper, sl=2 * upper - middle, tp=middle)

    return backtested(bars, MINUTE, decide)


def backtesting_5() -> list[list[Any]]:
    """Two stop orders at the ends of the first half hour; out with ``trade_on_close`` in the last minute."""
    days = sessions(demo_bars("INDEX", "2023-11-13", "2023-12-20"))
    bars = [bar for day in days for bar in day.bars]
    decided = {day.open + 30 * MINUTE: day for day in days if day.open < ms("2023-12-16")}
    ends = {day.close for day in days}

    def decide(self: Any, moment: int) -> None:
        if moment in decided:
            first = decided[moment].bars[:30]
            high, low = max(each.high for each in first), min(each.low for each in first)
            self.buy(size=UNITS, stop=high, sl=low)
            self.sell(size=UNITS, stop=low, sl=high)
        if self.position or moment in ends:
            for order in [each for each in self.orders if not each.is_contingent]:
                order.cancel()
        if moment in ends:
            self.position.close()

    return backtested(bars, MINUTE, decide, trade_on_close=True)


def backtesting_8() -> list[list[Any]]:
    """Ten limit orders with a target of their own, those levels left out at which an order or a trade is."""
    bars, step = demo_bars("BTCUSDT", "2023-12-31", "2024-01-16"), 500.0

    def decide(self: Any, moment: int) -> None:
        taken = {each.tag for each in (*self.orders, *self.trades)}
        slot = moment // (15 * MINUTE)
        if not ms("2024-01-01") <= moment < ms("2024-01-15"):
            leave_at(self, moment, "2024-01-15")
            return
        if slot <= self.asked or len(taken) >= 20:
            return
        self.asked = slot
        newest = bars[self.place - 4 : self.place + 1]
        typical = sum((each.high + each.low + each.close) / 3 * each.volume for each in newest)
        first = math.floor(typical / sum(each.volume for each in newest) / step) * step
        for level in (first - k * step for k in range(10)):
            if level not in taken and len(taken) < 20:
                taken.add(level)
                self.buy(size=UNITS, limit=level, tp=level + step, tag=level)

    return backtested(bars, MINUTE, decide)


def backtesting_14() -> list[list[Any]]:
    """A market order with stop and target on minutes."""
    bars = demo_bars("BTCUSDT", "2023-12-31", "2024-02-16")
    quarters = demo_bars("BTCUSDT", "2022-09-01", "2024-02-16", 15)
    fours = longer(quarters, 4 * HOUR)
    trend = known(fours, 4 * HOUR, ema([bar.close for bar in fours], 200))
    closes = [bar.close for bar in quarters]
    strength = rsi(closes, 14)
    ranges = atr([bar.high for bar in quarters], [bar.low for bar in quarters], closes, 14)
    crossed = [False, *(a < 30 <= b for a, b in pairwise(strength))]
    found = known(quarters, 15 * MINUTE, list(zip(crossed, ranges, strict=True)))

    def decide(self: Any, moment: int) -> None:
        slot = moment // (15 * MINUTE) * (15 * MINUTE)
        leave_at(self, moment, "2024-02-15")
        if not ms("2024-01-01") <= moment < ms("2024-02-15") or self.position or slot <= self.asked:
            return
        self.asked = slot
        newest = bars[self.place - 4 : self.place + 1]
        price = sum((each.high + each.low + each.close) / 3 * each.volume for each in newest)
        price /= sum(each.volume for each in newest)
        turned, wide = found[slot]
        if turned and price > trend[slot // (4 * HOUR) * (4 * HOUR)]:
            self.buy(size=UNITS, sl=price - 2 * wide, tp=price + 3 * wide)

    return backtested(bars, MINUTE, decide)


def backtesting_16() -> list[list[Any]]:
    """A stop that ``next`` moves each midnight, over hours."""
    bars = demo_bars("BTCUSDT", "2022-05-01", "2025-01-02", 60)
    days = longer(bars, DAY)
    closes = [day.close for day in days]
    ranges = atr([day.high for day in days], [day.low for day in days], closes, 22)
    found = known(days, DAY, list(zip(sma(closes, 50), ranges, strict=True)))

    def decide(self: Any, moment: int) -> None:
        if not ms("2024-01-01") <= moment < ms("2025-01-01"):
            leave_at(self, moment, "2025-01-01")
            return
        midnight = moment // DAY * DAY
        average, wide = found[midnight]
        for trade in self.trades:
            if moment == midnight:
                best = max(each.high for each in bars[trade.entry_bar : self.place + 1])
                stop = max(trade.sl, best - 3 * wide)
                if stop >= bars[self.place].close:
                    trade.close()
                else:
                    trade.sl = stop
        if not self.position and midnight > self.asked:
            self.asked = midnight
            close = bars[self.place].close
            if close > average:
                self.buy(size=UNITS, sl=close - 3 * wide)

    return backtested(bars, HOUR, decide)


def vectorbt_1() -> list[list[Any]]:
    """EMA cross over bars of four hours: ``from_signals`` with both sides, filled at the next open."""
    import vectorbt as vbt

    bars = longer(demo_bars("BTCUSDT", "2023-09-01", "2024-04-02", 60), 4 * HOUR)
    table, closes = frame_of(bars), [bar.close for bar in bars]
    above = pd.Series(np.array(ema(closes, 20)) > np.array(ema(closes, 50)), index=table.index).shift(
        1, fill_value=False
    )
    table, above = table["2024-01-01":"2024-04-01 00:00"], above["2024-01-01":"2024-04-01 00:00"]
    last = table.index == table.index[-1]
    portfolio = vbt.Portfolio.from_signals(
        table.Close, above & ~last, last, ~above & ~last, last, price=table.Open, size=1.0, init_cash=1e9,
        upon_opposite_entry="reverse", freq="4h",
    )  # fmt: skip
    found = portfolio.trades.records
    times = (table.index.astype("datetime64[ms]").astype("int64")).to_numpy()
    opened, closed = times[found["entry_idx"]], times[found["exit_idx"]]
    rows = zip(opened, found["entry_price"], closed, found["exit_price"], strict=True)
    return [[int(a), float(b), int(c), float(d)] for a, b, c, d in rows]


def vectorbt_11() -> list[list[Any]]:
    """The volatility target, ``targetpercent`` at each midnight: its worth at the close of each day.

    Without costs, over hours without gaps.
    """
    import vectorbt as vbt

    bars = without_gaps(demo_bars("BTCUSDT", "2023-11-01", "2024-07-01", 60))
    table = frame_of(bars)
    days = table.Close.resample("D").last()
    weights = np.minimum(2.0, 0.20 / (np.log(days).diff().rolling(30).std(ddof=0) * 365**0.5)).shift(1)
    sizes = weights.reindex(table.index)["2024-01-01":]
    table = table["2024-01-01":]
    portfolio = vbt.Portfolio.from_orders(
        table.Close, sizes, size_type="targetpercent", price=table.Open, init_cash=10_000.0, freq="1h"
    )
    worth = portfolio.value().resample("D").last()
    return [
        [int(t), float(value)]
        for t, value in zip(worth.index.astype("datetime64[ms]").astype("int64"), worth, strict=True)
    ]


def bt_6() -> list[list[Any]]:
    """Dual momentum with ``WeighTarget``: its worth at the open of each day.

    Without costs, over days without gaps.
    """
    import bt

    funds = funds_of_the_page()
    times = pd.to_datetime([bar.t for bar in next(iter(funds.values()))], unit="ms")
    closes = pd.DataFrame({name: [bar.close for bar in bars] for name, bars in funds.items()}, index=times)
    opens = pd.DataFrame({name: [bar.open for bar in bars] for name, bars in funds.items()}, index=times)
    score = (closes / closes.shift(252) - 1).shift(1)
    begins = times[(times >= "2023-02-01") & (times.month != np.roll(times.month, 1))]
    rows = {
        t: [1 / 3 if name in score.loc[t].nlargest(3).index and score.loc[t, name] > 0 else 0.0 for name in funds]
        for t in begins
    }
    weights = pd.DataFrame.from_dict(rows, orient="index", columns=list(funds))
    algos = [bt.algos.RunOnDate(*begins), bt.algos.SelectAll(), bt.algos.WeighTarget(weights), bt.algos.Rebalance()]
    run = bt.Backtest(bt.Strategy("dual", algos), opens["2023-01-31":], integer_positions=False, initial_capital=1e5)
    worth = bt.run(run).backtests["dual"].strategy.values["2023-02-01":"2024-12-30"]
    return [
        [int(t), float(value)]
        for t, value in zip(worth.index.astype("datetime64[ms]").astype("int64"), worth, strict=True)
    ]


def main(path: Path) -> None:
    """Run all of them and store their trades."""
    made = (
        backtesting_1, backtesting_4, backtesting_5, backtesting_8, backtesting_14, backtesting_16, vectorbt_1,
        vectorbt_11, bt_6,
    )  # fmt: skip
    found: dict[str, Any] = {name: version(name) for name in ("backtesting", "vectorbt", "bt")}
    for each in made:
        found[each.__name__] = each()
        print(each.__name__, len(found[each.__name__]))
    text = ",\n ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    path.write_text("{" + text + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
