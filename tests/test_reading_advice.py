"""What a refusal advises works when it is followed, and mistakes in options are answered by words of bknb."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bknb
from bknb.errors import BadCandle, DataError, UsageError
from bknb.exchanges.from_csv_frame_and_parquet import from_csv, from_frame
from bknb.market.candles import Candles
from bknb.market.source_answers import read_answer

TIMES = pd.date_range("2024-01-15", periods=5, freq="min")
START = 1_705_276_800_000
MINUTE = 60_000


def table(**columns: Any) -> pd.DataFrame:
    prices = {"open": 1.5, "high": 1.6, "low": 1.4, "close": 1.5, "volume": 5.0}
    return pd.DataFrame(prices | columns, index=TIMES)


def times_of(source: Any, symbol: str = "X") -> list[int]:
    candles: Candles = asyncio.run(source.get_candles(symbol, "1m", 0, 10**9))
    return list(candles.timestamp)


WHOLE = [START + at * MINUTE for at in range(5)]


@pytest.mark.parametrize(
    "index",
    [
        TIMES.map(str),
        TIMES.astype(object),
        TIMES.strftime("%d.%m.%Y %H:%M"),
        pd.Index(WHOLE),
        pd.Index([each // 1000 for each in WHOLE]),
        pd.Index([str(each) for each in WHOLE]),
        pd.Index([f"{each:%Y-%m-%d %H:%M}+00:00" for each in TIMES]),
    ],
    ids=["text", "objects", "day first", "ms", "s", "ms as text", "offsets"],
)
def test_an_index_of_times_needs_no_name(index: pd.Index) -> None:
    assert index.name is None
    assert times_of(from_frame(table().set_axis(index))) == WHOLE
    assert list(read_answer(table().set_axis(index))[0].timestamp) == WHOLE


def test_an_index_that_numbers_rows_is_no_time() -> None:
    for frame in (table().reset_index(drop=True), table().set_axis(list("abcde")), table().set_axis([1, 2, 3, 4, 5])):
        with pytest.raises(UsageError, match="missing: timestamp"):
            from_frame(frame)


def test_a_column_of_times_counts_before_an_index_without_a_name() -> None:
    frame = table(time=TIMES).set_axis(pd.Index(range(20_240_101, 20_240_106)))
    assert times_of(from_frame(frame)) == WHOLE


def test_a_frame_that_was_saved_without_a_name_of_its_index_is_the_same(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "saved.csv")
    assert times_of(from_csv(tmp_path / "saved.csv")) == WHOLE
    table().rename_axis("time").reset_index().to_csv(tmp_path / "numbered.csv")  # rows with a number before the times
    assert times_of(from_csv(tmp_path / "numbered.csv")) == WHOLE
    table().reset_index(drop=True).to_csv(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="missing: timestamp"):
        from_csv(tmp_path / "none.csv")


def test_the_time_of_the_open_counts_before_one_that_is_called_timestamp() -> None:
    frame = table(timestamp=TIMES + pd.Timedelta("1min"), open_time=TIMES).reset_index(drop=True)
    assert times_of(from_frame(frame)) == WHOLE


@pytest.mark.parametrize("seconds", [0.5, 17, 20, 59.5])
def test_times_within_a_minute_are_no_times_of_a_close(seconds: float) -> None:
    frame = table().set_axis(TIMES + pd.Timedelta(seconds=seconds))
    for stamp in ("open", "close"):
        with pytest.raises(UsageError, match=r"past a full minute(?s:.*)correct the times") as raised:
            from_frame(frame, stamp=stamp)
        assert "stamp=" not in str(raised.value)
    late = table().set_axis(TIMES + pd.Timedelta(seconds=59))
    with pytest.raises(UsageError, match='stamp="close"'):
        from_frame(late)
    assert times_of(from_frame(late, stamp="close")) == WHOLE


@pytest.mark.parametrize("columns", ["close", ["timestamp", "open"], 5])
def test_columns_of_a_frame_that_are_no_mapping_are_refused(columns: Any) -> None:
    with pytest.raises(UsageError, match="columns must be a mapping"):
        from_frame(table(), columns=columns)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("columns", 5, "columns must be a mapping"),
        ("separator", 5, "separator must be a text"),
        ("separator", "", "separator must be a text"),
        ("decimal", 5, "decimal must be a text"),
        ("thousands", 5, "thousands must be a text"),
        ("encoding", 5, "encoding must be a text"),
        ("time_format", 5, "time_format must be a text"),
        ("time_format", "%Q", "time_format must be a form"),
        ("tz", 5, "tz must be a time zone"),
    ],
)
def test_options_that_cannot_be_are_answered(tmp_path: Path, option: str, value: Any, told: str) -> None:
    file = tmp_path / "mine.csv"
    table().rename_axis("time").to_csv(file)
    with pytest.raises(UsageError, match=told):
        from_csv(file, **{option: value})


def test_dates_of_splits_are_answered_with_what_helps() -> None:
    actions = pd.DataFrame({"date": ["03/08/2024"], "splits": [4.0]})
    with pytest.raises(BadCandle, match="one way only") as raised:
        from_frame(table(), adjust=actions)
    assert "time_format" not in str(raised.value)  # that of the candles is another
    assert "2024-01-31" in str(raised.value)
    actions["date"] = "2024-03-08"
    assert times_of(from_frame(table(), adjust=actions)) == WHOLE


def test_splits_may_be_dated_by_an_index_without_a_name() -> None:
    traded = table()
    traded.loc[TIMES[:2], ["open", "high", "low", "close"]] *= 4
    splits = pd.DataFrame({"splits": [4.0]}, index=["2024-01-15 00:02"])
    made = from_frame(traded, adjust=splits).adjustments[None]
    assert made.splits == 1


def test_two_columns_of_splits_of_one_name_are_refused() -> None:
    twice = pd.DataFrame([["2024-01-15 00:02", 4.0, 3.0]], columns=["date", "splits", "splits"])
    with pytest.raises(UsageError, match="two columns are called 'splits'"):
        from_frame(table(), adjust=twice)


ROW = f"{START},1,1,1,1,5,{START + 59_999},5,1,0,0,0"


def test_an_archive_that_holds_another_symbol_than_its_name_says(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "BTCUSDT-1m-2024-01-15.zip", "w") as archive:
        archive.writestr("ETHUSDT-1m-2024-01-15.csv", ROW)
    with pytest.raises(DataError, match=r"BTCUSDT-1m-2024-01-15.zip: holds ETHUSDT-1m-2024-01-15.csv"):
        bknb.exchanges.binance_archive(tmp_path)


def test_archives_that_cannot_be_are_answered(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "BTCUSDT-1m-2024-13.zip", "w") as archive:
        archive.writestr("BTCUSDT-1m-2024-13.csv", ROW)
    with pytest.raises(UsageError, match="by its name it is of 2024-13"):
        bknb.exchanges.binance_archive(tmp_path)
    nothing: Any = 5
    with pytest.raises(UsageError, match="needs a folder or archives, got 5"):
        bknb.exchanges.binance_archive(nothing)
