"""CSV files as people have them: of every platform, in every unit of time, with every mark of a decimal."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.errors import BadCandle, DataError, UsageError
from bknb.exchanges.dataframe_source import FrameSource
from bknb.exchanges.from_csv_frame_and_parquet import from_csv
from bknb.market.candles import Candles

FILES = Path(__file__).parent / "data" / "files"
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
MINUTE = 60_000
ROWS = [(START + at * MINUTE, 1.5 + at, 2.5 + at, 1.25 + at, 2.0 + at, 10.5 + at) for at in range(3)]
TRUTH = Candles.from_rows(ROWS)
TEXTS = ["2024-01-01 00:00", "2024-01-01 00:01", "2024-01-01 00:02"]


def served(source: FrameSource, symbol: str | None = None) -> Candles:
    name = symbol or (source.symbols or ("ANY",))[0]
    return asyncio.run(source.get_candles(name, "1m", 0, 2**40))


def lines(times: list[Any], form: str = "{t},{o},{h},{l},{c},{v}", *, comma: bool = False) -> str:
    """The three candles, one line each, in a platform's order of columns."""
    made = []
    for when, row in zip(times, ROWS, strict=True):
        values = {
            key: str(value).replace(".", "," if comma else ".") for key, value in zip("ohlcv", row[1:], strict=True)
        }
        made.append(form.format(t=when, ms=row[0], **values))
    return "\n".join(made) + "\n"


