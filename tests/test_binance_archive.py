"""The archives that Binance publishes: in order, with their checksums, and with what is missing told."""

from __future__ import annotations

import asyncio
import hashlib
import re
import zipfile
from pathlib import Path

import pytest

import bknb
from bknb.errors import BadCandle, DataError, UnknownName, UsageError
from bknb.exchanges import binance_archive
from bknb.exchanges.dataframe_source import FrameSource
from bknb.market.candles import Candles

MINUTE = 60_000
DAY = 1440 * MINUTE
JANUARY = 1_735_689_600_000  # 2025-01-01 00:00 UTC
HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,buy,buy_quote,ignore\n"


def archive(
    folder: Path,
    period: str,
    first: int,
    count: int = 3,
    *,
    symbol: str = "BTCUSDT",
    scale: int = 1000,
    header: bool = False,
    price: float = 100.0,
    checksum: bool = True,
    interval: str = "1m",
) -> Path:
    """An archive of some minutes, with its checksum beside it."""
    rows = [
        f"{(first + at * MINUTE) * scale},{price},{price + 1},{price - 1},{price},5,"
        f"{(first + at * MINUTE + MINUTE) * scale - 1},500,7,2,200,0\n"
        for at in range(count)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{symbol}-{interval}-{period}.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(path.with_suffix(".csv").name, (HEADER if header else "") + "".join(rows))
    if checksum:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path


def served(source: FrameSource, symbol: str = "BTCUSDT") -> Candles:
    return asyncio.run(source.get_candles(symbol, "1m", 0, 2**40))


def test_archives_are_read_in_order_of_time(tmp_path: Path) -> None:
    december = JANUARY - 2 * MINUTE
    archive(tmp_path / "daily", "2025-01-01", JANUARY, header=True)
    archive(tmp_path / "monthly", "2024-12", december, 2, scale=1)
    source = binance_archive(tmp_path)
    assert source.symbols == ("BTCUSDT",)
    assert served(source).timestamp.tolist() == [december + at * MINUTE for at in range(5)]
    assert source.warnings == ()
    assert source.reopen is not None
    assert served(source.reopen()) == served(source)


def test_archives_can_be_listed_and_symbols_chosen(tmp_path: Path) -> None:
    paths = [archive(tmp_path, "2025-01", JANUARY, symbol=each) for each in ("ETHUSDT", "BTCUSDT")]
    assert binance_archive(paths).symbols == ("BTCUSDT", "ETHUSDT")
    assert binance_archive(str(paths[0])).symbols == ("ETHUSDT",)
    assert binance_archive(tmp_path, symbol="ETHUSDT").symbols == ("ETHUSDT",)
    with pytest.raises(UnknownName, match="did you mean 'ETHUSDT'"):
        binance_archive(tmp_path, symbol="ETHUSD")


def test_holes_are_told_with_their_ranges(tmp_path: Path) -> None:
    archive(tmp_path, "2025-01-01", JANUARY, 1440)
    archive(tmp_path, "2025-01-03", JANUARY + 2 * DAY + MINUTE, 1439)
    (note,) = binance_archive(tmp_path).warnings
    assert note == (
        "binance-archive, BTCUSDT: 1441 candles are missing: "
        "2025-01-02 00:00 UTC .. 2025-01-03 00:00 UTC (1441)"
    )  # fmt: skip


def test_months_and_days_may_overlap_and_must_agree(tmp_path: Path) -> None:
    archive(tmp_path, "2025-01", JANUARY, 5)
    path = archive(tmp_path, "2025-01-01", JANUARY + 2 * MINUTE, 5)
    assert served(binance_archive(tmp_path)).timestamp.tolist() == [JANUARY + at * MINUTE for at in range(7)]
    archive(path.parent, "2025-01-01", JANUARY + 2 * MINUTE, 5, price=200.0)
    said = f"{path} and {tmp_path / 'BTCUSDT-1m-2025-01.zip'} hold two different candles of 2025-01-01 00:02"
    with pytest.raises(BadCandle, match=re.escape(said)):
        binance_archive(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("spot/monthly/klines/BTCUSDT/1m", "futures/um/daily/klines/BTCUSDT/1m"),
        ("futures/um/monthly/klines/BTCUSDT/1m", "futures/cm/daily/klines/BTCUSDT/1m"),
        ("futures/um/monthly/klines/BTCUSDT/1m", "futures/um/monthly/markPriceKlines/BTCUSDT/1m"),
    ],
)
def test_archives_of_two_markets_are_not_mixed(tmp_path: Path, one: str, other: str) -> None:
    paths = [archive(tmp_path / one, "2025-01", JANUARY), archive(tmp_path / other, "2025-02-01", JANUARY + 31 * DAY)]
    archive(tmp_path / "spot" / "monthly" / "klines" / "ETHUSDT" / "1m", "2025-01", JANUARY, symbol="ETHUSDT")
    for given in (tmp_path, paths):
        with pytest.raises(UsageError, match="may be of two markets") as caught:
            binance_archive(given)
        assert all(str(path) in str(caught.value) for path in paths)
    assert binance_archive(tmp_path, symbol="ETHUSDT").symbols == ("ETHUSDT",)
    assert len(served(binance_archive(tmp_path / one))) == 3


