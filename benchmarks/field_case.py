"""What every library beside bknb is measured with: one strategy, the clock, and how trades are told.

The strategy: the average of 10 closed 15m candles crosses that of 30 from below; buy at the open of the next minute,
target 2 % above and stop 1 % below what was paid, watched on every minute, no time limit; fee 0.1 % a side.

Needs numpy alone, as it is imported in environments in which bknb is not installed.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

MINUTE = 60_000
FAST, SLOW = 10, 30
TARGET, STOP = 1.02, 0.99
FEE = 0.001
SYMBOL = "BTCUSDT"

Trade = tuple[int, float, int, float]  # entry (UTC ms, open of the minute), its price, exit, its price


def columns(path: str) -> dict[str, Any]:
    """The candles of ``data.py`` by the names of their columns."""
    import numpy as np

    block = np.load(path)
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return dict(zip(names, block, strict=True))


def frame(path: str, names: tuple[str, ...] = ("Open", "High", "Low", "Close", "Volume")) -> Any:
    """The same as a DataFrame by UTC times without a zone."""
    import pandas as pd

    of = columns(path)
    index = pd.to_datetime(of["timestamp"].astype("int64"), unit="ms")
    return pd.DataFrame(dict(zip(names, list(of.values())[1:], strict=True)), index=index)


def measure(
    imports: Callable[[], str],
    load: Callable[[str], Any],
    run: Callable[[Any], list[Trade]],
) -> None:
    """Import, load, run once and run again, in the processor time of this process; print one line of JSON.

    Parameters
    ----------
    imports
        Imports the library and returns its version.
    load
        Turns the ``.npy`` file into what it takes.
    run
        Runs the strategy, makes the library's statistics and returns its trades.
    """
    path, told = sys.argv[1], Path(sys.argv[2])
    began = process_time()
    version = imports()
    imported = process_time()
    data = load(path)
    loaded = process_time()
    trades = run(data)
    first, clock = process_time(), perf_counter()
    run(data)
    again, waited = process_time(), perf_counter() - clock
    told.write_text(json.dumps([list(each) for each in trades]), encoding="utf-8")
    figures = {
        "version": version,
        "import_s": imported - began,
        "load_s": loaded - imported,
        "first_s": first - loaded,
        "again_s": again - first,
        "again_wall_s": waited,
        "trades": len(trades),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))