DOTS = [text.replace("-", ".") for text in TEXTS]
GERMAN = ["01.01.2024 00:00", "01.01.2024 00:01", "01.01.2024 00:02"]
MS = [row[0] for row in ROWS]
S = [row[0] // 1000 for row in ROWS]
ISO = "timestamp,open,high,low,close,volume\n"

DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "MetaTrader 5": (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
        + lines([each.replace(" ", "\t") + ":00" for each in DOTS], "{t}\t{o}\t{h}\t{l}\t{c}\t{v}\t0\t2"),
        {},
    ),
    "MetaTrader 4, no header": (lines([each.replace(" ", ",") for each in DOTS]), {}),
    "HistData": (
        lines(["20240101 000000", "20240101 000100", "20240101 000200"], "{t};{o};{h};{l};{c};{v}"),
        {},
    ),
    "TradingView": ("time,open,high,low,close,EMA,EMA,Volume\n" + lines(S, "{t},{o},{h},{l},{c},,1,{v}"), {}),
    "a table of pandas": (",Timestamp ,Open,High,Low,Close,Volume\n" + lines(MS, "7,{t},{o},{h},{l},{c},{v}"), {}),
    "TradingView, ISO": (
        "time,open,high,low,close,Volume\n" + lines([f"{t.replace(' ', 'T')}:00Z" for t in TEXTS]),
        {},
    ),
    "Yahoo": (
        "Datetime,Open,High,Low,Close,Adj Close,Volume\n"
        + lines([f"{text}:00+00:00" for text in TEXTS], "{t},{o},{h},{l},{c},{c},{v}"),
        {},
    ),
    "Stooq": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        + lines(["000000", "000100", "000200"], "X.US,1,20240101,{t},{o},{h},{l},{c},{v},0"),
        {},
    ),
    "Binance, no header": (lines(MS, "{t},{o},{h},{l},{c},{v},1704067259999,1.0,5,1.0,1.0,0"), {}),
    "Kraken": (lines(S, "{t},{o},{h},{l},{c},{v},12"), {}),
    "CryptoDataDownload": (
        "https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n"
        + lines(TEXTS, "{ms},{t}:00,BTCUSDT,{o},{h},{l},{c},{v},99,7"),
        {},
    ),
    "Dukascopy": (
        "Gmt time,Open,High,Low,Close,Volume\n" + lines([f"{each}:00.000" for each in GERMAN]),
        {},
    ),
    "Dukascopy, local time": (
        "Local time,Open,High,Low,Close,Volume\n"
        + lines([f"{each}:00.000 GMT+0100" for each in ("01.01.2024 01:00", "01.01.2024 01:01", "01.01.2024 01:02")]),
        {},
    ),
    "semicolon, decimal comma": (
        "Date;Open;High;Low;Close;Volume\n" + lines(GERMAN, "{t};{o};{h};{l};{c};{v}", comma=True),
        {},
    ),
    "tab, decimal comma": (
        "Date\tOpen\tHigh\tLow\tClose\tVolume\n" + lines(GERMAN, "{t}\t{o}\t{h}\t{l}\t{c}\t{v}", comma=True),
        {},
    ),
    "quoted, decimal comma": (
        '"Date","Open","High","Low","Close","Volume"\n'
        + lines(GERMAN, '"{t}","{o}","{h}","{l}","{c}","{v}"', comma=True),
        {},
    ),
    "blanks between": ("time open high low close volume\n" + lines(S, "{t}  {o} {h} {l} {c} {v}"), {}),
    "bars": ("time|open|high|low|close|volume\n" + lines(S, "{t}|{o}|{h}|{l}|{c}|{v}"), {}),
    "a separator behind each row": (ISO + lines(MS, "{t},{o},{h},{l},{c},{v},"), {}),
    "blanks after commas": (ISO.replace(",", ", ") + lines(MS, "{t}, {o}, {h}, {l}, {c}, {v}"), {}),
    "seconds": (ISO + lines(S), {}),
    "milliseconds": (ISO + lines(MS), {}),
    "microseconds": (ISO + lines([each * 1000 for each in MS]), {}),
    "nanoseconds": (ISO + lines([each * 1_000_000 for each in MS]), {}),
    "mixed": (ISO + lines([S[0], MS[1], MS[2] * 1000]), {}),
    "numbers that are dates": (ISO + lines(["202401010000", "202401010001", "202401010002"]), {}),
    "slashes, year first": (ISO + lines([each.replace("-", "/") for each in TEXTS]), {}),
    "an offset": (ISO + lines([f"2024-01-01T0{1}:0{at}:00+01:00" for at in range(3)]), {}),
    "an offset, whatever zone is named": (
        ISO + lines([f"2024-01-01T0{1}:0{at}:00+01:00" for at in range(3)]),
        {"tz": "America/New_York"},
    ),
    "a zone in words": (ISO + lines([f"{text}:00 UTC" for text in TEXTS]), {}),
    "day first, named": (
        ISO + lines([f"01/01/24 00:0{at}" for at in range(3)]),
        {"time_format": "%d/%m/%y %H:%M"},
    ),
    "New York": (ISO + lines([f"2023-12-31 19:0{at}" for at in range(3)]), {"tz": "America/New_York"}),
    "stamped at the close": (ISO + lines([each + MINUTE for each in MS]), {"stamp": "close"}),
    "stamped a millisecond before": (ISO + lines([each + MINUTE - 1 for each in MS]), {"stamp": "close"}),
    "names of their own": (
        "Datum;Eroeffnung;Hoch;Tief;Schluss\n" + lines(GERMAN, "{t};{o};{h};{l};{c}", comma=True),
        {
            "columns": {
                "timestamp": "Datum",
                "open": "Eroeffnung",
                "high": "Hoch",
                "low": "Tief",
                "close": "Schluss",
                "volume": 10.5,
            }
        },
    ),
    "another order, no header": (
        lines(MS, "{v},{l},{h},{o},{c},x,{t}"),
        {"columns": ["volume", "low", "high", "open", "close", None, "timestamp"]},
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_files_of_many_platforms_are_read(tmp_path: Path, name: str) -> None:
    text, options = DIALECTS[name]
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    got = served(from_csv(path, **options))
    if name == "names of their own":
        assert got.volume.tolist() == [10.5] * 3
        got = Candles.from_columns(**{key: getattr(got, key) for key in ("timestamp", "open", "high", "low", "close")},
                                   volume=TRUTH.volume)  # fmt: skip
    assert got == TRUTH


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_are_recognised(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes((ISO + lines(MS)).encode(encoding))
    assert served(from_csv(path)) == TRUTH


def test_names_in_an_unknown_encoding_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(("symbol," + ISO + lines(MS, "ÄÖ,{t},{o},{h},{l},{c},{v}")).encode("cp1252"))
    with pytest.raises(UsageError, match='not UTF-8\nname it: encoding="cp1252"'):
        from_csv(path)
    assert from_csv(path, encoding="cp1252").symbols == ("ÄÖ",)
    with pytest.raises(UsageError, match="name its encoding"):
        from_csv(path, encoding="utf-8")


def test_line_ends_of_every_system(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for end in ("\r\n", "\n", "\r"):
        path.write_bytes((ISO + lines(MS)).replace("\n", end).encode())
        assert served(from_csv(path)) == TRUTH


def test_lines_above_the_header_count_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a line\n\n" + ISO + lines(MS) + "1704067380000,1,1,x,1,1\n")
    with pytest.raises(BadCandle, match="line 7: low must be a number, got 'x'"):
        from_csv(path)


REFUSED: dict[str, tuple[str, str]] = {
    "comma of two meanings": (
        "time;open;high;low;close;volume\n1704067200;1,234;1,234;1,234;1,234;5\n",
        'may be a decimal mark or stand between thousands\nsay which: decimal=","',
    ),
    "two marks": (
        "time;open;high;low;close;volume\n1704067200;1,5;1,5;1,5;1,5;5\n1704067260;1.5;1,5;1,5;1,5;5\n",
        "line 3: open must be a number, got '1.5'",
    ),
    "thousands": (ISO + '1704067200,1,1,1,1,"1,234.5"\n', "line 2: volume must be a number, got '1,234.5'\n.*decimal"),
    "no separator": ("hello\nworld\n", "no separator parts its lines into 5 columns.*'hello'\nname it: separator="),
    "a short header": ("time,open,high,low,close\n" + lines(S), "names 5 columns, and the rows have 6\ncomplete"),
    "a row too long": (ISO + lines(MS) + "1704067380000,1,1,1,1,1,9,9\n", "line 5, saw 8\n"),
    "a row cut off": (ISO + lines(MS) + "1704067380000,1,1", "line 5: low must be a number, got nan"),
    "low and high swapped, no header": (
        lines(MS, "{t},{o},{l},{h},{c},{v}"),
        "no header line, and its columns are not",
    ),
    "the price first, no header": (
        lines(MS, "{o},{t},{h},{l},{c},{v}"),
        "no header line, and its first column is no time: '1.5'",
    ),
    "too few columns, no header": (lines(MS, "{t},{o},{h},{l},{c}"), "no header line, and its rows have 5 columns\n"),
    "a column twice": (
        "time,open,high,low,close,volume,Close\n" + lines(S, "{t},{o},{h},{l},{c},{v},1"),
        "two columns",
    ),
    "no volume": ("time,open,high,low,close\n" + lines(S, "{t},{o},{h},{l},{c}"), 'missing: volume\n.*"volume": 1.0'),
    "an infinite price": (ISO + "1704067200000,1,inf,1,1,1\n", "line 2: high must be a number, got inf"),
    "an offset in some rows": (ISO + lines([TEXTS[0], TEXTS[1] + "+00:00", TEXTS[2]]), "line 2: .*offset from UTC"),
    "half a minute": (
        ISO + lines([MS[0], MS[1] + 30_000, MS[2]]),
        r"only 30000 ms apart \(at 2024-01-01 00:01:30 UTC\)",
    ),
    "closes": (ISO + lines([each + 59_999 for each in MS]), '59.999 s past a full minute.*\n.*stamp="close"'),
    "a time from the future": (ISO + lines([each * 4 for each in MS]), "before the year 2103"),
    "two candles of one minute": (ISO + lines([MS[0], MS[1], MS[1]]), "two different candles of .* line 3 and line 4"),
    "signs of a currency": (ISO + "1704067200,$1,$1,$1,$1,5\n", "the sign of its currency: .*pandas"),
    "a volume in millions": (ISO + "1704067200,1,1,1,1,1.52M\n", r"K, M or B for thousands.*pandas.*\"volume\": 1\.0"),
    "a line of totals below dates": (
        ISO + "".join(f"01/{day}/2024,1,1,1,1,5\n" for day in (2, 3, 30, 31)) + "Downloaded from nowhere,,,,,\n",
        "line 6: timestamp must be .*got 'Downloaded from nowhere'",
    ),
    "days of Excel": (
        ISO + "".join(f"{45293 + day},1,1,1,1,5\n" for day in range(9)),
        "as of Excel: pandas.to_datetime",
    ),
    "two instruments": (
        ISO.replace("\n", ",name\n") + lines([MS[0], MS[0], MS[1]], "{t},{o},{h},{l},{c},{v},n{o}"),
        'line 2 and line 3\ntwo instruments.*columns={"symbol": "name"}',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_named_with_what_helps(tmp_path: Path, name: str) -> None:
    text, message = REFUSED[name]
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises((UsageError, DataError), match=message) as caught:
        from_csv(path)
    assert path.name in str(caught.value)


def test_a_comma_of_two_meanings_is_read_as_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(REFUSED["comma of two meanings"][0])
    assert served(from_csv(path, decimal=",")).open.tolist() == [1.234]


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(ISO + lines(MS))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"stamp": "middle"}, "stamp must be 'open' or 'close'"),
        ({"columns": "timestamp"}, "columns must be a mapping"),
        ({"columns": {"price": "open"}}, "columns names timestamp, .* got 'price'"),
        ({"columns": {"close": "last"}}, "has no column 'last'\nfound: timestamp"),
        ({"encoding": "klingon"}, "unknown encoding: klingon"),
        ({"columns": ["a"] * 9}, "names 9 columns, and the rows have 6"),
    ]
    for options, message in wrong:
        with pytest.raises(UsageError, match=message):
            from_csv(path, **options)
    path.write_text(ISO + lines(TEXTS))
    with pytest.raises(UsageError, match="tz must be a time zone such as 'America/New_York', got 'Mars'"):
        from_csv(path, tz="Mars")


# --- the files of the repository -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("binance_spot_2025_us_no_header.csv", 8, 1_735_689_600_000),
        ("binance_spot_2025_us_with_header.csv", 8, 1_735_689_600_000),
        ("ms_then_us.csv", 16, 1_735_689_120_000),
        ("semicolon_decimal_comma.csv", 2, START),
        ("prices_1e-8.csv", 10, START),
        ("eth_wick_to_0.10.csv", 20, START),
        ("yfinance_multiindex_1m.csv", 10, START),
        ("trailing_live_row_off_grid.csv", 8, START),
    ],
)
def test_recorded_files_are_read(name: str, count: int, first: int) -> None:
    candles = served(from_csv(FILES / name))
    assert candles.timestamp.tolist() == [first + at * MINUTE for at in range(count)]


