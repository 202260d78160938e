"""Frames as people have them: of yfinance, of many tickers, with local time, and with two instruments in one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from quick import some_quick

import bknb
from bknb.config import Settings
from bknb.errors import BadCandle, UnknownName, UsageError
from bknb.exchanges.dataframe_source import FrameSource
from bknb.exchanges.from_csv_frame_and_parquet import from_csv, from_frame
from bknb.market.candles import Candles
from bknb.market.feed import Feed
from bknb.market.sources import FunctionSource
from bknb.market.time_units import read_times

START = 1_704_067_200_000
MINUTE = 60_000


def served(source: FrameSource, symbol: str = "AAPL") -> Candles:
    return asyncio.run(source.get_candles(symbol, "1m", 0, 2**40))


def yahoo(price: float = 100.0, *, zone: str | None = "UTC", name: str = "Datetime", count: int = 5) -> pd.DataFrame:
    """What ``yfinance.Ticker(...).history(interval="1m")`` answers."""
    index = pd.date_range("2024-01-01", periods=count, freq="min", tz=zone, name=name)
    close = price + np.arange(count)
    frame = pd.DataFrame({"Open": close, "High": close + 1, "Low": close - 1, "Close": close, "Adj Close": close / 2})
    return frame.assign(Volume=7, Dividends=0.0, **{"Stock Splits": 0.0}).set_index(index)


def download(*tickers: str, first: str) -> pd.DataFrame:
    """What ``yfinance.download(...)`` answers: two levels of columns."""
    frames = {ticker: yahoo(100.0 * at) for at, ticker in enumerate(tickers, start=1)}
    both = pd.concat(frames, axis=1, names=["Ticker", "Price"])
    return both if first == "Ticker" else both.swaplevel(axis=1).sort_index(axis=1)


MINUTES = [START + at * MINUTE for at in range(5)]


@pytest.mark.parametrize("name", ["Datetime", "Date", None])
@pytest.mark.parametrize("zone", ["UTC", None])
def test_a_frame_of_yfinance(name: str, zone: str | None) -> None:
    candles = served(from_frame(yahoo(zone=zone, name=name)))
    assert candles.timestamp.tolist() == MINUTES
    assert candles.close.tolist() == [100, 101, 102, 103, 104]
    assert served(from_frame(yahoo(zone=zone, name=name).reset_index(names="Datetime"))) == candles


def test_an_aware_index_is_read_in_its_zone_and_a_naive_one_in_the_zone_that_is_named() -> None:
    wanted = [each + 300 * MINUTE for each in MINUTES]
    assert served(from_frame(yahoo(zone="America/New_York"))).timestamp.tolist() == wanted
    assert served(from_frame(yahoo(zone=None), tz="America/New_York")).timestamp.tolist() == wanted
    assert served(from_frame(yahoo(zone="UTC"), tz="America/New_York")).timestamp.tolist() == MINUTES


@pytest.mark.parametrize("first", ["Price", "Ticker"])
@pytest.mark.parametrize("tickers", [("AAPL",), ("AAPL", "MSFT", "TSLA")])
def test_two_levels_of_columns_are_symbols(first: str, tickers: tuple[str, ...]) -> None:
    frame = download(*tickers, first=first)
    source = from_frame(frame)
    assert source.symbols == tickers
    for at, ticker in enumerate(tickers, start=1):
        assert served(source, ticker) == served(from_frame(yahoo(100.0 * at)))
    assert from_frame(frame, symbol=tickers[-1]).symbols == tickers[-1:]
    with pytest.raises(UnknownName, match="known: AAPL"):
        from_frame(frame, symbol="NVDA")


@pytest.mark.parametrize("first", ["Price", "Ticker"])
@pytest.mark.parametrize("tickers", [("AAPL",), ("AAPL", "MSFT")])
@pytest.mark.parametrize("names", [{}, {"Ticker": "symbol", "Price": None}])
def test_a_frame_of_yfinance_that_was_saved_is_the_same(
    tmp_path: Path, first: str, tickers: tuple[str, ...], names: dict[str, str | None]
) -> None:
    frame = download(*tickers, first=first)
    frame.columns = frame.columns.rename([names.get(name, name) for name in frame.columns.names])
    frame.loc[frame.index[2], [each for each in frame.columns if "AAPL" not in each]] = np.nan
    frame.to_csv(tmp_path / "x.csv")
    source = from_csv(tmp_path / "x.csv")
    assert source.symbols == tickers
    for ticker in tickers:
        assert served(source, ticker) == served(from_frame(frame), ticker)


def test_minutes_that_one_ticker_does_not_have_are_no_candles_of_it() -> None:
    frame = download("AAPL", "MSFT", first="Price")
    frame.loc[frame.index[2], (slice(None), "MSFT")] = np.nan
    source = from_frame(frame)
    assert len(served(source, "AAPL")) == 5
    assert served(source, "MSFT").timestamp.tolist() == [*MINUTES[:2], *MINUTES[3:]]
    frame.loc[frame.index[3], ("High", "MSFT")] = np.nan
    with pytest.raises(BadCandle, match=r"MSFT, row 2024-01-01 00:03.*: High must be a number"):
        from_frame(frame)


def test_levels_that_are_not_prices_and_tickers() -> None:
    frame = download("AAPL", first="Price")
    frame.columns = pd.MultiIndex.from_tuples([(*each, "x") for each in frame.columns])
    with pytest.raises(UsageError, match="have 3 levels, and bknb reads two"):
        from_frame(frame)
    frame = download("AAPL", first="Price").rename(columns={"Close": "Last"})
    with pytest.raises(UsageError, match="have 2 levels, and bknb reads two: one of open, high, low, close, volume"):
        from_frame(frame)


@pytest.mark.parametrize("key", ["symbol", "Ticker", "pair", "tic", "INSTRUMENT"])
def test_a_key_column_makes_symbols(key: str) -> None:
    both = pd.concat([yahoo().assign(**{key: "AAPL"}), yahoo(200.0).assign(**{key: "MSFT"})]).sort_index()
    source = from_frame(both)
    assert source.symbols == ("AAPL", "MSFT")
    assert served(source, "MSFT") == served(from_frame(yahoo(200.0)))


def test_two_instruments_without_a_key_column_are_not_mixed() -> None:
    both = pd.concat([yahoo().assign(company="Apple"), yahoo(200.0).assign(company="Microsoft")])
    with pytest.raises(
        BadCandle, match=r'two different candles of .*\ntwo instruments.*columns=\{"symbol": "company"\}'
    ):
        from_frame(both)
    assert from_frame(both, columns={"symbol": "company"}).symbols == ("Apple", "Microsoft")
    with pytest.raises(BadCandle, match=r"two different candles of .*\nkeep one of them"):
        from_frame(both.drop(columns="company"))


def test_a_symbol_that_is_missing_is_told() -> None:
    with pytest.raises(BadCandle, match="row 1: symbol must name the symbol"):
        from_frame(yahoo().reset_index().assign(symbol=["A", None, "A", "A", "A"]))


def test_times_of_day_beside_dates() -> None:
    frame = yahoo().reset_index(drop=True).assign(date="20240101")
    texts = frame.assign(time=[f"00000{at}00"[-6:] for at in range(5)])
    assert served(from_frame(texts)).timestamp.tolist() == MINUTES
    with pytest.raises(UsageError, match="have lost their leading zeros, so that 100 may be 01:00 or 00:01"):
        from_frame(frame.assign(time=[0, 100, 200, 300, 400]))


def test_columns_have_names_of_their_own() -> None:
    frame = yahoo().rename(columns={"Close": "Last", "Volume": "Contracts"})
    source = from_frame(frame, columns={"close": "Last", "volume": "Contracts"})
    assert served(source) == served(from_frame(yahoo()))
    assert served(from_frame(frame, columns={"close": "Last", "volume": 2})).volume.tolist() == [2] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(High=np.inf), "row 2024-01-01 00:00:00.*: High must be a number, got inf"),
        (lambda f: f.assign(close=f.Close), "two columns are called 'close'"),
        (lambda f: f.drop(columns="Volume"), r'missing: volume\n.*columns=\{"volume": 1.0\}'),
        (lambda f: f.reset_index(drop=True), "missing: timestamp"),
        (lambda f: f.set_index(f.index + pd.Timedelta(seconds=30)), "30 s past a full minute"),
    ],
)
def test_frames_that_cannot_be_read(change: Any, message: str) -> None:
    with pytest.raises((BadCandle, UsageError), match=message):
        from_frame(change(yahoo()))


@pytest.mark.parametrize("seconds", [START // 1000, 123_456_789, 4_100_000_000, 194_000_000, 0])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_one_unit_are_read_as_those_beside_others(seconds: int, unit: str) -> None:
    """Whole columns of numbers or datetimes have a way of their own, which must come to the same."""
    numbers = (seconds + 60 * np.arange(4)) * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    moments = pd.Series(numbers.astype(f"datetime64[{unit}]"))
    before = pd.Series((-numbers).astype(f"datetime64[{unit}]"))
    for given in (pd.Series(numbers), moments, before, moments.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")):
        found, other = (read_times(each, where="mine", place=str) for each in (given, given.astype(object)))
        assert (found.ms.tolist(), found.naive, found.units) == (other.ms.tolist(), other.naive, other.units)


def test_a_time_that_is_no_full_minute_is_named_as_it_is_written() -> None:
    late = yahoo().set_index(yahoo().index + pd.Timedelta(seconds=30))
    with pytest.raises(UsageError, match=r"every time is 30 s past a full minute, the first 2024-01-01 00:00:30 UTC"):
        from_frame(late, stamp="close")


@pytest.mark.parametrize(
    ("written", "advice", "follow"),
    [
        ("1,5", r'\.str\.replace\(",", "\."\)', lambda column: column.str.replace(",", ".")),
        ("1.234,5", r'\.str\.replace\("\.", ""\)\.str\.replace\(",", "\."\)', None),
        ("1,234.5", r'\.str\.replace\(",", ""\)', lambda column: column.str.replace(",", "")),
        ("1 234", r'\.str\.replace\(" ", ""\)', lambda column: column.str.replace(" ", "")),
        ("1,234", r'\.str\.replace\(",", "\."\); with commas between thousands: \.str\.replace\(",", ""\)', None),
        ("12 USD", "make numbers of the column, or leave the row out", None),
    ],
)
def test_numbers_that_are_text_are_refused_with_what_makes_numbers_of_them(
    written: str, advice: str, follow: Any
) -> None:
    texts = pd.Series(written, index=yahoo().index)
    with pytest.raises(BadCandle, match=rf"Volume must be a number, got '{written}'\n.*{advice}"):
        from_frame(yahoo().assign(Volume=texts))
    if follow is not None:
        from_frame(yahoo().assign(Volume=follow(texts)))


def test_times_of_day_without_their_zeros_are_refused_with_what_gives_them_back(tmp_path: Path) -> None:
    frame = yahoo().reset_index(drop=True).assign(date="20240101", time=range(0, 500, 100))
    told = r"lost their leading zeros.*\n.*\.astype\(str\)\.str\.zfill\(4\).*\.str\.zfill\(6\).*from_frame"
    with pytest.raises(UsageError, match=told):
        from_frame(frame)
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(UsageError, match=told):
        from_csv(tmp_path / "x.csv")
    frame["time"] = frame["time"].astype(str).str.zfill(6)
    assert served(from_frame(frame)).timestamp.tolist() == MINUTES


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.assign(Vol=1.0), "frame: the volume is that of the column 'Volume', and 'Vol' is not read"),
        (lambda f: f.assign(c=1.0), "frame: the close is that of the column 'Close', and 'c' is not read"),
        (
            lambda f: f.reset_index().assign(unix=START // 1000 + 60 * np.arange(5), Datetime=f.index.hour.astype(str)),
            None,
        ),
        (
            lambda f: f.reset_index(drop=True).assign(
                unix=START // 1000 + 60 * np.arange(5), date=(f.index + pd.Timedelta(hours=1)).astype(str)
            ),
            "frame: the times are those of 'unix'; by 'date' the first one is 2024-01-01 01:00 UTC, 60 min later",
        ),
        (
            lambda f: f.reset_index(drop=True).assign(
                unix=START // 1000 + 60 * np.arange(5), date=f.index - pd.Timedelta(minutes=90)
            ),
            "frame: the times are those of 'unix'; by 'date' the first one is 2023-12-31 22:30 UTC, 90 min earlier",
        ),
        (
            lambda f: f.assign(date=f.index + pd.Timedelta(hours=1)),
            "frame: the times are those of the index; by 'date' the first one is 2024-01-01 01:00 UTC, 60 min later",
        ),
        (
            lambda f: f.shift(1, freq="60min").assign(date=f.index),
            "frame: the times are those of the index; by 'date' the first one is 2024-01-01 00:00 UTC, 60 min earlier",
        ),
        (
            lambda f: f.shift(1, freq="9min").assign(opentime=START + MINUTE * np.arange(5)),
            "frame: the times are those of 'opentime'; by the index the first one is 2024-01-01 00:09 UTC, 9 min later",
        ),
        (lambda f: f.reset_index(drop=True).assign(unix=START // 1000 + 60 * np.arange(5), date="2024-01-01"), None),
        (lambda f: f.reset_index(drop=True).assign(unix=START // 1000 + 60 * np.arange(5), date=f.index), None),
    ],
)
def test_a_column_that_says_otherwise_is_told(change: Any, told: str | None) -> None:
    assert from_frame(change(yahoo(zone=None))).warnings == (() if told is None else (told,))


@pytest.mark.parametrize(("start", "text"), [(START, "by 'date' they are 120 min later"), (0, None)])
@pytest.mark.parametrize("size", some_quick([1, 50], [50]))  # as a live run asks, and page by page
def test_what_every_answer_of_a_function_shows_is_told_once(start: int, text: str | None, size: int) -> None:
    start = start or 883_612_800_000  # 1998

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> pd.DataFrame:
        times = since + MINUTE * np.arange(min(limit, size))
        later = pd.to_datetime(times, unit="ms") + pd.Timedelta(hours=2)
        prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
        return pd.DataFrame({"timestamp": times, **prices} | ({"date": later} if text else {}))

    told: list[str] = []
    feed = Feed(FunctionSource(get_candles, intervals=("1m",)), Settings(), warn=told.append)

    async def minutes() -> None:
        for at in range(100 // size):
            since = start + at * size * MINUTE
            await feed.fetch("X", "1m", since, since + size * MINUTE, continued=True)

    asyncio.run(minutes())
    assert len(told) == 1
    assert (text or "times are before 2000") in told[0]


def test_the_times_of_another_column_are_compared_in_the_zone_that_is_named() -> None:
    frame = yahoo(zone=None).reset_index(drop=True).assign(unix=START // 1000 + 60 * np.arange(5))
    local = pd.date_range("2023-12-31 19:00", periods=5, freq="min").strftime("%Y-%m-%d %H:%M")
    (note,) = from_frame(frame.assign(date=local), tz="America/New_York").warnings
    assert "tz='America/New_York' is not used" in note


def test_a_zone_beside_times_with_offsets_is_told() -> None:
    frame = yahoo(zone=None)
    frame.index = pd.Index(frame.index.strftime("%Y-%m-%dT%H:%M:%S+01:00"), name="date")
    note = "frame: tz='America/New_York' is not used: the times bear offsets or a zone of their own"
    assert from_frame(frame, tz="America/New_York").warnings == (note,)
    assert from_frame(frame, tz="UTC").warnings == from_frame(frame).warnings == ()
    aware = yahoo(zone="America/New_York")
    assert from_frame(aware, tz="America/New_York").warnings == ()
    new_york: Any = ZoneInfo("America/New_York")
    assert from_frame(aware, tz=new_york).warnings == ()
    assert from_frame(aware, tz="Europe/Berlin").warnings == (note.replace("America/New_York", "Europe/Berlin"),)


@pytest.mark.parametrize("values", [True, [1.5, True, 2.5, 1.5, 1.5], [1.5, np.False_, 2.5, 1.5, "1.5"]])
def test_true_and_false_are_no_numbers(values: Any) -> None:
    given = pd.Series(values, index=yahoo().index, dtype=object if isinstance(values, list) else None)
    row = 1 if isinstance(values, list) else 0
    with pytest.raises(BadCandle, match=rf"row 2024-01-01 00:0{row}:00.*: Volume must be a number, got (True|False)"):
        from_frame(yahoo().assign(Volume=given))


def test_numbers_that_are_text_are_read_to_the_last_digit() -> None:
    exact = np.random.default_rng(1).uniform(0, 1, 2000)
    index = pd.date_range("2024-01-01", periods=2000, freq="min", name="Datetime")
    texts = pd.Series([repr(float(each)) for each in exact], index=index, dtype=object)
    frame = pd.DataFrame(dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), texts))
    assert served(from_frame(frame)).close.tolist() == exact.tolist()


def test_the_length_of_bars_is_known_to_who_asks() -> None:
    spacing = from_frame(yahoo()).spacing("AAPL")
    assert spacing is not None
    assert (spacing.interval, spacing.count) == ("1m", 4)
    assert from_frame(yahoo(count=1)).spacing("AAPL") is None
    with pytest.raises(UnknownName):
        from_frame(yahoo(), symbol="AAPL").spacing("MSFT")


# --- a market with few trades ----------------------------------------------------------------------------------------


def thin(*minutes: float) -> pd.DataFrame:
    """A market in which only these minutes have a trade."""
    return yahoo(count=len(minutes)).set_index(pd.Timestamp(START, unit="ms") + pd.to_timedelta(minutes, unit="min"))


@pytest.mark.parametrize("minutes", [(0, 2, 4, 6, 7), (0, 20, 40, 70, 80, 93), (0, 5, 10, 15, 17)])
def test_minutes_that_lie_on_a_wider_grid_by_chance_lose_no_row(minutes: tuple[int, ...]) -> None:
    source = from_frame(thin(*minutes))
    assert ((served(source).timestamp - START) // MINUTE).tolist() == [*minutes]
    assert source.warnings == ()
    last = from_frame(thin(*minutes, minutes[-1] + 2.5))  # the moment of the last trade, half a minute past
    assert served(last) == served(source)
    assert "left out: the row of" in last.warnings[0]


@pytest.mark.parametrize("minutes", [(2, 6, 12, 20), (10, 20, 30, 50)])
def test_the_times_of_closes_are_those_of_minutes_unless_longer_bars_are_proven(minutes: tuple[int, ...]) -> None:
    opened = served(from_frame(thin(*minutes), stamp="close")).timestamp
    assert ((opened - START) // MINUTE).tolist() == [each - 1 for each in minutes]


def test_a_last_day_that_stands_twice_is_no_running_candle() -> None:
    index = pd.bdate_range("2024-01-01", periods=40, name="Date")
    days = pd.DataFrame({"Open": 5.0, "High": 6.0, "Low": 4.0, "Close": 5.0, "Volume": 1.0}, index=index)
    twice = from_frame(pd.concat([days, days[-1:]]))
    last = asyncio.run(twice.get_candles("AAPL", "1d", 0, 100_000)).timestamp[-1]
    assert (pd.Timestamp(last, unit="ms"), twice.warnings) == (index[-1], from_frame(days).warnings)
    with pytest.raises(BadCandle, match="two different candles of 2024-02-23"):
        from_frame(pd.concat([days, days[-1:].assign(Close=5.5)]))


@pytest.mark.parametrize("factor", [100.0, 0.01, 5000.0])
@pytest.mark.parametrize("rows", [slice(20, 40), slice(0, 15), slice(30, 33)])
def test_prices_of_another_unit_from_some_row_on_are_told(factor: float, rows: slice) -> None:
    frame = yahoo(count=40)
    prices = ["Open", "High", "Low", "Close"]
    assert from_frame(frame).warnings == ()
    frame.iloc[rows, :4] *= factor
    several = pd.concat([yahoo(count=40).assign(ticker="AAA"), frame.assign(ticker="BBB")])
    for source, name in ((from_frame(frame), "frame"), (from_frame(several), "frame, BBB")):
        (note,) = source.warnings
        assert note.startswith(f"{name}: the price goes from ")
        assert note.endswith("such as cents, or of another currency are to be multiplied; a split: adjust=")
    split = pd.DataFrame({"date": [frame.index[rows.stop if rows.start == 0 else rows.start]], "splits": [64.0]})
    cheaper = yahoo(count=40).astype(dict.fromkeys(prices, float))
    cheaper.loc[split["date"][0] :, prices] /= 64
    assert len(from_frame(cheaper, adjust=split).warnings) == 1  # that it is adjusted


def test_opens_and_closes_that_change_places_in_a_part_are_told() -> None:
    walk = 100 + np.cumsum(np.random.default_rng(3).normal(size=401))
    rows = {"Open": walk[:-1], "High": walk[:-1] + 9, "Low": walk[:-1] - 9, "Close": walk[1:], "Volume": 1.0}
    frame = pd.DataFrame(rows, index=pd.date_range("2024-01-01", periods=400, freq="min", name="Date"))
    assert from_frame(frame).warnings == ()
    part = frame.copy()
    part.iloc[200:300, [0, 3]] = frame.iloc[200:300, [3, 0]].to_numpy()
    (note,) = from_frame(part).warnings
    assert "Open and Close look swapped in 2 of 9 stretches of 40 candles, the first at 2024-01-01 03:20 UTC" in note
    still = frame.copy()
    still.iloc[:, :4] = 100.0  # nobody trades: nothing is told
    assert from_frame(still).warnings == ()


@pytest.mark.parametrize("year", ["1402", "2567"])
def test_years_of_another_calendar_are_told(year: str) -> None:
    frame = yahoo().reset_index()
    frame["Datetime"] = frame["Datetime"].dt.strftime(f"{year}-%m-%d %H:%M")
    (note,) = from_frame(frame).warnings
    assert note.startswith(f"frame: times go from {year}-01-01 to {year}-01-01: years of another calendar")


# --- prices of any size ----------------------------------------------------------------------------------------------


def test_prices_of_any_size_give_the_same_money_and_are_shown_with_their_digits() -> None:
    walk = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.001, 300)))
    opened = np.concatenate([[1.0], walk[:-1]])
    index = pd.date_range("2024-01-01", periods=300, freq="min", tz="UTC", name="time")

    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=price * 1.01, price_stop_loss=price * 0.99)

    frame, found = ("2024-01-01 02:00", "2024-01-01 04:00"), {}
    for unit in (1.0, 1e-12, 1e14):
        prices = np.column_stack([opened, np.maximum(opened, walk), np.minimum(opened, walk), walk]) * unit
        table = pd.DataFrame(prices, columns=["open", "high", "low", "close"], index=index).assign(volume=5.0)
        run = bknb.backtest("X", strategy=get_signal, exchange=from_frame(table), frame=frame, capital=10_000)
        found[unit] = [run.account["end"], *run.trades["money"]]
        entry = float(run.trades["price_open"].iloc[0]) / unit
        assert f"long at {f'{entry * unit:.8g}'}" in str(run.at("2024-01-01 03:00"))
        assert entry == pytest.approx(1.0097934, rel=1e-7)
    assert len(found[1.0]) > 2
    for unit in (1e-12, 1e14):
        assert found[unit] == pytest.approx(found[1.0], rel=1e-9)
