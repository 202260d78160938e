"""What yfinance downloads, with a package of that name that answers tables of the same shape without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.errors import DataError, MissingDependency, UsageError
from bknb.exchanges import yfinance

STAND_IN = '''
"""Answers as yfinance 1.x does: two levels of columns, days without a zone, shorter bars in that of the exchange."""
import pandas as pd
answer, asked = None, []
def download(tickers, start=None, end=None, actions=False, threads=True, ignore_tz=None, group_by="column",
             auto_adjust=True, back_adjust=False, repair=False, keepna=False, progress=True, period=None,
             interval="1d", prepost=False, rounding=False, timeout=10, session=None, multi_level_index=True):
    asked.append({"tickers": tickers, "start": start, "end": end, "period": period, "interval": interval,
                  "auto_adjust": auto_adjust, "progress": progress})
    if isinstance(answer, Exception):
        raise answer
    return answer
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "yfinance.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "yfinance", raising=False)
    import yfinance as module

    yield module
    sys.modules.pop("yfinance", None)


def table(times: pd.DatetimeIndex, *tickers: str, adjusted: bool = True) -> pd.DataFrame:
    """A table as ``yfinance.download`` answers it, fields above tickers."""
    walk = 100 + np.cumsum(np.random.default_rng(1).normal(0, 1, len(times)))
    fields = {"Close": walk, "High": walk + 1, "Low": walk - 1, "Open": walk, "Volume": 1000.0}
    if not adjusted:
        fields = {"Adj Close": walk / 2, **fields}
    columns = {(field, ticker): values for field, values in fields.items() for ticker in tickers}
    frame = pd.DataFrame(columns, index=times)
    frame.columns.names = ["Price", "Ticker"]
    return frame


DAYS = pd.bdate_range("2024-01-01", "2024-03-29", name="Date")


def test_days_of_two_shares_are_read_and_run(package: Any) -> None:
    package.answer = table(DAYS, "AAPL", "MSFT", adjusted=False)
    source = yfinance("aapl, MSFT", start="2024-01-01")
    assert source.symbols == ("AAPL", "MSFT")
    assert source.base_interval == "1d"
    assert package.asked == [
        {"tickers": ["AAPL", "MSFT"], "start": "2024-01-01", "end": None, "period": None, "interval": "1d",
         "auto_adjust": False, "progress": False}
    ]  # fmt: skip
    frame = ("2024-02-01", "2024-03-01")
    result = bknb.backtest("MSFT", strategy=lambda: None, interval="1d", exchange=source, frame=frame)
    assert len(result.trades) == 0


def test_without_a_span_all_there_is_is_asked_for(package: Any) -> None:
    package.answer = table(DAYS, "AAPL")
    yfinance(["AAPL"], dividends=True)
    yfinance(["AAPL"], period="5y")
    assert [(each["period"], each["auto_adjust"]) for each in package.asked] == [("max", True), ("5y", False)]


def test_a_ticker_of_which_nothing_came_is_told(package: Any) -> None:
    frame = table(DAYS, "AAPL", "APPL")
    frame.loc[:, (slice(None), "APPL")] = np.nan
    package.answer = frame
    source = yfinance(["AAPL", "APPL", "GONE"])
    assert source.symbols == ("AAPL",)
    assert source.warnings[0].startswith("yfinance: nothing came for APPL, GONE: the ticker may be written otherwise")


@pytest.mark.parametrize("answer", [None, pd.DataFrame(), table(DAYS[:0], "AAPL")], ids=["none", "empty", "no rows"])
def test_a_download_of_nothing_is_an_error(package: Any, answer: Any) -> None:
    package.answer = answer
    with pytest.raises(DataError, match="nothing came for AAPL\nlook at how Yahoo writes the ticker"):
        yfinance("AAPL")


def test_a_download_that_fails_says_why(package: Any) -> None:
    package.answer = ConnectionError("too many requests\nmore")
    with pytest.raises(DataError, match="the download failed: ConnectionError: too many requests"):
        yfinance("AAPL")


def test_a_day_that_has_not_ended_is_left_out(package: Any) -> None:
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    package.answer = table(pd.date_range(end=today + pd.Timedelta(days=1), periods=30, name="Date"), "BTC-USD")
    source = yfinance("BTC-USD")
    assert "has not ended, and is left out" in source.warnings[0]
    now = pd.Timestamp.now("UTC").timestamp() * 1000
    last = int(source._of("BTC-USD").timestamp[-1])
    assert last + (24 + 6) * 3_600_000 <= now
    assert source.describe("BTC-USD") == ", adjusted for splits by Yahoo"


@pytest.mark.parametrize("times", [pd.date_range("2024-03-08 14:30", periods=30, freq="5min"), DAYS[:1]])
def test_bars_of_another_length_are_refused(package: Any, times: pd.DatetimeIndex) -> None:
    package.answer = table(times, "AAPL")
    with pytest.raises(DataError, match="were asked for, and what came are bars of"):
        yfinance("AAPL", interval="1d" if len(times) == 1 else "1m")


def test_minutes_come_in_the_zone_of_the_exchange(package: Any) -> None:
    times = pd.date_range("2024-03-08 09:30", periods=30, freq="min", tz="America/New_York", name="Datetime")
    package.answer = table(times, "AAPL")
    source = yfinance("AAPL", interval="1m", start="2024-03-08")
    assert int(source._of("AAPL").timestamp[0]) == 1_709_908_200_000  # 14:30 UTC
    assert source.base_interval == "1m"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"symbols": ""}, "symbols must be tickers such as 'AAPL'"),
        ({"symbols": ["AAPL", 3]}, "symbols must be tickers"),
        ({"symbols": 5}, "symbols must be tickers"),
        ({"symbols": "AAPL", "interval": "1mo"}, "interval must be one of 1m, 5m, 15m, 30m, 1h, 1d, 1wk, got '1mo'"),
        ({"symbols": "AAPL", "period": "5y", "start": "2020-01-01"}, "give start and end, or period; not both"),
    ],
)
def test_what_cannot_be_asked_for(package: Any, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        yfinance(**arguments)
    assert package.asked == []


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(MissingDependency, match=r"pip install 'bknb\[yfinance\]'"):
        yfinance("AAPL")