def test_prices_of_1e_8_keep_every_digit() -> None:
    assert float(served(from_csv(FILES / "prices_1e-8.csv")).high[0]) == 1.2347891156571965e-08


def test_a_true_wick_is_traded_once_the_setting_allows_it() -> None:
    """ETH at 0.10 beside 317 is refused with the name of the setting, and found in the candles with it."""
    seen: list[float] = []

    def get_signal(symbol: str) -> None:
        seen.append(float(bknb.get_candles(symbol, "1m", 5).low.min()))

    def run(**settings: Any) -> None:
        bknb.backtest(
            "ETHUSD",
            strategy=bknb.add_strategy("wick", interval="1m", get_signal=get_signal),
            exchange=from_csv(FILES / "eth_wick_to_0.10.csv"),
            frame=("2024-01-01 00:06", "2024-01-01 00:18"),
            **settings,
        )

    with pytest.raises(BadCandle, match="if it was traded, raise get_candles_price_anomaly_threshold_factor"):
        run()
    run(settings=bknb.Settings(get_candles_price_anomaly_threshold_factor=10_000))
    assert min(seen) == 0.1


def test_units_that_change_in_the_middle_are_told() -> None:
    (note,) = from_csv(FILES / "ms_then_us.csv").warnings
    assert "times came in ms and in us since 1970" in note


