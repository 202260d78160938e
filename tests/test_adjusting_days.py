"""Splits and dividends of daily bars: each counts from the bar of its date on, whatever zone either is written in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bknb
from bknb.errors import UsageError
from bknb.exchanges.from_csv_frame_and_parquet import from_frame

DATES = pd.bdate_range("2024-05-01", "2024-07-31", name="Date")
DAY = "2024-06-10"


def shares(*, split: float = 1.0, dividend: float = 1.0) -> pd.DataFrame:
    """Days at 100, from the one of the dividend on so much lower, and so many times cheaper."""
    frame = pd.DataFrame({"Open": 100.0, "High": 101.0, "Low": 99.0, "Close": 100.0, "Volume": 1e6}, index=DATES)
    prices = ["Open", "High", "Low", "Close"]
    frame.loc[DAY:, prices] = (frame.loc[DAY:, prices] / split - dividend).to_numpy()
    return frame


def stamped(zone: str | None = None, hours: str = "0h", *, seen_in: str | None = None) -> pd.DataFrame:
    frame = shares()
    frame.index = frame.index.tz_localize(zone) + pd.Timedelta(hours)
    return frame if seen_in is None else frame.tz_convert(seen_in)


def paid(zone: str | None = None, *, seen_in: str | None = None) -> pd.DataFrame:
    dates = pd.DatetimeIndex([DAY], name="date").tz_localize(zone)
    return pd.DataFrame({"dividends": [1.0]}, index=dates if seen_in is None else dates.tz_convert(seen_in))


NEW_YORK, TOKYO, BERLIN = "America/New_York", "Asia/Tokyo", "Europe/Berlin"
TEXT = ["2024-02-09 00:00:00-05:00", f"{DAY} 00:00:00-04:00"]  # a column of yfinance that was saved


@pytest.mark.parametrize(
    ("frame", "adjust", "options"),
    [
        (stamped(), paid(), {}),
        (stamped(), paid(NEW_YORK), {}),  # yf.download beside yf.Ticker(...).dividends
        (stamped(), paid(TOKYO), {}),
        (stamped(), paid(BERLIN), {"sessions": "XETR"}),
        (stamped(), paid(NEW_YORK), {"sessions": "us-equities"}),
        (stamped(), paid(), {"tz": NEW_YORK}),
        (stamped(), paid(), {"tz": TOKYO}),
        (stamped(NEW_YORK), paid(), {}),
        (stamped(NEW_YORK), paid(NEW_YORK), {}),
        (stamped(TOKYO), paid(), {}),
        (stamped(TOKYO), paid(NEW_YORK), {}),
        (stamped(TOKYO), paid(TOKYO), {"sessions": "XTKS"}),
        (stamped(TOKYO), paid(), {"sessions": "XTKS"}),
        (stamped(BERLIN), paid(), {}),
        (stamped(BERLIN), paid("UTC"), {}),
        (stamped(BERLIN, seen_in="UTC"), paid(BERLIN, seen_in="UTC"), {}),
        (stamped(NEW_YORK, "9h30min"), paid(NEW_YORK), {"sessions": "us-equities"}),
        (stamped(NEW_YORK, "16h"), paid(NEW_YORK), {"sessions": "us-equities", "stamp": "close"}),
        (stamped(NEW_YORK, "16h"), paid(NEW_YORK), {"stamp": "close"}),
        (stamped(TOKYO, "15h"), paid(), {"stamp": "close"}),
        (stamped(), pd.DataFrame({"date": TEXT, "dividends": [0.0, 1.0]}), {}),
        (stamped(), pd.DataFrame({"date": [pd.Timestamp(each) for each in TEXT], "dividends": [0.0, 1.0]}), {}),
        (stamped(), pd.DataFrame({"date": [1_718_026_200], "dividends": [1.0]}), {}),  # 13:30 UTC, as Yahoo's own
    ],
)
def test_over_daily_bars_the_date_counts_as_it_is_written(frame: Any, adjust: Any, options: Any) -> None:
    source = from_frame(frame, symbol="S", adjust=adjust, **options)
    candles = asyncio.run(source.get_candles("S", "1d", 1_714_521_600_000, 100))
    assert len(candles) == len(DATES)
    assert candles.close.tolist() == pytest.approx([99.0] * len(DATES))
    assert source.adjustments["S"].steps[0].before == 1_717_977_600_000  # from which the bar of the date opens


def test_a_split_and_a_dividend_of_one_day_are_told_apart_by_a_minute() -> None:
    """As the message about two of one moment advises."""
    adjust = pd.DataFrame({"date": [DAY, f"{DAY} 00:01"], "splits": [2.0, 0.0], "dividends": [0.0, 1.0]})
    source = from_frame(shares(split=2.0), symbol="S", adjust=adjust)
    candles = asyncio.run(source.get_candles("S", "1d", 1_714_521_600_000, 100))
    assert candles.close.tolist() == pytest.approx([49.0] * len(DATES))


def test_adjusted_candles_are_in_no_store(tmp_path: Path) -> None:
    """The next dividend would change those that are stored, and the ones that follow would not fit them."""
    source = from_frame(shares(), symbol="S", adjust=paid())
    with pytest.raises(UsageError, match=r"'frame' is adjusted .*\ngive the source itself to the run"):
        bknb.exchanges.stored(source, folder=tmp_path)
    with pytest.raises(UsageError, match=r"'frame' is adjusted "):
        bknb.download("S", exchange=source, frame=("2024-06-03", "2024-06-20"), folder=tmp_path)
    bknb.exchanges.stored(from_frame(shares(), symbol="S", adjust=paid()[:0]), folder=tmp_path)


def test_a_run_is_told_how_the_symbols_it_reads_were_adjusted() -> None:
    both = pd.concat([shares().assign(symbol="AAA"), shares().assign(symbol="BBB")])
    source = from_frame(both, adjust=paid().assign(symbol="BBB"))
    other = []

    def get_signal(ctx: Any) -> None:
        if len(other) == 1:
            bknb.get_candles("AAA", "1d", 3)

    told = []
    for symbol in ("AAA", "BBB", "BBB"):
        found = bknb.backtest(symbol, strategy=get_signal, exchange=source, frame=("2024-06-03", "2024-06-20"))
        told.append([str(note) for note in found.warnings if "adjusted" in note])
        other.append(symbol)
    nothing, dividend = "frame, AAA: adjusted for no split and no dividend", "frame, BBB: adjusted for 1 dividend: "
    assert [len(notes) for notes in told] == [1, 2, 1]
    assert told[0] == [nothing]
    assert told[2][0].startswith(dividend)


def test_adjusted_candles_are_audited_where_they_are() -> None:
    minutes = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0),
        index=pd.date_range("2024-06-10", periods=600, freq="min", name="time"),
    )
    minutes.loc["2024-06-10 05:00":, ["open", "high", "low", "close"]] = 25.0
    split = pd.DataFrame({"date": ["2024-06-10 05:00"], "splits": [4.0]})
    holes = from_frame(minutes.drop(minutes.index[400:403]), symbol="S", adjust=split)
    range_ = {"start": "2024-06-10 01:00", "end": "2024-06-10 10:00"}
    found = bknb.audit("S", exchange=holes, **range_)
    assert [(one.kind, one.when) for one in found.findings] == [("absent", 1_717_977_600_000 + 400 * 60_000)]
    days = bknb.audit(
        "S", exchange=from_frame(shares(), symbol="S", adjust=paid()), start="2024-05-05", end="2024-07-01"
    )
    assert [one for one in days.findings if one.kind == "absent"] == []  # weekends are no holes
