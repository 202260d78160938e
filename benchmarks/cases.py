"""What is measured: each case runs in a process of its own and prints one line of JSON.

``python benchmarks/cases.py CASE CANDLES.npy``. Nothing heavy is imported before a case asks for it, so that its own
imports are what it pays for.
"""

from __future__ import annotations

import json
import resource
import sys
from time import perf_counter
from typing import Any

DAY_MINUTES = 1440
HEAVY = ("numba", "pandas", "plotly", "ccxt", "matplotlib", "IPython", "numpy", "asyncio")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _source(path: str, *, as_frame: bool) -> Any:
    import numpy as np

    import bknb

    block = np.load(path)
    columns = dict(zip(("timestamp", "open", "high", "low", "close", "volume"), block, strict=True))
    if as_frame:
        import pandas as pd

        return bknb.exchanges.from_frame(pd.DataFrame(columns))
    return bknb.exchanges.from_frame(bknb.Candles.from_columns(**columns))


def _run_bknb(path: str, get_signal: Any, interval: str, *, as_frame: bool = False) -> dict[str, Any]:
    began = perf_counter()
    import bknb

    backtest = bknb.backtest  # the name brings numpy and the engine
    imported = perf_counter()
    source = _source(path, as_frame=as_frame)
    loaded = perf_counter()
    result = backtest(
        "BTCUSDT",
        strategy=get_signal,
        interval=interval,
        exchange=source,
        frame=("2023-01-01", "2024-01-01"),
    )
    ran = perf_counter()
    before_stats = _peak_mb()
    stats = result.stats
    ended = perf_counter()
    return {
        "import_s": imported - began,
        "load_s": loaded - imported,
        "run_s": ran - loaded,
        "stats_s": ended - ran,
        "run_and_stats_s": ended - loaded,
        "peak_run_mb": before_stats,
        "trades": len([event for event in result.events if type(event).__name__ == "Closed"]),
        "errors": [f"{failure.kind} x{failure.count}" for failure in result.errors],
        "has_stats": stats is not None,
    }


def w1_bknb(path: str, *, as_frame: bool = False) -> dict[str, Any]:
    """SMA(10/30) cross on closed 15m candles, as a user would write it."""

    def get_signal(symbol: str, price: float) -> Any:
        closes = bknb.get_candles(symbol, "15m", 31).close
        now = closes[-10:].mean() > closes[-30:].mean()
        before = closes[-11:-1].mean() > closes[-31:-1].mean()
        if now and not before:
            return bknb.Signal(
                position="long",
                price_take_profit=price * 1.02,
                price_stop_loss=price * 0.99,
                minute_estimated_time=24 * 60,
            )
        return None

    import bknb

    return _run_bknb(path, get_signal, "15m", as_frame=as_frame)


def w1_bknb_frame(path: str) -> dict[str, Any]:
    """The same, with the candles in a pandas DataFrame."""
    return w1_bknb(path, as_frame=True)


def w1_indicators(path: str) -> dict[str, Any]:
    """The same, with both averages as indicators, asked for the values before where the newest may have crossed."""
    import bknb

    fast, slow = bknb.indicator("sma", "15m", 10), bknb.indicator("sma", "15m", 30)

    def get_signal(ctx: Any) -> Any:
        if fast.last(ctx) > slow.last(ctx) and fast(ctx, 2)[0] <= slow(ctx, 2)[0]:
            price = ctx.price
            return bknb.Signal(
                position="long",
                price_take_profit=price * 1.02,
                price_stop_loss=price * 0.99,
                minute_estimated_time=24 * 60,
            )
        return None

    return _run_bknb(path, get_signal, "15m")


def w1_strategy_alone(path: str) -> dict[str, Any]:
    """The numpy work of W1's get_signal, 35 040 times and without an engine: a floor for any engine."""
    import numpy as np

    closes_all = np.load(path)[4, 14::15].copy()
    began = perf_counter()
    crosses = 0
    for end in range(31, len(closes_all) + 1):
        closes = closes_all[end - 31 : end]
        now = closes[-10:].mean() > closes[-30:].mean()
        before = closes[-11:-1].mean() > closes[-31:-1].mean()
        crosses += bool(now and not before)
    return {"run_s": perf_counter() - began, "trades": crosses}