def test_folders_of_unknown_names_may_be_of_two_markets_unless_their_archives_are_listed(tmp_path: Path) -> None:
    paths = [archive(tmp_path / name, period, first) for name, period, first in (
        ("btc", "2025-01", JANUARY), ("perpetual", "2025-02-01", JANUARY + 31 * DAY)
    )]  # fmt: skip
    with pytest.raises(UsageError, match=r"may be of two markets.*\n.*list them"):
        binance_archive(tmp_path)
    source = binance_archive(paths)
    assert len(served(source)) == 6
    assert source.reopen is not None
    assert served(source.reopen()) == served(source)


def test_folders_of_months_days_and_symbols_are_of_one_market(tmp_path: Path) -> None:
    for place, period, first in (
        ("spot/monthly/klines/BTCUSDT/1m/2025", "2025-01", JANUARY),
        ("spot/daily/klines/btcusdt/2025-02", "2025-02-01", JANUARY + 31 * DAY),
    ):
        archive(tmp_path / place, period, first)
    assert len(served(binance_archive(tmp_path))) == 6


def test_what_is_told_of_an_archive_is_told_with_its_name(tmp_path: Path) -> None:
    path = archive(tmp_path, "2025-01", JANUARY, price=100.0)
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(
            "x.csv", "".join(f"{(JANUARY + at * MINUTE) * 1000},9,{9 + 91 * (at == 1)},8,9,1\n" for at in range(3))
        )
    path.with_name(path.name + ".CHECKSUM").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    (note,) = binance_archive(tmp_path).warnings
    assert note.startswith(f"{path}, line 2: the candle of 2025-01-01 00:01 UTC")


def test_what_is_missing_in_closed_hours_is_no_hole(tmp_path: Path) -> None:
    archive(tmp_path, "2025-01-01", JANUARY, 60)
    archive(tmp_path, "2025-01-02", JANUARY + DAY, 50)
    archive(tmp_path, "2025-01-03", JANUARY + 2 * DAY, 60)
    hours = bknb.Sessions.weekly("UTC", {"mon-sun": "00:00-01:00"})
    (note,) = binance_archive(tmp_path, sessions=hours).warnings
    assert note == (
        "binance-archive, BTCUSDT: 10 candles are missing: "
        "2025-01-02 00:50 UTC .. 2025-01-02 00:59 UTC (10)"
    )  # fmt: skip


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, "2025-01", JANUARY)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"BTCUSDT-1m-2025-01\.zip: its SHA-256 checksum is .*\n.*download it again"):
        binance_archive(tmp_path)
    path.with_name(path.name + ".CHECKSUM").write_text("nothing of use")
    with pytest.raises(DataError, match=r"CHECKSUM: holds no SHA-256 checksum"):
        binance_archive(tmp_path)


