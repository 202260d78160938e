"""``stamp="close"`` for daily bars of markets without declared sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.exchanges import from_csv, from_frame

DAY = 86_400_000


def table(index: pd.DatetimeIndex) -> pd.DataFrame:
    close = 100.0 + np.arange(len(index)) % 7
    return pd.DataFrame(
        {"Open": close, "High": close + 1, "Low": close - 1, "Close": close, "Volume": 1e6}, index=index.rename("Date")
    )


def days_of(source: Any) -> list[str]:
    times = asyncio.run(source.get_candles("X", "1d", 1_704_067_200_000, 1000)).timestamp
    assert not (times % DAY).any()
    return [str(np.datetime64(each, "ms"))[:10] for each in times.tolist()]


WORKING = pd.date_range("2024-02-26", periods=25, freq="B")  # over the change of the clocks in New York
ALL = pd.date_range("2024-02-26", periods=25, freq="D")


@pytest.mark.parametrize(
    ("dates", "hour", "zone"),
    [
        (WORKING, "16:00", "America/New_York"),
        (WORKING, "17:00", "America/New_York"),
        (WORKING, "15:00", "Asia/Tokyo"),
        (WORKING, "16:30", "Europe/London"),
        (WORKING, "16:00", "Australia/Sydney"),
        (ALL, "12:00", "UTC"),
        (ALL, "23:59:59.999", "UTC"),
    ],
)
def test_daily_bars_stamped_at_their_close_are_known_once_they_have_closed(
    dates: pd.DatetimeIndex, hour: str, zone: str
) -> None:
    closes = (dates + pd.Timedelta(hour if hour.count(":") == 2 else f"{hour}:00")).tz_localize(zone)
    source = from_frame(table(closes), symbol="X", stamp="close")
    assert days_of(source) == [str(day)[:10] for day in dates]
    ends = np.array([(pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)) for day in days_of(source)])
    assert (ends >= closes.tz_convert("UTC").ceil("min")).all()


def test_a_close_at_midnight_is_that_of_the_day_before(tmp_path: Path) -> None:
    path = tmp_path / "days.csv"
    table(ALL + pd.Timedelta(days=1)).to_csv(path)
    source = from_csv(path, symbol="X", stamp="close")
    assert days_of(source) == [str(day)[:10] for day in ALL]
    assert any("stamped 00:00 UTC are taken for those of the day before" in text for text in source.warnings)


def test_a_close_at_midnight_of_working_days_is_that_of_the_day_before() -> None:
    source = from_frame(table(WORKING + pd.Timedelta(days=1)), symbol="X", stamp="close")
    assert days_of(source) == [str(day)[:10] for day in WORKING]


def test_dates_are_no_closes() -> None:
    with pytest.raises(bknb.UsageError, match="would be those of Sunday to Thursday\nthey bear the dates"):
        from_frame(table(WORKING), symbol="X", stamp="close")


def test_bars_of_several_days_have_no_such_stamp() -> None:
    with pytest.raises(
        bknb.UsageError, match='stamp="close" is for candles of up to a day or a week, and these are 3 d long'
    ):
        from_frame(table(pd.date_range("2024-01-01", periods=20, freq="3D")), symbol="X", stamp="close")


def test_a_run_sees_a_daily_bar_after_its_close() -> None:
    closes = (WORKING + pd.Timedelta(hours=15)).tz_localize("Asia/Tokyo")
    seen = []

    def get_signal(ctx: Any) -> None:
        seen.append((ctx.when, closes[len(seen) + 5]))

    source = from_frame(table(closes), symbol="X", stamp="close")
    result = bknb.backtest("X", strategy=get_signal, exchange=source, frame=("2024-03-05", "2024-03-28"))
    assert result.errors == []
    assert len(seen) > 10
    assert all(when >= closed for when, closed in seen)
