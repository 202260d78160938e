"""What can be read in two ways is refused, told, or read as the options say; it is never read wrongly in silence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bknb.config import Settings
from bknb.engine.registry import Exchange
from bknb.errors import BadCandle, UsageError
from bknb.exchanges.dataframe_source import FrameSource
from bknb.exchanges.from_csv_frame_and_parquet import from_csv, from_frame
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore
from bknb.live.runtime import Runtime
from bknb.market.candles import Candles
from bknb.market.feed import Feed
from bknb.market.sources import FunctionSource
from bknb.testing.clocks import SimulatedClock

START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
MINUTE = 60_000
ISO = "timestamp,open,high,low,close,volume\n"
GERMAN = "Datum;Open;High;Low;Close;Volume\n"
BY_NAME = {"columns": {"timestamp": "Datum"}}


def served(source: FrameSource, symbol: str = "AAPL") -> Candles:
    return asyncio.run(source.get_candles(symbol, "1m", 0, 2**40))


def read(path: Path, text: str, **options: Any) -> FrameSource:
    path.write_text(text, encoding="utf-8")
    return from_csv(path, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


# --- marks of numbers ------------------------------------------------------------------------------------------------


def german(*prices: str, volume: str = "7", date: str = "01.01.2024 00:0{}") -> str:
    return GERMAN + "".join(f"{date.format(at)};{';'.join([each] * 4)};{volume}\n" for at, each in enumerate(prices))


def test_points_that_may_stand_between_thousands(path: Path) -> None:
    text = german("1.234", "987", "1.050")
    with pytest.raises(
        UsageError, match=r"the point in '1.234' may be .* thousands\nsay which: decimal=\".\" or thousands"
    ):
        read(path, text, **BY_NAME)
    assert served(read(path, text, thousands=".", **BY_NAME)).open.tolist() == [1234, 987, 1050]
    assert served(read(path, text, decimal=".", **BY_NAME)).open.tolist() == [1.234, 987, 1.05]


def test_points_that_can_be_decimal_marks_only(path: Path) -> None:
    for prices in (["1.234", "1.2"], ["0.987", "1.050"], ["1234.567", "1234.568"]):
        source = read(path, german(*prices), **BY_NAME)
        assert served(source).open.tolist() == [float(each) for each in prices]
        assert source.warnings == ()


def test_a_point_of_two_meanings_further_down_is_refused(path: Path) -> None:
    text = german(*["987"] * 2, "1.002")
    assert served(read(path, german(*["987"] * 3), **BY_NAME)).open.tolist() == [987] * 3
    long = GERMAN + "01.01.2024 00:00;987;987;987;987;7\n" * 2000 + text.splitlines()[-1] + "\n"
    with pytest.raises(BadCandle, match=r"line 2002: Open must be a number, got '1.002'\n.*thousands=\".\", decimal"):
        read(path, long, **BY_NAME)


def test_points_of_another_order_of_dates_are_decimal_marks_and_it_is_told(path: Path) -> None:
    source = read(path, german("151.234", "151.235", date="2024-01-01 00:0{}"), **BY_NAME)
    assert served(source).open.tolist() == [151.234, 151.235]
    assert "the point in '151.234' was read as a decimal mark" in source.warnings[0]


@pytest.mark.parametrize(
    ("number", "options", "value"),
    [
        ("1.234,50", {"thousands": ".", "decimal": ","}, 1234.5),
        ("1,234.50", {"thousands": ",", "decimal": "."}, 1234.5),
        ("1'234.50", {"thousands": "'", "decimal": "."}, 1234.5),
        ("1 234,50", {"thousands": " ", "decimal": ","}, 1234.5),
        ("1\u00a0234\u00a0567", {"thousands": " ", "decimal": "."}, 1234567),
    ],
)
def test_marks_between_thousands_are_refused_with_the_options_that_read_them(
    path: Path, number: str, options: dict[str, str], value: float
) -> None:
    text = german(number)
    advice = ", ".join(f'{name}="{mark}"' for name, mark in options.items())
    with pytest.raises(BadCandle, match=rf"must be a number, got .*\n.*{advice}"):
        read(path, text, **BY_NAME)
    assert served(read(path, text, **options, **BY_NAME)).close.tolist() == [value]


def test_a_mark_that_does_not_stand_between_thousands(path: Path) -> None:
    for number in ("1.5", "12.34", "1.2345", "1234.567", ".5", "1.234.5"):
        with pytest.raises(BadCandle, match="line 2: Open must be a number"):
            read(path, german(number), thousands=".", **BY_NAME)
    for options in ({"thousands": ".", "decimal": "."}, {"thousands": ".."}, {"thousands": "0"}):
        with pytest.raises(UsageError, match="thousands must be"):
            read(path, german("1"), **options, **BY_NAME)


# --- columns ---------------------------------------------------------------------------------------------------------


def kraken(*, volumes: list[str]) -> str:
    rows = [f"{START // 1000 + 60 * at},1.5,2.5,1.25,2.0,1.75,{each},12" for at, each in enumerate(volumes)]
    return "\n".join(rows) + "\n"


def test_an_average_price_before_the_volume_is_no_volume(path: Path) -> None:
    text = kraken(volumes=["10.5", "11.5"])
    with pytest.raises(UsageError, match=r"it is a price, .* no volume\nname them: columns=.* None for columns"):
        read(path, text)
    names = ["timestamp", "open", "high", "low", "close", None, "volume", None]
    assert served(read(path, text, columns=names)).volume.tolist() == [10.5, 11.5]
    with pytest.raises(UsageError, match="it is a price"):  # the average is 0 where nothing was traded
        read(path, text.replace(",1.75,10.5", ",0.0,0.0"))


def test_a_price_in_the_place_of_the_volume(path: Path) -> None:
    rows = [f"{START + at * MINUTE},1.5,2.5,1.25,2.0,{{}}" for at in range(20)]
    with pytest.raises(UsageError, match="lies between low and high in every row: it is a price"):
        read(path, "\n".join(rows).format(*["2.0"] * 20))
    assert len(served(read(path, "\n".join(rows).format(*["2.0"] * 19, "3.0")))) == 20


def test_a_volume_in_the_place_of_a_price(path: Path) -> None:
    for row in (f"{START},151.2,1462,151.1,151.2,151.3", f"{START},151.2,151.3,12.5,151.2,151.1"):
        with pytest.raises(UsageError, match="are not time, open, high, low, close, volume in this order"):
            read(path, row + "\n")


def test_a_time_in_the_place_of_the_volume(path: Path) -> None:
    rows = [f"{START + at * MINUTE},980,981,979,980,{START + (at + 1) * MINUTE - 1}" for at in range(3)]
    with pytest.raises(UsageError, match="goes on like a time from row to row: it is no volume"):
        read(path, "\n".join(rows) + "\n")


def test_a_header_that_is_too_short_is_not_left_out(path: Path) -> None:
    with pytest.raises(UsageError, match=r"the header in line 1 names 6 columns, and the rows have 8\n"):
        read(path, ISO + f"{START},1,1,1,1,5,,\n" * 2)


def test_a_header_with_more_names_than_fields(path: Path) -> None:
    text = "time open high low close vol Volume MA\n" + f"{START} 1 1 1 1 5 99\n" * 2
    with pytest.raises(UsageError, match=r"the header in line 1 names 8 columns, and the rows have 7\n"):
        read(path, text)
    assert len(served(read(path, ISO.strip() + ",\n" + f"{START},1,1,1,1,5\n"))) == 1


def test_columns_behind_the_volume_that_are_not_known_are_told(path: Path) -> None:
    row = f"{START},1.5,2.5,1.25,2.0,10.5"
    assert "2 more were not read" in read(path, f"{row},99.5,x\n").warnings[0]
    for known in (",12", f",{START + MINUTE - 1},15.75,3,5.5,8.0,0", ","):
        assert read(path, f"{row}{known}\n").warnings == ()


@pytest.mark.parametrize("name", ["Volume MA", "Volume SMA", "volume_change", "Volume_quote", "Volume 20"])
def test_what_is_computed_of_volumes_is_no_volume(path: Path, name: str) -> None:
    text = ISO.replace("volume", name) + f"{START},1,1,1,1,5\n"
    with pytest.raises(UsageError, match="missing: volume"):
        read(path, text)
    assert served(read(path, text, columns={"volume": name})).volume.tolist() == [5]


def test_a_volume_by_its_currency_is_one_and_told(path: Path) -> None:
    source = read(path, ISO.replace("volume", "Volume BTC,Volume USD") + f"{START},1,1,1,1,5,7\n")
    assert served(source).volume.tolist() == [5]
    assert "the volume is that of the column 'Volume BTC'" in source.warnings[0]


# --- zones -----------------------------------------------------------------------------------------------------------


def test_a_zone_beside_numbers_is_told_and_must_exist(path: Path) -> None:
    text = ISO + f"{START},1,1,1,1,1\n"
    source = read(path, text, tz="America/New_York")
    assert served(source).timestamp.tolist() == [START]
    assert "tz='America/New_York' is not used: the times are numbers since 1970" in source.warnings[0]
    assert read(path, text, tz="UTC").warnings == ()
    for zone in ("Mars", ""):
        with pytest.raises(UsageError, match=f"tz must be a time zone such as .* got '{zone}'"):
            read(path, text, tz=zone)


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M %Z", "%Y-%m-%d %H:%M%z"])
def test_a_zone_in_the_text_counts_once(path: Path, form: str) -> None:
    zone = " EST" if "%Z" in form else "-05:00"
    text = ISO + f"2023-12-31 19:00{zone},1,1,1,1,1\n"
    assert served(read(path, text, time_format=form, tz="America/New_York")).timestamp.tolist() == [START]


def test_the_zone_in_the_name_of_a_column(path: Path) -> None:
    row = "2024-01-01 00:00,1,1,1,1,1\n"
    gmt, local = (ISO.replace("timestamp", name) for name in ("Gmt time", "Local time"))
    assert served(read(path, gmt + row)).timestamp.tolist() == [START]
    with pytest.raises(UsageError, match=r"tz='Europe/Berlin' contradicts the name of the column 'Gmt time'\nleave tz"):
        read(path, gmt + row, tz="Europe/Berlin")
    named = read(path, gmt + row, tz="Europe/Berlin", columns={"timestamp": "Gmt time"})
    assert served(named).timestamp.tolist() == [START - 60 * MINUTE]
    with pytest.raises(UsageError, match=r"by its name they are not in UTC\nname their zone"):
        read(path, local + row)
    assert served(read(path, local + row, tz="Europe/Berlin")).timestamp.tolist() == [START - 60 * MINUTE]
    with pytest.raises(UsageError, match="by its name they are not in UTC"):
        read(path, ISO.replace("timestamp", "Time (EST)") + row, columns={"timestamp": "Time (EST)"})


def test_numbers_that_count_from_another_day_are_told(path: Path) -> None:
    since_2001 = START // 1000 - 978_307_200
    assert "by s since 1970 the first time is 1992-12-31" in read(path, ISO + f"{since_2001},1,1,1,1,1\n").warnings[0]
    assert read(path, ISO + f"{START // 1000},1,1,1,1,1\n").warnings == ()


def test_a_year_of_two_digits_is_not_guessed(path: Path) -> None:
    text = ISO + "24/01/01 00:00,1,1,1,1,1\n"
    with pytest.raises(BadCandle, match=r"got '24/01/01 00:00'\nsay what stands first, .* or \"%y/%m/%d %H:%M\""):
        read(path, text)
    assert served(read(path, text, time_format="%y/%m/%d %H:%M")).timestamp.tolist() == [START]


# --- the night in which the clocks go back ---------------------------------------------------------------------------

BACK = 1_729_987_200_000  # 2024-10-27 00:00 UTC, 02:00 in Berlin, for the first time


def night(times: list[str], path: Path) -> FrameSource:
    return read(path, ISO + "".join(f"{when},1,1,1,1,1\n" for when in times), tz="Europe/Berlin")


def hour(count: int = 60) -> list[str]:
    return [f"2024-10-27 02:{at:02}" for at in range(count)]


def test_a_row_that_stands_twice_in_that_hour_does_not_shift_the_others(path: Path) -> None:
    once = served(night(hour() + hour(), path))
    assert once.timestamp.tolist() == [BACK + at * MINUTE for at in range(120)]
    for at in (20, 80):
        rows = hour() + hour()
        again = served(night([*rows[:at], rows[at], *rows[at:]], path))
        assert np.unique(again.timestamp).tolist() == once.timestamp.tolist()


def test_a_row_that_stands_too_late_in_that_hour_is_no_second_hour(path: Path) -> None:
    rows = hour()
    rows[9], rows[10] = rows[10], rows[9]
    with pytest.raises(BadCandle, match=r"came twice in Europe/Berlin.* does not show which is which"):
        night(rows, path)
    with pytest.raises(BadCandle, match="came twice in Europe/Berlin"):
        night([*hour(), hour()[-1]], path)


def test_the_nights_of_all_years_and_symbols_are_one_note() -> None:
    times = [f"{year}-10-{day} 02:{at:02}" for year, day in ((2021, 31), (2022, 30), (2023, 29), (2024, 27))
             for at in (*range(60), *range(60))]  # fmt: skip
    one = pd.DataFrame({"timestamp": times, "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1})
    source = from_frame(pd.concat([one.assign(symbol=name) for name in "AB"]), tz="Europe/Berlin")
    (note,) = source.warnings
    assert "went back in the nights of 2021-10-31, 2022-10-30, 2023-10-29 and 1 more: the hour" in note


# --- frames ----------------------------------------------------------------------------------------------------------


def bars(index: Any = None, count: int = 3) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=count, freq="min", name="Datetime") if index is None else index
    return pd.DataFrame({"Open": 1.0, "High": 1.0, "Low": 1.0, "Close": 1.0, "Volume": 5.0}, index=index)


MINUTES = [START, START + MINUTE, START + 2 * MINUTE]
TEXTS = [f"2024-01-01 00:0{at}" for at in range(3)]


def both_levels(first: str) -> pd.DataFrame:
    frame = pd.concat({"AAPL": bars(), "MSFT": bars()}, axis=1, names=["Ticker", "Price"])
    return frame if first == "Ticker" else frame.swaplevel(axis=1)


FRAMES: dict[str, pd.DataFrame] = {
    "periods": bars(pd.period_range("2024-01-01", periods=3, freq="min")),
    "a column of periods": bars(range(3)).assign(time=pd.period_range("2024-01-01", periods=3, freq="min")),
    "an index with a name of times": bars(pd.Index(TEXTS, name="Gmt time")),
    "an index of numbers": bars(pd.Index(MINUTES, name="open_time")),
    "dates beside times of day": bars(pd.DatetimeIndex(["2024-01-01"] * 3, name="date")).assign(
        time=["00:00", "00:01", "00:02"]
    ),
    "dates as text beside times of day": bars(pd.Index(["2024-01-01"] * 3, name="Date")).assign(
        Time=["00:00:00", "00:01:00", "00:02:00"]
    ),
    "times of day beside an index that has them": bars().assign(time=["00:00", "00:01", "00:02"]),
    "two levels after reset_index, tickers above": both_levels("Ticker").reset_index(),
    "two levels after reset_index, prices above": both_levels("Price").reset_index(),
    "symbols and times beside the rows": pd.concat({"AAPL": bars(), "MSFT": bars()}, names=["symbol", "timestamp"]),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_in_more_shapes(name: str) -> None:
    candles = served(from_frame(FRAMES[name]))
    assert candles.timestamp.tolist() == MINUTES
    assert candles.volume.tolist() == [5.0] * 3


# --- answers of functions --------------------------------------------------------------------------------------------


def answered(frame: pd.DataFrame, symbol: str = "AAPL") -> tuple[Candles, list[str]]:
    """What a run sees of a function that answers a frame, and what it is told."""
    told: list[str] = []
    feed = Feed(FunctionSource(lambda symbol, interval, since, limit: frame, name="mine"), Settings(), warn=told.append)
    return asyncio.run(feed.fetch(symbol, "1m", START, START + 3 * MINUTE)), told


@pytest.mark.parametrize("name", FRAMES)
def test_a_function_may_answer_the_frames_that_can_be_read(name: str) -> None:
    candles, told = answered(FRAMES[name])
    assert (candles.timestamp.tolist(), candles.volume.tolist(), told) == (MINUTES, [5.0] * 3, [])


@pytest.mark.parametrize("stored", [False, True])
def test_what_is_decided_of_an_answer_is_told_once_to_each_run_of_the_symbol(
    tmp_path: Path,
    stored: bool,  # noqa: FBT001 -- a table's column
) -> None:
    frames = {"A": bars().rename(columns={"Volume": "Volume BTC"}), "B": bars()}
    function = FunctionSource(lambda symbol, interval, since, limit: frames[symbol], name="mine")
    source = StoredSource(function, CandleStore(tmp_path), now=lambda: START + 86_400_000) if stored else function
    for symbol in ("A", "A", "B"):
        told: list[str] = []
        feed = Feed(source, Settings(), warn=told.append)
        for _ in range(2):
            asyncio.run(feed.fetch(symbol, "1m", START, START + 3 * MINUTE))
        note = "exchange 'mine': a DataFrame of candles: the volume is that of the column 'Volume BTC'"
        assert [each for each in told if "volume" in each] == [note] * (symbol == "A")


def test_a_run_is_told_what_its_own_answers_gave() -> None:
    frames = [bars().rename(columns={"Volume": "Volume BTC"}), bars()]
    source = FunctionSource(lambda symbol, interval, since, limit: frames.pop(0), name="mine")
    told: list[list[str]] = [[], []]
    for each in told:
        asyncio.run(Feed(source, Settings(), warn=each.append).fetch("A", "1m", START, START + 3 * MINUTE))
    assert [len(each) for each in told] == [1, 0]


def test_a_live_run_is_told_once_what_each_minute_needs() -> None:
    function = FunctionSource(lambda *_: bars().iloc[::-1].iloc[[0, 0, 1, 2]], name="mine", intervals=("1m",))
    told: list[str] = []
    feed = Feed(function, Settings(), warn=told.append, allow_gaps=True, leave_out_bad=True)
    for minute in range(3):
        since = START + minute * MINUTE
        asyncio.run(feed.fetch("A", "1m", since, since + MINUTE, continued=minute > 0))
    assert [each.partition("'mine': ")[2].partition(":")[0] for each in told] == [
        "ignored outside the asked range", "dropped duplicates"]  # fmt: skip
    assert all(each.endswith("UTC; from now on it is not told") for each in told)


def test_a_live_run_that_joins_others_is_told_how_the_candles_of_its_symbol_were_read() -> None:
    frames = {"A": bars().rename(columns={"Volume": "Volume BTC"}), "B": bars()}
    function = FunctionSource(lambda symbol, interval, since, limit: frames[symbol], name="mine")
    runtime, exchange, clock = Runtime(), Exchange("mine", function), SimulatedClock(START + 3 * MINUTE)
    told: list[tuple[str, str]] = []

    async def joined(symbol: str) -> None:
        stream = runtime.candle_stream(
            exchange, symbol, Settings(), allow_gaps=True, clock=clock, warn=lambda text: told.append((symbol, text))
        )
        await stream.minutes(symbol, START + MINUTE)

    for symbol in ("A", "A", "B"):
        asyncio.run(joined(symbol))
    note = "exchange 'mine': a DataFrame of candles: the volume is that of the column 'Volume BTC'"
    assert [each for each in told if "volume" in each[1]] == [("A", note)] * 2


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (bars(pd.Index(["01/02/2024", "02/02/2024", "03/02/2024"], name="date")), "can be read in one way only"),
        (bars().assign(Close=["1", "x", "1"]), "exchange 'mine': .* Close must be a number, got 'x'"),
        (bars().assign(Close=[1.0, np.nan, 1.0]), "close"),
        (bars().assign(close=1.0), "two columns are called 'close'"),
    ],
)
def test_answers_that_cannot_be_read(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises((UsageError, BadCandle), match=message):
        answered(frame)


def test_an_answer_with_other_symbols_is_refused() -> None:
    told = r"exchange 'mine': .* holds the candles of MSFT, and those of TSLA were asked for\nreturn those, or leave"
    with pytest.raises(UsageError, match=told):
        answered(bars().assign(symbol="MSFT"), "TSLA")
    with pytest.raises(UsageError, match="holds the candles of MSFT, and those of TSLA"):
        answered(pd.concat({"MSFT": bars()}, axis=1), "TSLA")
    with pytest.raises(UsageError, match=r"exchange 'mine': .* holds AAPL, MSFT; return the candles of one symbol"):
        answered(both_levels("Price"), "TSLA")
    for name, asked in (("BTC/USDT", "BTCUSDT"), ("btc-usd", "BTC/USD"), ("BTCUSDT", "BTCUSDT"),
                        ("BTCUSDT", "BTC/USDT:USDT"), ("BTC/USDT:USDT", "BTCUSDT")):  # fmt: skip
        assert len(answered(bars().assign(symbol=name), asked)[0]) == 3
    two = pd.concat([bars().assign(symbol="BTC/USDT"), bars().assign(symbol="ETH/USDT", Open=1.5, High=1.5)])
    assert answered(two, "ETHUSDT")[0].open.tolist() == [1.5] * 3
    assert len(served(FunctionSource(lambda *_: pd.DataFrame()))) == 0
    for name, asked in (("BTC/USDT", "BTC/USDT:USDT"), ("BTC/USDT:USDT", "BTC/USDT"), ("BTC-USD", "BTCUSDT"),
                        ("BTC/USDT:USDT-240329", "BTCUSDT")):  # fmt: skip
        with pytest.raises(UsageError, match="were asked for"):
            answered(bars().assign(symbol=name), asked)