def test_missing_checksums_are_told(tmp_path: Path) -> None:
    archive(tmp_path, "2025-01", JANUARY, checksum=False)
    (note,) = binance_archive(tmp_path).warnings
    assert note == (
        f"binance-archive: 1 of 1 archives have no checksum beside them, such as {tmp_path / 'BTCUSDT-1m-2025-01.zip'}"
    )


def test_candles_of_another_time_than_the_name_says(tmp_path: Path) -> None:
    archive(tmp_path, "2025-01-01", JANUARY + DAY - MINUTE, 2)
    with pytest.raises(DataError, match="holds a candle of 2025-01-02 00:00 UTC, and by its name only those of 1 day"):
        binance_archive(tmp_path)


@pytest.mark.parametrize("period", ["2024-13", "2024-02-31", "2024-00"])
def test_a_period_that_does_not_exist_is_refused_by_name(tmp_path: Path, period: str) -> None:
    archive(tmp_path, period, JANUARY)
    with pytest.raises(
        UsageError, match=rf"BTCUSDT-1m-{period}\.zip: by its name it is of {period}, and there is no such"
    ):
        binance_archive(tmp_path)


@pytest.mark.parametrize("header", [True, False])
def test_the_columns_of_an_archive_are_known_and_not_guessed(tmp_path: Path, header: bool) -> None:  # noqa: FBT001 -- a table's column
    """A stable coin: its volumes lie between low and high in every row."""
    times = range(JANUARY, JANUARY + 40 * MINUTE, MINUTE)
    rows = [f"{ms},1.0001,1.0002,1.0000,1.0001,1.0,{ms + MINUTE - 1},1.0,1,0.5,0.5,0\n" for ms in times]
    path = tmp_path / "USDCUSDT-1m-2025-01.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("x.csv", (HEADER if header else "") + "".join(rows))
    assert served(binance_archive(tmp_path), "USDCUSDT").volume.tolist() == [1.0] * 40


def test_what_is_no_archive_of_minutes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no archives such as BTCUSDT-1m-2024-01\.zip"):
        binance_archive(tmp_path)
    hours = archive(tmp_path, "2025-01", JANUARY, interval="1h")
    for given in (tmp_path, hours, [hours]):
        with pytest.raises(
            UsageError, match=r"BTCUSDT-1h-2025-01\.zip: is no archive of one-minute candles by its name"
        ):
            binance_archive(given)
    archive(tmp_path, "2025-01", JANUARY)
    assert len(served(binance_archive(tmp_path))) == 3
    with pytest.raises(UsageError, match="does not exist"):
        binance_archive(tmp_path / "BTCUSDT-1m-2025-02.zip")


def test_minutes_by_name_that_are_hours_inside(tmp_path: Path) -> None:
    archive(tmp_path, "2025-02", JANUARY + 31 * DAY, 100)
    path = archive(tmp_path, "2025-01", JANUARY, checksum=False)
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("x.csv", "".join(f"{(JANUARY + at * 60 * MINUTE) * 1000},1,1,1,1,1\n" for at in range(9)))
    with pytest.raises(DataError, match=r"2025-01\.zip: one-minute candles are in it .* got candles spaced 1h"):
        binance_archive(tmp_path)


def test_a_backtest_over_archives(tmp_path: Path) -> None:
    archive(tmp_path, "2025-01-01", JANUARY, 600)

    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=price * 1.1, price_stop_loss=price * 0.9)

    result = bknb.backtest(
        "BTCUSDT", strategy=get_signal, exchange=binance_archive(tmp_path), frame="2025-01-01 02:00:2025-01-01 03:00"
    )
    assert result.symbol == "BTCUSDT"