def w1_backtesting(path: str) -> dict[str, Any]:
    """The same strategy in backtesting.py: 15m averages by ``resample_apply``, exits watched on 1m bars."""
    began = perf_counter()
    import numpy as np
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover, resample_apply

    imported = perf_counter()
    block = np.load(path)
    index = pd.to_datetime(block[0].astype("int64"), unit="ms")
    names = ("Open", "High", "Low", "Close", "Volume")
    frame = pd.DataFrame(dict(zip(names, block[1:], strict=True)), index=index)
    loaded = perf_counter()

    def average(values: Any, count: int) -> Any:
        return pd.Series(values).rolling(count).mean()

    class SmaCross(Strategy):
        def init(self) -> None:
            self.fast = resample_apply("15min", average, self.data.Close, 10)
            self.slow = resample_apply("15min", average, self.data.Close, 30)

        def next(self) -> None:
            if self.trades:
                if len(self.data) - 1 - self.trades[0].entry_bar >= DAY_MINUTES:
                    self.trades[0].close()
            elif crossover(self.fast, self.slow):
                price = self.data.Close[-1]
                self.buy(size=1, tp=price * 1.02, sl=price * 0.99)

    stats = Backtest(frame, SmaCross, cash=10_000_000, commission=0.001, finalize_trades=True).run()
    ended = perf_counter()
    return {
        "import_s": imported - began,
        "load_s": loaded - imported,
        "run_and_stats_s": ended - loaded,
        "trades": int(stats["# Trades"]),
    }


def empty_15m(path: str) -> dict[str, Any]:
    """A strategy that returns None, asked 35 040 times."""
    return _run_bknb(path, lambda: None, "15m")


def empty_1d(path: str) -> dict[str, Any]:
    """The same, asked 365 times: what a run costs that is not questions."""
    return _run_bknb(path, lambda: None, "1d")


def _heavy() -> list[str]:
    return [name for name in HEAVY if name in sys.modules]


def import_alone(path: str) -> dict[str, Any]:  # noqa: ARG001 -- every case has the same shape
    """``import bknb`` and nothing else."""
    before = len(sys.modules)
    began = perf_counter()
    import bknb  # noqa: F401 -- it is what is measured

    seconds = perf_counter() - began
    return {"import_s": seconds, "modules": len(sys.modules) - before, "heavy": _heavy()}


def import_and_reach(path: str) -> dict[str, Any]:  # noqa: ARG001 -- every case has the same shape
    """``import bknb`` and the names a script needs; they are imported at first use."""
    before = len(sys.modules)
    began = perf_counter()
    import bknb

    _ = bknb.backtest, bknb.Signal, bknb.get_candles, bknb.exchanges
    seconds = perf_counter() - began
    return {"import_s": seconds, "modules": len(sys.modules) - before, "heavy": _heavy()}


def one_day(path: str) -> dict[str, Any]:  # noqa: ARG001 -- every case has the same shape
    """Import, and a backtest of one day on the demo market."""
    began = perf_counter()
    import bknb

    def get_signal(symbol: str, price: float) -> Any:
        closes = bknb.get_candles(symbol, "15m", 31).close
        if closes[-10:].mean() > closes[-30:].mean():
            return bknb.Signal(
                position="long",
                price_take_profit=price * 1.02,
                price_stop_loss=price * 0.99,
                minute_estimated_time=60,
            )
        return None

    result = bknb.backtest(
        "BTCUSDT", strategy=get_signal, interval="15m", exchange="demo", frame=("2024-01-01", "2024-01-02")
    )
    seconds = perf_counter() - began
    return {"run_s": seconds, "events": len(result.events), "heavy": _heavy()}


def indicator_calls(path: str) -> dict[str, Any]:  # noqa: ARG001 -- every case has the same shape
    """One call of an indicator in a question, microseconds: the fastest of seven times 50 000."""
    from timeit import repeat

    import bknb

    fast = bknb.indicator("sma", "15m", 10)
    calls = {
        "newest_us": "fast(ctx)",
        "last_us": "fast.last(ctx)",
        "five_us": "fast(ctx, 5)",
        "candles_us": "candles(31)",
    }
    found: dict[str, Any] = {}

    def get_signal(ctx: Any) -> None:
        if not found and fast(ctx, 5)[0] > 0:
            names = {"fast": fast, "ctx": ctx, "candles": lambda n: ctx.candles("15m", n).close}
            found.update(
                {key: min(repeat(call, globals=names, number=50_000, repeat=7)) * 20 for key, call in calls.items()}
            )

    bknb.backtest("BTCUSDT", strategy=get_signal, interval="15m", exchange="demo", frame=("2024-01-01", "2024-01-02"))
    return found


def bare(path: str) -> dict[str, Any]:  # noqa: ARG001 -- every case has the same shape
    """An interpreter that does nothing: what every other wall time contains."""
    return {}


CASES = (
    w1_bknb,
    w1_indicators,
    w1_bknb_frame,
    w1_strategy_alone,
    w1_backtesting,
    empty_15m,
    empty_1d,
    import_alone,
    import_and_reach,
    one_day,
    indicator_calls,
    bare,
)

if __name__ == "__main__":
    chosen = {case.__name__: case for case in CASES}[sys.argv[1]]
    figures = chosen(sys.argv[2])
    print(json.dumps({**figures, "peak_mb": _peak_mb()}))
