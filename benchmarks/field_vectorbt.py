"""The strategy of ``field_case.py`` in vectorbt: ``from_signals`` with stops, by Numba or by its Rust engine."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import numpy as np
from field_case import FAST, FEE, SLOW, Trade, frame, measure


def imports() -> str:
    """Import it, and choose the engine."""
    import vectorbt as vbt

    vbt.settings["engine"] = sys.argv[3]
    rust = f", vectorbt-rust {version('vectorbt-rust')}" if sys.argv[3] == "rust" else ""
    return f"{version('vectorbt')}{rust}"


def run(table: Any) -> list[Trade]:
    """A portfolio with its statistics."""
    import vectorbt as vbt

    closes = table.Close.iloc[14::15]
    fast, slow = (vbt.MA.run(closes, window=length).ma for length in (FAST, SLOW))
    crossed = fast.vbt.crossed_above(slow).to_numpy()
    entries = np.zeros(len(table), dtype=bool)
    entries[15::15] = crossed[: len(entries[15::15])]  # the minute behind the candle that shows it
    portfolio = vbt.Portfolio.from_signals(
        table.Close,
        entries=entries,
        exits=False,
        price=table.Open,
        open=table.Open,
        high=table.High,
        low=table.Low,
        sl_stop=0.01,
        tp_stop=0.02,
        stop_entry_price="FillPrice",
        fees=FEE,
        size=1.0,
        init_cash=1e9,
        freq="1min",
    )
    portfolio.stats()
    found = portfolio.trades.records
    opens = table.index.to_numpy().astype("datetime64[ms]").astype("int64")
    return [
        (int(opens[a]), float(b), int(opens[c]), float(d))
        for a, b, c, d in found[["entry_idx", "entry_price", "exit_idx", "exit_price"]].itertuples(index=False)
    ]


if __name__ == "__main__":
    measure(imports, frame, run)