def test_the_row_of_the_last_trade_and_the_running_candle_are_left_out_and_told() -> None:
    source = from_csv(FILES / "trailing_live_row_off_grid.csv")
    (note,) = source.warnings
    assert "left out: the row of 2024-01-01 00:08:41 UTC" in note
    assert served(source).timestamp[-1] == START + 7 * MINUTE


def test_two_tickers_in_a_column_are_two_series() -> None:
    source = from_csv(FILES / "two_tickers_column_Ticker.csv")
    assert source.symbols == ("AAPL", "MSFT")
    assert served(source, "AAPL").open[0] == 100.0
    assert served(source, "MSFT").open[0] > 390
    assert from_csv(FILES / "two_tickers_column_Ticker.csv", symbol="MSFT").symbols == ("MSFT",)


def test_a_zip_of_many_files_is_no_csv(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", ISO + lines(MS))
    assert served(from_csv(path)) == TRUTH
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", ISO + lines(MS))
    with pytest.raises(UsageError, match=r"holds 2 files, and from_csv reads one\n.*binance_archive"):
        from_csv(path)
    path.write_bytes(b"PK no zip")
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        from_csv(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip"])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_compressed_file_that_is_damaged_is_refused(tmp_path: Path, suffix: str, at: float) -> None:
    path = tmp_path / f"x.csv{suffix}"
    table = pd.DataFrame(1.0, index=range(2000), columns=["open", "high", "low", "close", "volume"])
    table.insert(0, "timestamp", START + np.arange(2000) * MINUTE)
    table.to_csv(path, index=False)
    whole = path.read_bytes()
    first = int(len(whole) * at)
    for damaged in (whole[:first] + bytes(9) + whole[first + 9 :], whole[:first]):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=rf"x\.csv\{suffix}: cannot be read as CSV"):
            from_csv(path)


# --- symbols ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["symbol", "Ticker", "PAIR", "tic", "Instrument"])
def test_key_columns_make_symbols(tmp_path: Path, key: str) -> None:
    path = tmp_path / "x.csv"
    both = lines(MS, "NA,{t},{o},{h},{l},{c},{v}") + lines(MS, "0700,{t},{o},{h},{l},{c},{v}")
    path.write_text(f"{key},{ISO}{both}")
    source = from_csv(path)
    assert source.symbols == ("NA", "0700")
    assert served(source, "NA") == served(source, "0700") == TRUTH


def test_a_row_without_a_symbol_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"symbol,{ISO}{lines(MS, 'A,{t},{o},{h},{l},{c},{v}')}\n,1704067380000,1,1,1,1,1\n")
    with pytest.raises(BadCandle, match="line 6: symbol must name the symbol, and is empty"):
        from_csv(path)


