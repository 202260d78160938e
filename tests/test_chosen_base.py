"""``base=`` of a run: bars that fill orders, made of the finer candles of an exchange."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.domain.interval import INTERVAL_MS
from bknb.exchanges import from_frame
from bknb.market.resample import resample

MINUTE = 60_000
START = 1_704_067_200_000  # 2024-01-01
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
FRAME = ("2024-01-02", "2024-01-06")


def minutes(*, without: tuple[int, ...] = ()) -> pd.DataFrame:
    """Six days of a random walk."""
    rng = np.random.default_rng(6)
    count = 6 * 1440
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0006, size=count)))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.0004, np.minimum(opened, close) * 0.9996
    times = START + np.arange(count, dtype=np.int64) * MINUTE
    columns = (times, opened, high, low, close, rng.random(count))
    table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    return table.drop(index=list(without))


def bars(table: pd.DataFrame, interval: str) -> pd.DataFrame:
    made = resample(bknb.Candles.from_rows(table.to_numpy().tolist()), interval)
    return pd.DataFrame({name: getattr(made, name) for name in COLUMNS})


def get_signal(ctx: Any) -> Any:
    closes = ctx.candles("4h", 4).close
    if closes[-1] <= closes[0]:
        return None
    return bknb.Signal(
        position="long",
        price_take_profit=ctx.price * 1.012,
        price_stop_loss=ctx.price * 0.99,
        minute_estimated_time=555,
    )


def run(table: pd.DataFrame, **options: Any) -> bknb.Result:
    given = {"strategy": get_signal, "frame": FRAME, "interval": "1h", "exchange": from_frame(table, symbol="X")}
    return bknb.backtest("X", **{**given, **options})


@pytest.mark.parametrize("base", ["1h", "15m"])
def test_a_chosen_base_gives_the_run_over_bars_of_that_length(base: str) -> None:
    chosen, given = run(minutes(), base=base), run(bars(minutes(), base))
    assert chosen.errors == given.errors == []
    assert len(chosen.trades) > 5
    pd.testing.assert_frame_equal(chosen.trades, given.trades)
    assert chosen.stats == given.stats
    assert chosen.card.base == given.card.base == base == chosen.base == given.base
    assert f"exits watched on {base} bars" in chosen.report()
    assert len(run(minutes()).trades) > 5
    assert run(minutes()).card.base == run(minutes()).base == "1m"


def test_a_source_that_makes_its_own_longer_candles_is_asked_for_them() -> None:
    options: Any = {"strategy": get_signal, "frame": FRAME, "interval": "1h", "exchange": "demo"}
    result = bknb.backtest("BTCUSDT", base="1h", **options)
    assert result.errors == []
    assert {part.interval for part in result.card.data} == {"1h", "4h"}


def test_a_card_of_a_chosen_base_is_verified_with_it() -> None:
    bknb.add_strategy("rising", interval="1h", get_signal=get_signal)
    bknb.add_exchange("mine", get_candles=from_frame(minutes(), symbol="X"))
    result = bknb.backtest("X", strategy="rising", exchange="mine", frame=FRAME, base="1h")
    assert "base" in result.card.given
    assert bknb.verify(result.card).same


def test_a_hole_in_the_minutes_is_one_of_the_bars() -> None:
    table = minutes(without=tuple(range(3000, 3010)))
    with pytest.raises(bknb.GapError):
        run(table, base="1h")
    assert run(table, base="1h", allow_gaps=True).card.base == "1h"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": "7m"}, "unknown interval '7m'"),
        ({"base": "2h", "interval": "1h"}, "1h candles cannot be made of the 2h bars"),
        ({"base": "1h", "execution": "vwap"}, "needs 1m candles"),
    ],
)
def test_a_base_that_cannot_be_is_refused(options: Any, words: str) -> None:
    with pytest.raises(bknb.UsageError, match=words):
        run(minutes(), **options)


def test_a_base_finer_than_the_data_is_refused() -> None:
    with pytest.raises(bknb.UsageError, match="base='1m': 1m candles cannot be made of the 1h bars of"):
        run(bars(minutes(), "1h"), base="1m")


def test_minutes_that_begin_behind_the_frame_are_told_with_the_longer_bars_that_may_not() -> None:
    begins = {"1m": START, "1d": START - 730 * 1440 * MINUTE}

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        first, step = max(since, begins[interval]), INTERVAL_MS[interval]
        return [(first + at * step, 1.0, 2.0, 0.5, 1.5, 1.0) for at in range(limit)]

    bknb.add_exchange("both", get_candles=get_candles, intervals=["1d", "1m"])
    frame = ("2023-01-01", "2023-02-01")
    options: Any = {"strategy": lambda: None, "exchange": "both", "interval": "1d", "frame": frame}
    with pytest.raises(bknb.NotEnoughData, match="longer bars may begin earlier: base='1d' of the run"):
        bknb.backtest("X", base="1m", **options)
    assert bknb.backtest("X", **options).base == bknb.backtest("X", base="1d", **options).base == "1d"


def test_candles_finer_than_the_chosen_base_are_refused() -> None:
    def looks(ctx: Any) -> None:
        with pytest.raises(bknb.UsageError, match="15m candles cannot be made of the 1h bars"):
            ctx.candles("15m", 3)

    assert run(minutes(), base="1h", strategy=looks).errors == []


def test_sweeps_and_walkers_take_a_base() -> None:
    exchange = from_frame(minutes(), symbol="X")
    options: Any = {"symbol": "X", "exchange": exchange, "frame": FRAME, "base": "1h"}

    def by_row(candles: Any, up: float = 1.01) -> dict[str, Any]:
        levels = {"price_take_profit": candles.close * up, "price_stop_loss": candles.close * 0.99}
        return {"position": candles.close > candles.open, "minute_estimated_time": 555, **levels}

    strategy = bknb.add_strategy("row", interval="1h", get_signals=by_row, lookback=5)
    pytest.importorskip("numba")
    swept = bknb.sweep(strategy, params={"up": [1.01, 1.02]}, **options)
    assert swept.run(0).card.base == "1h"
    assert swept.table["n"][0] == len(swept.run(0).trades) > 5
    compared = bknb.walker("X", strategies=[strategy], exchange=exchange, frame=FRAME, base="1h")
    assert compared["row"].card.base == "1h"
