"""Several symbols in one table: how their keys are read, and which runs are told what was decided of their rows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.config import Settings
from bknb.errors import BadCandle, UsageError
from bknb.exchanges.from_csv_frame_and_parquet import from_csv, from_frame, from_parquet
from bknb.market.feed import Feed

START = 1_704_067_200_000
MINUTE = 60_000


def minutes(count: int = 12, price: float = 100.0) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=count, freq="min", tz="UTC", name="Datetime")
    return pd.DataFrame({"Open": price, "High": price + 1, "Low": price - 1, "Close": price, "Volume": 7.0}, index)


def days(*left_out: str) -> pd.DataFrame:
    index = pd.bdate_range("2024-01-01", periods=60, name="Date")
    found = pd.DataFrame({"Open": 5.0, "High": 6.0, "Low": 4.0, "Close": 5.0, "Volume": np.arange(60.0)}, index)
    return found.drop(pd.DatetimeIndex(left_out))


def told(source: Any, *symbols: str, interval: str = "1m") -> list[str]:
    """What a run over the candles of these symbols is told."""
    found: list[str] = []
    feed = Feed(source, Settings(), warn=found.append, allow_gaps=True)

    async def fetched() -> None:
        for symbol in symbols:
            await feed.fetch(symbol, interval, START, START + 80 * 86_400_000)

    asyncio.run(fetched())
    return found


# --- which runs are told ---------------------------------------------------------------------------------------------


def faulty(kind: str) -> tuple[pd.DataFrame, str]:
    """Minutes with a fault that is told, and words of what is told."""
    frame = minutes(40)
    if kind == "not in order":
        return frame.iloc[[*range(1, 40), 0]], "sorted: 1 candles"
    if kind == "the last trade":
        return pd.concat([frame, frame[-1:].set_axis(frame.index[-1:] + pd.Timedelta(seconds=30))]), "left out: the row"
    if kind == "cents":
        frame.iloc[20:, :4] *= 100
        return frame, "the price goes from "
    frame.iloc[20, 1] *= 50
    return frame, "reaches more than"


FAULTS = ["not in order", "the last trade", "cents", "a wick"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_decided_of_the_rows_of_one_symbol_is_told_to_runs_over_it_alone(fault: str, tmp_path: Path) -> None:
    given, words = faulty(fault)
    both = pd.concat([given.assign(ticker="AAA"), minutes(40).assign(ticker="BBB")])
    both.to_csv(tmp_path / "both.csv")
    wide = pd.concat({"AAA": given[~given.index.duplicated()].sort_index(), "BBB": minutes(40)}, axis=1)
    for source in (
        from_frame(both),
        from_csv(tmp_path / "both.csv"),
        *([from_frame(wide)] if "order" not in fault else []),
    ):
        (note,) = told(source, "AAA")
        assert words in note
        assert told(source, "BBB") == []
        assert told(source, "BBB", "AAA") == told(source, "AAA") == [*source.warnings]
    assert from_frame(both, symbol="BBB").warnings == ()
    assert from_frame(both, symbol="AAA").warnings == from_frame(both).warnings


def test_holidays_and_hours_that_bars_show_are_told_to_runs_over_their_symbols() -> None:
    both = pd.concat([days("2024-01-10").assign(ticker="AAA"), days("2024-01-18").assign(ticker="BBB")])
    source = from_frame(both)
    assert [note.partition(" (")[2][:10] for note in source.warnings] == ["2024-01-10", "2024-01-18"]
    assert [told(source, each, interval="1d") for each in ("AAA", "BBB")] == [[each] for each in source.warnings]
    alike = from_frame(pd.concat([days("2024-01-10").assign(ticker=each) for each in ("AAA", "BBB")]))
    assert told(alike, "AAA", interval="1d") == told(alike, "BBB", interval="1d") == [*alike.warnings]
    assert len(alike.warnings) == 1
    opens = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days().index for hour in range(9, 17)])
    hours = pd.DataFrame(
        {"Open": 5.0, "High": 6.0, "Low": 4.0, "Close": 5.0, "Volume": 1.0 * np.arange(len(opens))},
        opens.rename("Datetime"),
    )
    source = from_frame(pd.concat([hours.assign(ticker="AAA"), hours[hours.index.hour < 14].assign(ticker="BBB")]))
    assert ["mon 09:00-17:00" in note for note in told(source, "AAA", interval="1h")] == [True]
    assert ["mon 09:00-14:00" in note for note in told(source, "BBB", interval="1h")] == [True]


def test_what_is_decided_of_the_whole_table_is_told_to_every_run() -> None:
    frame = minutes().reset_index().rename(columns={"Volume": "Volume BTC"})
    source = from_frame(pd.concat([frame.assign(ticker="AAA"), frame.assign(ticker="BBB")]))
    (note,) = source.warnings
    assert "Volume BTC" in note
    assert told(source, "AAA") == told(source, "BBB") == [note]


def test_a_run_is_told_of_the_symbols_it_reads() -> None:
    given, words = faulty("not in order")
    source = from_frame(pd.concat([given.assign(ticker="AAA"), minutes(40).assign(ticker="BBB")]))

    def run(symbol: str, other: str | None) -> list[str]:
        strategy = lambda ctx: None if other is None else bknb.get_candles(other, "5m", 1) and None  # noqa: E731
        options: Any = {"exchange": source, "frame": ("2024-01-01 00:10", "2024-01-01 00:30"), "interval": "5m"}
        return [each for each in bknb.backtest(symbol, strategy=strategy, **options).warnings if words in each]

    assert [len(run("AAA", None)), len(run("BBB", None)), len(run("BBB", "AAA"))] == [1, 0, 1]


# --- keys that are numbers -------------------------------------------------------------------------------------------


def keyed(*keys: Any, dtype: Any = None) -> pd.DataFrame:
    """Five minutes under each key, in one table."""
    frames = [minutes(5, price=100.0 * at) for at in range(1, len(keys) + 1)]
    column = pd.Series([key for key in keys for _ in range(5)], dtype=dtype)
    return pd.concat(frames).assign(ticker=column.to_numpy() if dtype is None else column.array)


@pytest.mark.parametrize(
    ("frame", "symbols"),
    [
        (keyed(700, 5), ("700", "5")),
        (keyed(700.0, 5.0), ("700", "5")),
        (keyed(700, 5, None).dropna(), ("700", "5")),  # numbers with a hole, which pandas keeps as floats
        (keyed(700, 5, dtype="Int64"), ("700", "5")),
        (keyed(700, 5, dtype="Float64"), ("700", "5")),
        (keyed(700.0, 5.0, dtype="category"), ("700", "5")),
        (keyed(700.0, "AAPL", 5, dtype=object), ("700", "AAPL", "5")),
        (keyed("700.0", "0700"), ("700.0", "0700")),  # text is what it is
        (keyed(np.float32(700), np.float32(5), dtype="float32"), ("700", "5")),
        (keyed(700.0, 5.0).set_index("ticker", append=True), ("700", "5")),
        (pd.concat({700.0: minutes(5, 100.0), 5.0: minutes(5, 200.0)}, axis=1), ("700", "5")),
    ],
)  # fmt: skip
def test_whole_numbers_are_symbols_whatever_holds_them(
    frame: pd.DataFrame, symbols: tuple[str, ...], tmp_path: Path
) -> None:
    sources = [from_frame(frame)]
    if "ticker" in frame and frame["ticker"].dtype != object:
        frame.to_parquet(tmp_path / "both.parquet")
        sources.append(from_parquet(tmp_path / "both.parquet"))
    for source in sources:
        assert source.symbols == symbols
        for at, symbol in enumerate(symbols, start=1):
            candles = asyncio.run(source.get_candles(symbol, "1m", 0, 2**40))
            assert (candles.close.tolist(), candles.timestamp[0]) == ([100.0 * at] * 5, START)
    split = pd.DataFrame({"date": ["2024-01-01 00:03"], "dividends": [1.0], "symbol": [700.0]})
    assert from_frame(keyed(700.0, 5.0), adjust=split).adjustments["700"].dividends == 1


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (700.5, "row 2024-01-01 00:00:00+00:00: ticker must name the symbol, and is the number 700.5\ngive symbols as"),
        (1e17, "ticker must name the symbol, and is the number 1e+17\ngive symbols as text"),
        (np.inf, "is the number inf"),
        (np.nan, "ticker must name the symbol, and is empty\nfill it in, or leave the row out"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_symbols_are_refused(key: float, words: str) -> None:
    with pytest.raises(BadCandle) as refused:
        from_frame(keyed(key, 5.0))
    assert words in str(refused.value)
    if np.isfinite(key):
        with pytest.raises(UsageError, match=r"the columns name the number .* as a symbol\ngive symbols as text"):
            from_frame(pd.concat({key: minutes(5), 5.0: minutes(5)}, axis=1))


def test_two_tickers_that_are_written_alike_are_not_mixed() -> None:
    wide = pd.concat({"700": minutes(5), 700.0: minutes(5, 200.0)}, axis=1)
    with pytest.raises(UsageError, match="two tickers of the columns are written 700"):
        from_frame(wide)