def test_two_key_columns_that_disagree(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        f"symbol,instrument,{ISO}" + "".join(
            f"ES,{name},{START + at * MINUTE},1,1,1,1,1\n" for at, name in enumerate(["ESH4", "ESH4", "ESM4"])
        )
    )  # fmt: skip
    with pytest.raises(
        UsageError, match=r'are two instruments\nname the column to go by: columns=\{"symbol": "instrument"\}'
    ):
        from_csv(path)
    assert from_csv(path, columns={"symbol": "instrument"}).symbols == ("ESH4", "ESM4")


# --- the clock of an exchange ----------------------------------------------------------------------------------------


def local(path: Path, times: list[str], **options: Any) -> list[int]:
    path.write_text(ISO + "".join(f"{when},1,1,1,1,1\n" for when in times))
    source = from_csv(path, tz="Europe/Berlin", **options)
    return [int(each - START) // MINUTE for each in served(source).timestamp] + [len(source.warnings)]


def test_the_night_in_which_the_clocks_go_back_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    day = (1_729_983_600_000 - START) // MINUTE  # 2024-10-26 23:00 UTC, 01:00 in Berlin
    hours = [f"2024-10-27 0{hour}:{minute:02}" for hour in (1, 2, 2, 3) for minute in range(60)]
    assert local(path, hours) == [*range(day, day + 240), 1]
    assert local(path, hours[::-1]) == [*range(day, day + 240), 1]
    source = from_csv(path, tz="Europe/Berlin")
    assert "the clocks of Europe/Berlin went back in the night of 2024-10-27" in source.warnings[0]
    with pytest.raises(BadCandle, match=r"2024-10-27 02:00 came twice in Europe/Berlin.*2024-10-27"):
        local(path, hours[:120] + hours[180:])


def test_the_night_in_which_the_clocks_go_forward_has_no_such_hour(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with pytest.raises(BadCandle, match="2024-03-31 02:00 does not exist in Europe/Berlin: the clocks went forward"):
        local(path, ["2024-03-31 01:59", "2024-03-31 02:00"])
    assert local(path, ["2024-03-31 01:59", "2024-03-31 03:00"]) == [129_659, 129_660, 0]
