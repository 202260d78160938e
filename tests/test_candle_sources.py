"""Frames, files and functions as sources: the contract for all, and what each says when it is used wrongly."""

from __future__ import annotations

import asyncio
import gzip
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb.exchanges
from bknb.domain.formatting import plain_number, utc_text
from bknb.errors import BadCandle, DataError, MissingDependency, UnknownName, UsageError
from bknb.exchanges.dataframe_source import FrameSource
from bknb.exchanges.from_csv_frame_and_parquet import from_csv, from_frame, from_parquet
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.market.sources import FunctionSource
from bknb.ports import CandleSource
from bknb.testing.sources import CandleSourceContract, check_candle_source

START = 1_640_995_200_000
MINUTE = 60_000


def demo(limit: int = 120, since: int = START) -> Candles:
    return asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", since, limit))


def frame(limit: int = 120) -> pd.DataFrame:
    return demo(limit).to_pandas().reset_index()


def milliseconds(limit: int = 120) -> pd.DataFrame:
    return frame(limit).assign(timestamp=demo(limit).timestamp)


def served(source: CandleSource, symbol: str = "BTCUSDT", since: int = START, limit: int = 120) -> Candles:
    return asyncio.run(source.get_candles(symbol, "1m", since, limit))


def rows_of(since: int, limit: int) -> list[tuple[float, ...]]:
    first = -(-since // MINUTE) * MINUTE
    return [tuple(row.values()) for row in demo(limit, first)]


# --- the contract --------------------------------------------------------------------------------------------------


class TestDemo(CandleSourceContract):
    def source(self) -> CandleSource:
        return bknb.exchanges.demo()


class TestFrame(CandleSourceContract):
    def source(self) -> CandleSource:
        return from_frame(frame())


class TestFrameOfHoursBelowZero(CandleSourceContract):
    def source(self) -> CandleSource:
        hours = frame(30 * 60).iloc[::60].set_index("timestamp")
        prices = hours[["open", "high", "low", "close"]] - 2 * hours["close"].max()
        return from_frame(hours.assign(**prices), negative=True)


class TestFrameOfManySymbols(CandleSourceContract):
    symbol = "ETHUSDT"

    def source(self) -> CandleSource:
        return from_frame(pd.concat([frame().assign(symbol="BTCUSDT"), frame().assign(symbol="ETHUSDT")]))


class TestCsv(CandleSourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "btc.csv"
        milliseconds().to_csv(self.path, index=False)

    def source(self) -> CandleSource:
        return from_csv(self.path)


class TestParquet(CandleSourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow")
        self.path = tmp_path / "btc.parquet"
        frame().to_parquet(self.path)

    def source(self) -> CandleSource:
        return from_parquet(self.path)


class TestFunction(CandleSourceContract):
    def source(self) -> CandleSource:
        return FunctionSource(lambda symbol, interval, since, limit: rows_of(since, limit), name="mine")


class TestAsyncFunction(CandleSourceContract):
    def source(self) -> CandleSource:
        async def get_candles(symbol: str, interval: str, since: int, limit: int) -> Candles:
            first = -(-since // MINUTE) * MINUTE
            return await DemoSource().get_candles(symbol, "1m", first, limit)

        return FunctionSource(get_candles)


class Broken(DemoSource):
    """A demo with one promise broken at a time."""

    def __init__(self, breakage: Callable[[Candles, int, int], Candles]) -> None:
        super().__init__()
        self.breakage = breakage

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        return self.breakage(await super().get_candles(symbol, interval, since, limit + 1), since, limit)


def columns(candles: Candles) -> dict[str, np.ndarray]:
    return {name: getattr(candles, name).copy() for name in ("timestamp", "open", "high", "low", "close", "volume")}


def changed(candles: Candles, **new: Any) -> Candles:
    return Candles.from_columns(**(columns(candles) | new))


class WriteableCandles(Candles):
    """Candles that hand out what can be written to, as those of bknb never do."""

    @property
    def close(self) -> np.ndarray:
        return super().close.copy()


def writeable(candles: Candles, since: int, limit: int) -> Candles:
    return WriteableCandles(candles[:limit].block)


BREAKAGES: list[tuple[str, Callable[[Candles, int, int], Candles]]] = [
    ("got Candles\\(13", lambda candles, since, limit: candles),
    ("asked for 12 candles", lambda candles, since, limit: candles[1:]),
    ("asked for 12 candles", lambda candles, since, limit: candles[:limit][::-1]),
    ("not finite", lambda c, since, limit: changed(c[:limit], close=np.full(limit, math.nan))),
    ("not above 0", lambda c, since, limit: changed(c[:limit], low=np.zeros(limit))),
    ("a high is below", lambda c, since, limit: changed(c[:limit], high=c.low[:limit])),
    ("a low is above", lambda c, since, limit: changed(c[:limit], low=c.high[:limit])),
    ("a volume is negative", lambda c, since, limit: changed(c[:limit], volume=-c.volume[:limit])),
    ("read-only", writeable),
    ("limit=1", lambda candles, since, limit: candles[1:] if limit == 1 else candles[:limit]),
    ("without the first", lambda c, since, limit: c[:limit] if limit != 11 or since % MINUTE else c[1:]),
    ("within a candle", lambda c, since, limit: c[:limit] if not since % MINUTE else c[1:]),
    ("two pages", lambda c, since, limit: c[:limit] if limit < 24 else changed(c[:limit], volume=c.volume[:limit] + 1)),
]


@pytest.mark.parametrize(("promise", "breakage"), BREAKAGES)
def test_the_contract_rejects_faulty_implementations(
    promise: str, breakage: Callable[[Candles, int, int], Candles]
) -> None:
    with pytest.raises(AssertionError, match=promise):
        asyncio.run(check_candle_source(Broken(breakage), "BTCUSDT", START))


class Chatty(DemoSource):
    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        return await super().get_candles(symbol, "1m", since, limit)


class Exponents(DemoSource):
    def format_price(self, symbol: str, price: float) -> str:
        return f"{price:e}"


class Fickle(DemoSource):
    calls = 0

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        candles = await super().get_candles(symbol, interval, since, limit)
        self.calls += 1
        return candles if self.calls < 10 else changed(candles, volume=candles.volume + self.calls)


@pytest.mark.parametrize(
    ("source", "promise"),
    [
        (Chatty(), "instead of refusing"),
        (Exponents(), "no exponents"),
        (Fickle(), "answered the same|must give the same"),
    ],
)
def test_the_contract_rejects_more_faulty_implementations(source: DemoSource, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        asyncio.run(check_candle_source(source, "BTCUSDT", START))


def test_an_incomplete_source_is_named() -> None:
    with pytest.raises(AssertionError, match="object lacks a part"):
        asyncio.run(check_candle_source(object(), "BTCUSDT", START))  # type: ignore[arg-type]  # the mistake under test


# --- frames --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        frame(),
        milliseconds(),
        frame().set_index("timestamp"),
        frame().assign(timestamp=lambda f: f.timestamp.dt.tz_localize(None)),
        frame().assign(timestamp=lambda f: f.timestamp.astype(str)),
        milliseconds().assign(timestamp=lambda f: f.timestamp.astype(float)),
        milliseconds().rename(columns=str.title),
        milliseconds()[::-1],
        milliseconds().assign(extra="x"),
        milliseconds().assign(close=lambda f: f.close.astype(str)),
    ],
)
def test_frames_of_many_shapes(given: pd.DataFrame) -> None:
    source = from_frame(given)
    assert served(source) == demo()
    assert source.warnings == ()


def test_candles_can_be_served_as_they_are() -> None:
    assert served(from_frame(demo())) == demo()


def test_slices_by_time_not_by_position() -> None:
    source = from_frame(milliseconds())
    assert served(source, since=START + 5 * MINUTE, limit=3) == demo()[5:8]
    assert served(source, since=START - 5 * MINUTE, limit=8) == demo()[:3]
    assert served(source, since=START + 118 * MINUTE, limit=50) == demo()[118:]
    assert len(served(source, since=START + 500 * MINUTE, limit=50)) == 0


def test_one_series_serves_any_symbol_unless_it_is_named() -> None:
    assert served(from_frame(frame()), "ANY") == demo()
    named = from_frame(frame(), symbol="BTCUSDT")
    assert served(named, "BTCUSDT") == demo()
    with pytest.raises(UnknownName, match="no symbol is called 'BTCUSD'; did you mean 'BTCUSDT'"):
        served(named, "BTCUSD")


def test_many_symbols() -> None:
    doubled = milliseconds().assign(volume=lambda f: f.volume * 2)
    both = pd.concat([milliseconds().assign(symbol="A"), doubled.assign(symbol="B")]).sort_values(
        "timestamp", kind="stable"
    )
    source = from_frame(both)
    assert source.symbols == ("A", "B")
    assert served(source, "A") == demo()
    assert (served(source, "B").volume == 2 * demo().volume).all()
    assert from_frame(both, symbol="B").symbols == ("B",)
    with pytest.raises(UnknownName, match="known: A, B"):
        from_frame(both, symbol="C")


def test_a_later_change_of_the_frame_changes_nothing() -> None:
    given = milliseconds()
    source = from_frame(given)
    given.loc[:, "close"] = 1.0
    assert served(source) == demo()


def test_unsorted_candles_are_sorted_with_a_note() -> None:
    shuffled = pd.concat([milliseconds()[60:], milliseconds()[:60]])
    source = from_frame(shuffled, name="mine")
    assert served(source) == demo()
    assert source.warnings == ("mine: sorted: 1 candles were older than the one before them",)


@pytest.mark.parametrize(("step", "named"), [(1, "1m"), (5, "5m"), (15, "15m"), (60, "1h"), (1440, "1d")])
def test_a_source_has_the_bars_that_are_measured(step: int, named: str) -> None:
    wide = milliseconds().assign(timestamp=lambda f: START + np.arange(len(f)) * step * MINUTE)
    source = from_frame(wide)
    assert (source.base_interval, source.intervals) == (named, (named,))
    assert len(asyncio.run(source.get_candles("BTCUSDT", named, START, 7))) == 7


@pytest.mark.parametrize(
    ("freq", "named"),
    [
        ("MS", "spaced 1M"),
        ("BME", "spaced 1M"),
        ("QS", "0 of 89 distances are 1d, 89 are longer"),
        ("YS", "0 of 89 distances are 1d, 89 are longer"),
    ],
)
def test_months_quarters_and_years_are_refused_with_daily_and_weekly_bars_as_the_way_out(freq: str, named: str) -> None:
    times = pd.date_range("1950-01-01", periods=90, freq=freq, name="Date")
    prices = {"Open": 1.0, "High": 2.0, "Low": 0.5, "Close": 1.5, "Volume": 1.0}
    with pytest.raises(DataError, match=rf"{named}(.|\n)*take daily bars: months are made of them.*; or weekly ones"):
        from_frame(pd.DataFrame(prices, index=times))


@pytest.mark.parametrize(("step", "named"), [(7, "spaced 7m"), (14 * 1440, "spaced 14d")])
def test_bars_of_no_interval_are_refused(step: int, named: str) -> None:
    wide = milliseconds().assign(timestamp=lambda f: START + np.arange(len(f)) * step * MINUTE)
    with pytest.raises(DataError, match=named):
        from_frame(wide)


def test_gaps_are_not_the_frame_s_business() -> None:
    assert len(served(from_frame(milliseconds().drop(index=[3, 4, 50])))) == 117


def test_seconds_are_recognised() -> None:
    assert served(from_frame(milliseconds().assign(timestamp=lambda f: f.timestamp // 1000))) == demo()


def test_candles_in_seconds_are_refused() -> None:
    with pytest.raises(DataError, match=r"only 60 ms apart.*\n.*multiplied by 1000; measured: 60 ms bars"):
        from_frame(changed(demo(), timestamp=demo().timestamp // 1000))


def test_missing_columns_are_named() -> None:
    with pytest.raises(UsageError, match="missing: close, volume\nfound: timestamp, open, high, low, Last"):
        from_frame(milliseconds().rename(columns={"close": "Last"}).drop(columns="volume"))
    with pytest.raises(UsageError, match="missing: timestamp"):
        from_frame(milliseconds().drop(columns="timestamp"))


def test_a_missing_value_is_named_with_its_row() -> None:
    given = milliseconds().astype({"open": float})
    given.loc[7, "open"] = math.nan
    with pytest.raises(BadCandle, match=r"frame, row 7: open must be a number, got .*nan"):
        from_frame(given)


def test_not_a_frame() -> None:
    with pytest.raises(UsageError, match=r"needs a DataFrame or bknb\.Candles, got list"):
        from_frame([1, 2])  # type: ignore[arg-type]  # the mistake under test


def test_only_minutes_are_handed_out() -> None:
    source = from_frame(frame())
    with pytest.raises(UsageError, match="holds 1m candles, not 15m"):
        asyncio.run(source.get_candles("BTCUSDT", "15m", START, 1))
    with pytest.raises(UsageError, match="unknown interval '9m'"):
        asyncio.run(source.get_candles("BTCUSDT", "9m", START, 1))


def test_an_empty_frame_serves_nothing() -> None:
    assert len(served(from_frame(milliseconds()[:0]))) == 0


# --- files ---------------------------------------------------------------------------------------------------------


def test_csv_keeps_every_bit(tmp_path: Path) -> None:
    milliseconds().to_csv(tmp_path / "a.csv", index=False)
    assert served(from_csv(tmp_path / "a.csv")) == demo()
    assert served(from_csv(str(tmp_path / "a.csv"))) == demo()


def test_csv_compressed_with_datetimes_and_reversed(tmp_path: Path) -> None:
    frame()[::-1].to_csv(tmp_path / "a.csv.gz", index=False)
    assert served(from_csv(tmp_path / "a.csv.gz")) == demo()
    assert from_csv(tmp_path / "a.csv.gz").name == "a.csv.gz"
    assert from_csv(tmp_path / "a.csv.gz", name="mine").name == "mine"


def test_csv_of_many_symbols(tmp_path: Path) -> None:
    pd.concat([milliseconds().assign(Symbol="A"), milliseconds().assign(Symbol="B")]).to_csv(
        tmp_path / "a.csv", index=False
    )
    source = from_csv(tmp_path / "a.csv")
    assert source.symbols == ("A", "B")
    assert served(source, "B") == demo()


HEADER = "timestamp,open,high,low,close,volume\n"
GOOD = "1640995200000,1,1,1,1,5\n"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (HEADER + GOOD + "1640995260000,1,1,x,1,5\n", BadCandle, "line 3: low must be a number, got 'x'"),
        (HEADER + "\n" + GOOD + "\n1640995260000,1,1,,1,5\n", BadCandle, "line 5: low must be a number"),
        (
            HEADER + GOOD + "soon,1,1,1,1,5\n",
            BadCandle,
            r"line 3: timestamp must be a time \(s, ms, us or ns since 1970",
        ),
        (HEADER + "1640995200000.5,1,1,1,1,5\n", BadCandle, "line 2: timestamp must be whole milliseconds"),
        (
            HEADER + "01/02/2022 12:00,1,1,1,1,5\n",
            BadCandle,
            r'line 2: timestamp must be a date that can be read in one way only.*\n.*time_format="%d/%m/%Y',
        ),
        (HEADER + GOOD + "1,1,1,1,1,1,1\n", UsageError, "cannot be read as CSV.*line 3"),
        ("1,1640995200000,1,1,1,5\n", UsageError, "no header line, and its first column is no time.*\n.*columns="),
        ("", UsageError, "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_in_a_csv_is_named(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "btc.csv"
    path.write_text(text)
    with pytest.raises(error, match=message) as caught:
        from_csv(path)
    assert str(path) in str(caught.value)


def test_blank_lines_are_no_candles(tmp_path: Path) -> None:
    path = tmp_path / "btc.csv"
    path.write_text(HEADER + GOOD + "\n1640995260000,1,1,1,1,5\n\n\n")
    assert len(served(from_csv(path))) == 2


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "btc.csv.gz"
    path.write_bytes(gzip.compress((HEADER + GOOD * 500).encode())[:-20])
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        from_csv(path)
    path.write_bytes(b"no archive")
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        from_csv(path)


@pytest.mark.parametrize("read", [from_csv, from_parquet])
def test_a_file_that_is_not_there(tmp_path: Path, read: Callable[[Path], FrameSource]) -> None:
    if read is from_parquet:
        pytest.importorskip("pyarrow")
    with pytest.raises(UsageError, match=r"nowhere\.csv: does not exist"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(UsageError, match="is a folder"):
        read(tmp_path)


def test_parquet_in_both_time_formats(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for number, given in enumerate([frame(), milliseconds(), frame().set_index("timestamp")]):
        path = tmp_path / f"{number}.parquet"
        given.to_parquet(path)
        assert served(from_parquet(path)) == demo()
    (tmp_path / "x.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        from_parquet(tmp_path / "x.parquet")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"pip install 'bknb\[parquet\]'"):
        from_parquet(tmp_path / "x.parquet")


def test_real_minutes(shared: Path) -> None:
    path = shared / "data" / "btc-perp-1m-2022-01.csv.gz"
    if not path.exists():
        pytest.skip("the reference data is not here")
    candles = served(from_csv(path), since=1_640_991_660_000, limit=50_000)
    assert len(candles) == 45_031
    assert candles[0]["open"] == 46_319.0


# --- functions -----------------------------------------------------------------------------------------------------


def as_mappings(rows: list[tuple[float, ...]]) -> list[dict[str, float]]:
    return [dict(zip(("timestamp", "open", "high", "low", "close", "volume"), row, strict=True)) for row in rows]


def as_datetimes(rows: list[tuple[float, ...]]) -> list[tuple[Any, ...]]:
    return [(datetime.fromtimestamp(row[0] / 1000, UTC), *row[1:]) for row in rows]


def as_frame(rows: list[tuple[float, ...]]) -> pd.DataFrame:
    return pd.DataFrame(as_mappings(rows))


@pytest.mark.parametrize("shape", [list, tuple, as_mappings, as_datetimes, as_frame, Candles.from_rows])
def test_answers_of_many_shapes(shape: Callable[[list[tuple[float, ...]]], Any]) -> None:
    source = FunctionSource(lambda symbol, interval, since, limit: shape(rows_of(since, limit)))
    assert served(source, limit=10) == demo(10)


def test_the_function_is_called_with_plain_values_in_order() -> None:
    seen: list[tuple[object, ...]] = []

    def mine(*given: object) -> list[Any]:
        seen.append(given)
        return []

    assert len(served(FunctionSource(mine), limit=7)) == 0
    assert seen == [("BTCUSDT", "1m", START, 7)]
    assert type(seen[0][2]) is int


class AsyncCall:
    async def __call__(self, symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        return await awaited(symbol, interval, since, limit)


def ones(since: int, limit: int) -> list[tuple[float, ...]]:
    return [(since + i * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(limit)]


async def awaited(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
    await asyncio.sleep(0.001)  # so that it is not done when it is called
    return ones(since, limit)


def hidden(symbol: str, interval: str, since: int, limit: int) -> Awaitable[list[tuple[float, ...]]]:
    return awaited(symbol, interval, since, limit)


@pytest.mark.parametrize("function", [AsyncCall(), awaited, hidden])
def test_every_kind_of_async_function_is_accepted(function: Callable[..., Any]) -> None:
    assert served(FunctionSource(function), limit=4) == Candles.from_rows(ones(START, 4))


def test_a_sync_function_runs_beside_the_loop() -> None:
    threads: list[threading.Thread] = []

    def slow(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        threads.append(threading.current_thread())
        return ones(since, limit)

    served(FunctionSource(slow), limit=1)
    assert threads[0] is not threading.main_thread()


def test_a_stop_iteration_does_not_hang() -> None:
    empty: Iterator[list[Any]] = iter(())
    with pytest.raises(RuntimeError, match="StopIteration"):
        served(FunctionSource(lambda *_: next(empty)))


@pytest.mark.parametrize(
    "answer",
    [None, 7, "no", {"a": 1}, [1, 2], [(START, 1.0)], [{"timestamp": START}], [(START, "x", 1, 1, 1, 1)],
     [{"timestamp": START, "open": None, "high": 1, "low": 1, "close": 1, "volume": 1}]],
)  # fmt: skip
def test_meaningless_input_is_refused_with_a_reason(answer: Any) -> None:
    with pytest.raises(UsageError, match="exchange 'mine'"):
        served(FunctionSource(lambda *_: answer, name="mine"))


def test_what_must_be_a_function() -> None:
    with pytest.raises(UsageError, match="get_candles must be a function, got int: 5"):
        FunctionSource(5)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(UsageError, match="get_candles must be a function, got NoneType"):
        FunctionSource(None)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(UsageError, match="format_price must be a function, got str"):
        FunctionSource(print, format_price="%.2f")  # type: ignore[arg-type]  # the mistake under test


def test_formats_of_one_s_own() -> None:
    source = FunctionSource(print, format_price=lambda symbol, price: f"{symbol} {price:.1f}")
    assert source.format_price("A", 1.25) == "A 1.2"
    assert source.format_quantity("A", 0.1) == "0.1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42_000.0, "42000"), (41999.99999999999, "42000"), (0.1 + 0.2, "0.3"), (1e-7, "0.0000001"),
        (1.234567891e-10, "0.00000000012345679"), (1e21, "1000000000000000000000"), (0.0, "0"), (-0.0, "0"),
        (-1.5, "-1.5"), (123456.123456789, "123456.12345679"), (5, "5"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_plain_numbers(value: float, text: str) -> None:
    assert plain_number(value) == text


def test_moments_before_1970_and_beyond_reason() -> None:
    assert utc_text(-1) == "1969-12-31 23:59:59.999 UTC"
    assert utc_text(10**20) == "100000000000000000000 ms"
