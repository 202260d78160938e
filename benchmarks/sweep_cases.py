"""What is measured about sweeps: each case runs in a process of its own and prints one line of JSON.

``python benchmarks/sweep_cases.py CASE CANDLES.npy``. The rules are the same everywhere: SMA(fast) crosses SMA(slow)
from below on closed 15m candles; long; take profit 2 %, stop loss 1 %, watched on every minute; no time limit; fee and
slippage of 0.1 % a side.
"""

from __future__ import annotations

import json
import resource
import sys
from time import perf_counter, process_time
from typing import Any

import numpy as np

FRAME = ("2023-01-01", "2024-01-01")
FOREVER = 10**6  # minutes; vectorbt has no time limit for a position
GRIDS = {
    100: (range(5, 25, 2), range(30, 80, 5)),
    1_000: (range(5, 25, 1), range(30, 130, 2)),
    10_000: (range(3, 53, 1), range(60, 460, 2)),
}


def _peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def get_signals(candles: Any, fast: int = 10, slow: int = 30) -> dict[str, Any]:
    """Plain numpy, as a user would write it: two running means from one sum."""
    close = candles.close
    sums = np.concatenate([[0.0], np.cumsum(close)])
    above = np.zeros(len(close), dtype=bool)
    above[slow - 1 :] = (sums[slow:] - sums[:-slow]) / slow < ((sums[fast:] - sums[:-fast]) / fast)[slow - fast :]
    position = np.zeros(len(close), dtype=np.int8)
    position[slow:] = above[slow:] & ~above[slow - 1 : -1]
    return {
        "position": position,
        "price_take_profit": close * 1.02,
        "price_stop_loss": close * 0.99,
        "minute_estimated_time": FOREVER,
    }


def _source(path: str) -> Any:
    import bknb

    block = np.load(path)
    columns = dict(zip(("timestamp", "open", "high", "low", "close", "volume"), block, strict=True))
    return bknb.exchanges.from_frame(bknb.Candles.from_columns(**columns))


def _options(path: str, count: int) -> dict[str, Any]:
    fast, slow = GRIDS[count]
    return {
        "params": {"fast": fast, "slow": slow},
        "symbol": "BTCUSDT",
        "exchange": _source(path),
        "frame": FRAME,
        "interval": "15m",
        "settings": {"max_signal_lifetime_minutes": FOREVER},
        "metric": "total_pnl",
    }


def _used_by_workers() -> float:
    """The processor seconds of worker processes, which are ended for it."""
    from bknb.sweeps import fork_server

    fork_server.end_kept()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bknb_sweep(path: str, count: int, executor: object = "inline", *, warm: bool = False) -> dict[str, Any]:
    """``bknb.sweep`` over a grid, from candles in memory to the table; the compiled loop is loaded already.

    ``warm``: workers have worked for a sweep before.
    """
    began = perf_counter()
    import bknb

    options = _options(path, count)
    few = options | {"params": {"fast": [5, 6], "slow": [50]}}
    bknb.sweep(get_signals, executor=executor if warm else "inline", **few)  # warming up, as for vectorbt
    warming = perf_counter() - began
    began, used = perf_counter(), process_time()
    result = bknb.sweep(get_signals, executor=executor, **options)
    seconds, used = perf_counter() - began, process_time() - used
    table = result.table
    return {
        "run_s": seconds,
        "processor_s": used + _used_by_workers(),
        "rate": count / seconds,
        "warming_s": warming,
        "trades": float(table["n"].sum()),
        "peak_mb": _peak_mb(),
        "worker_mb": _peak_mb(resource.RUSAGE_CHILDREN),
        "mean_pnl": float((table["avg_pnl"] * table["n"]).sum() / table["n"].sum()),
    }


def bknb_events(path: str) -> dict[str, Any]:
    """The same strategy through the event engine, three combinations one after the other."""
    import bknb

    options = _options(path, 100)
    del options["params"], options["metric"]
    from bknb.engine.registration_checks import make_strategy

    del options["interval"]
    symbol = options.pop("symbol")
    began = perf_counter()
    for fast in (5, 7, 9):
        strategy = make_strategy("sma", interval="15m", get_signals=get_signals, params={"fast": fast})
        bknb.backtest(symbol, strategy=strategy, **options)
    seconds = perf_counter() - began
    return {"run_s": seconds, "rate": 3 / seconds, "peak_mb": _peak_mb()}


def kernel_year(path: str) -> dict[str, Any]:
    """One year through the compiled loop, its statistics, and the whole of one combination; once compiled."""
    import asyncio

    from bknb.domain.least_samples import GATES
    from bknb.engine.get_signals_vectorised import signal_rows
    from bknb.engine.plan import plan_backtest
    from bknb.kernels.sweep_figures import score
    from bknb.sweeps.evaluate_combination import Evaluator
    from bknb.sweeps.prepared_candles import prepare

    options = _options(path, 100)
    options.pop("params"), options.pop("metric")
    plan = plan_backtest(options.pop("symbol"), strategy=get_signals, **options)
    began = perf_counter()
    evaluator = Evaluator(plan, asyncio.run(prepare(plan)))
    prepared = perf_counter() - began
    began = perf_counter()
    evaluator.evaluate({})
    first = perf_counter() - began

    def each(what: Any, times: int = 200) -> float:
        began = perf_counter()
        for _ in range(times):
            what()
        return (perf_counter() - began) / times * 1e3

    rows = signal_rows(plan.strategy, evaluator.prepared.candles).on_grid(plan.settings.price_tick)
    ends, _ = evaluator._simulate(rows, None)
    return {
        "prepare_s": prepared,
        "first_s": first,
        "rows_ms": each(lambda: signal_rows(plan.strategy, evaluator.prepared.candles)),
        "simulate_ms": each(lambda: evaluator._simulate(rows, None)),
        "score_ms": each(lambda: score(ends, GATES)),
        "whole_ms": each(lambda: evaluator.evaluate({"fast": 11})),
        "trades": len(ends),
        "peak_mb": _peak_mb(),
    }


def symbols_50(path: str, executor: object = "inline") -> dict[str, Any]:
    """Twenty combinations on each of fifty symbols, a year of minutes each."""
    import bknb

    options = _options(path, 100)
    options |= {"params": {"fast": range(5, 15), "slow": [30, 60]}, "symbol": [f"S{k}" for k in range(50)]}
    began, used = perf_counter(), process_time()
    result = bknb.sweep(get_signals, executor=executor, **options)
    seconds, used = perf_counter() - began, process_time() - used
    return {
        "run_s": seconds,
        "processor_s": used + _used_by_workers(),
        "rate": len(result.table) / seconds,
        "peak_mb": _peak_mb(),
        "worker_mb": _peak_mb(resource.RUSAGE_CHILDREN),
    }


def vectorbt_sweep(path: str, count: int, columns: int = 100, engine: str = "numba") -> dict[str, Any]:
    """vectorbt: entries on 15m put on the minute at which the candle closes, stops watched on every minute."""
    began = perf_counter()
    import pandas as pd
    import vectorbt as vbt

    vbt.settings["engine"] = engine
    block = np.load(path)
    index = pd.date_range(FRAME[0], periods=block.shape[1], freq="1min")
    open_, high, low, close = (pd.Series(column, index=index) for column in block[1:5])
    closes = block[4, 14::15]
    fast, slow = GRIDS[count]
    pairs = [(f, s) for f in fast for s in slow]

    def sweep(some: list[tuple[int, int]]) -> tuple[float, float]:
        means = vbt.MA.run(
            pd.Series(closes, index=index[14::15]), window=sorted({w for pair in some for w in pair}), short_name="m"
        ).ma
        values = {int(name[0] if isinstance(name, tuple) else name): means[name].to_numpy() for name in means.columns}
        entries = np.zeros((len(index), len(some)), dtype=bool)
        for at, (f, s) in enumerate(some):
            above = values[f] > values[s]
            entries[14::15, at][1:] = above[1:] & ~above[:-1] & ~np.isnan(values[s][:-1])
        done = vbt.Portfolio.from_signals(
            close, entries=pd.DataFrame(entries, index=index), open=open_, high=high, low=low, sl_stop=0.01,
            tp_stop=0.02, fees=0.001, slippage=0.001, freq="1min", size=np.inf,
        )  # fmt: skip
        trades = done.trades
        counts = np.asarray(trades.count(), dtype=float)
        returns = np.asarray(trades.returns.mean(), dtype=float)
        return float(counts.sum()), float((counts * returns).sum())

    sweep(pairs[:2])
    warming = perf_counter() - began
    began, used = perf_counter(), process_time()
    trades = money = 0.0
    for at in range(0, count, columns):
        one, other = sweep(pairs[at : at + columns])
        trades, money = trades + one, money + other
    seconds, used = perf_counter() - began, process_time() - used
    return {
        "run_s": seconds,
        "processor_s": used,
        "rate": count / seconds,
        "warming_s": warming,
        "trades": trades,
        "peak_mb": _peak_mb(),
        "mean_pnl": 100 * money / trades,
    }


CASES = {
    "bknb_100": lambda path: bknb_sweep(path, 100),
    "bknb_1000": lambda path: bknb_sweep(path, 1_000),
    "bknb_10000": lambda path: bknb_sweep(path, 10_000),
    "bknb_1000_x2": lambda path: bknb_sweep(path, 1_000, 2),
    "bknb_1000_x2_warm": lambda path: bknb_sweep(path, 1_000, 2, warm=True),
    "bknb_10000_x1": lambda path: bknb_sweep(path, 10_000, 1),
    "bknb_10000_x2": lambda path: bknb_sweep(path, 10_000, 2),
    "bknb_events": bknb_events,
    "kernel_year": kernel_year,
    "symbols_50": symbols_50,
    "symbols_50_x2": lambda path: symbols_50(path, 2),
    "vectorbt_100": lambda path: vectorbt_sweep(path, 100),
    "vectorbt_1000": lambda path: vectorbt_sweep(path, 1_000),
    "vectorbt_100_rust": lambda path: vectorbt_sweep(path, 100, engine="rust"),
    "vectorbt_1000_rust": lambda path: vectorbt_sweep(path, 1_000, engine="rust"),
}


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](sys.argv[2])))
