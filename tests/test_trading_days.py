"""Daily bars: the day each belongs to, beside others in one table, and the days on which a market trades."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.domain.interval import DAY_MS
from bknb.exchanges import from_frame
from bknb.market.sessions import Sessions


def bars_at(index: Any) -> pd.DataFrame:
    """Bars at these times, with closes that go round."""
    close = 100.0 + np.arange(len(index)) % 7
    return pd.DataFrame(
        {"open": close, "high": close + 2, "low": close - 1, "close": close, "volume": 1e6}, index=index
    )


def table(**symbols: pd.DataFrame) -> pd.DataFrame:
    """The bars of several symbols in one table."""
    parts = [bars.assign(symbol=symbol) for symbol, bars in symbols.items()]
    return pd.concat(parts).rename_axis("date").reset_index()


def business(count: int = 250, start: str = "2024-01-01") -> pd.DatetimeIndex:
    """Business days at UTC midnight."""
    return pd.date_range(start, periods=count, freq="B", tz="UTC")


def quiet(source: Any, symbol: str = "X", frame: Any = ("2024-01-12", "2024-06-01")) -> Any:
    """A run that asks and does nothing."""
    return bknb.backtest(symbol, strategy=lambda: None, exchange=source, frame=frame, settings={"count_tries": False})


# --- which day ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [5, 16])
def test_symbols_whose_days_begin_at_different_times_are_refused(cut: int) -> None:
    """Beside each other one would be known before it is over: a random walk made 253 % so."""
    every = pd.date_range("2024-01-01", periods=90, freq="D", tz="UTC")
    given = table(A=bars_at(every + pd.Timedelta(hours=cut)), B=bars_at(every))
    with pytest.raises(
        bknb.UsageError, match=f"frame, A has days that begin at {cut:02d}:00 UTC, and frame, B .* 00:00"
    ):
        from_frame(given)


def test_of_several_symbols_any_two_that_differ_are_refused() -> None:
    every = pd.date_range("2024-01-01", periods=90, freq="D", tz="UTC")
    given = table(**{name: bars_at(every + pd.Timedelta(hours=at)) for name, at in (("A", 4), ("B", 5), ("C", 3))})
    with pytest.raises(bknb.UsageError, match=r"frame, B has days that begin at 05:00 UTC, and frame, C .* 03:00"):
        from_frame(given)


def test_symbols_of_one_zone_bear_the_same_days_over_the_change_of_clocks() -> None:
    index = pd.date_range("2024-01-01", periods=250, freq="B", tz="America/New_York")
    source = from_frame(table(A=bars_at(index[:30]), B=bars_at(index[120:]), C=bars_at(index)))
    assert all(not (source._of(name).timestamp % DAY_MS).any() for name in "ABC")
    assert set(source._of("A").timestamp) | set(source._of("B").timestamp) <= set(source._of("C").timestamp)


@pytest.mark.parametrize(
    ("zone", "clock", "sessions"),
    [
        ("America/New_York", "09:30", "us-equities"),  # its open
        ("America/New_York", "16:00", "us-equities"),  # its close
        ("America/New_York", "00:00", "us-equities"),
        ("Asia/Tokyo", "00:00", Sessions.weekly("Asia/Tokyo", {"mon-fri": "09:00-15:00"})),
        ("Asia/Tokyo", "15:00", Sessions.weekly("Asia/Tokyo", {"mon-fri": "09:00-15:00"})),
        ("Pacific/Auckland", "00:00", Sessions.weekly("Pacific/Auckland", {"mon-fri": "10:00-16:45"})),
    ],
)
def test_with_sessions_days_may_bear_their_midnight_their_open_or_their_close(
    zone: str, clock: str, sessions: Any
) -> None:
    hours = int(clock[:2]) * 60 + int(clock[3:])
    index = pd.date_range("2024-01-02", periods=120, freq="B", tz=zone)
    stamps = [pd.Timestamp(f"{day:%Y-%m-%d}", tz=zone) + pd.Timedelta(minutes=hours) for day in index]
    source = from_frame(bars_at(pd.DatetimeIndex(stamps)), sessions=sessions)
    labels = pd.to_datetime(source._of("X").timestamp, unit="ms")
    assert [f"{day:%Y-%m-%d}" for day in labels] == [f"{day:%Y-%m-%d}" for day in index]
    told = [note for note in source.warnings if "bear the close of their session" in note]
    assert len(told) == (clock in ("15:00", "16:00"))


def test_days_of_a_market_that_opens_in_the_evening_bear_the_day_they_mostly_are() -> None:
    fx = [pd.Timestamp(f"2024-01-{day:02d} 17:00", tz="America/New_York") for day in (7, 8, 9, 10, 11, 14, 15, 16)]
    source = from_frame(bars_at(pd.DatetimeIndex(fx)), sessions="fx")
    assert [str(day)[:10] for day in pd.to_datetime(source._of("X").timestamp[:6], unit="ms")] == [
        *(f"2024-01-{day:02d}" for day in (8, 9, 10, 11, 12)),
        "2024-01-15",
    ]


def test_symbols_of_a_market_with_sessions_may_bear_different_times() -> None:
    dates = pd.date_range("2024-01-02", periods=60, freq="B")
    given = table(
        A=bars_at(dates.tz_localize("America/New_York").tz_convert("UTC")), B=bars_at(dates.tz_localize("UTC"))
    )
    source = from_frame(given, sessions="us-equities")
    assert source._of("A").timestamp.tolist() == source._of("B").timestamp.tolist()


def test_what_was_decided_about_the_days_of_a_table_is_told_once() -> None:
    index = pd.date_range("2024-01-02 16:00", periods=40, freq="B", tz="America/New_York")
    source = from_frame(table(**{name: bars_at(index) for name in "ABCDE"}))
    assert [note.splitlines()[0] for note in source.warnings] == [
        "frame: daily bars stamped 21:00 UTC are taken for those of the next UTC date"
    ]


# --- which days are there -------------------------------------------------------------------------------------------


def test_each_symbol_of_a_table_has_days_of_its_own() -> None:
    """Shares beside a market that never closes, and two markets with holidays of their own."""
    every = pd.date_range("2024-01-01", periods=350, freq="D", tz="UTC")
    new_york, tokyo = business().drop(business()[[10, 35]]), business().drop(business()[[5, 30, 44]])
    source = from_frame(table(S=bars_at(new_york), T=bars_at(tokyo), C=bars_at(every)))
    assert {symbol: quiet(source, symbol).account["days_a_year"] for symbol in "STC"} == {"S": 252, "T": 252, "C": 365}
    assert len(quiet(source, "C").candles) == 142
    assert [note.partition(" without")[0] for note in source.warnings] == [
        "frame, S: 2 working days",
        "frame, T: 3 working days",
    ]
    with pytest.raises(bknb.GapError, match="1 candles are missing"):
        quiet(from_frame(table(S=bars_at(business()), C=bars_at(every.drop(every[60])))), "C")


def test_another_symbol_is_seen_over_its_own_days() -> None:
    every = pd.date_range("2024-01-01", periods=200, freq="D", tz="UTC")
    source = from_frame(table(S=bars_at(business(140)), C=bars_at(every)))
    seen: dict[str, list[int]] = {}

    def look(ctx: Any) -> None:
        for symbol in "SC":
            times = ctx.get_candles(symbol, "1d", 3).timestamp
            seen.setdefault(symbol, []).append(int(ctx.when_ms - times[0]) // DAY_MS)

    options: dict[str, Any] = {
        "exchange": source,
        "frame": ("2024-02-01", "2024-03-01"),
        "settings": {"count_tries": False},
    }
    assert not bknb.backtest("C", strategy=look, **options).errors
    assert set(seen["C"]) == {3}
    assert set(seen["S"]) == {3, 4, 5}  # on a Saturday Wednesday to Friday, on a Sunday a day further


def test_days_of_special_trading_on_weekends_are_days() -> None:
    days = business().union(pd.DatetimeIndex(["2024-03-02", "2024-05-19"], tz="UTC"))
    source = from_frame(bars_at(days))
    assert source.warnings == ()
    assert len(quiet(source).candles) == 101 + 2


def test_holidays_of_a_week_and_a_day_are_holidays() -> None:
    spring = pd.date_range("2024-02-09", "2024-02-16", freq="B", tz="UTC")
    source = from_frame(bars_at(business().drop(spring)))
    assert "6 working days without a bar are taken for holidays" in source.warnings[0]
    assert len(quiet(source).candles) == 101 - 6


def test_more_absent_days_than_a_market_has_holidays_are_holes_and_the_way_out_is_told() -> None:
    kept = np.random.default_rng(0).random(250) > 0.2
    kept[:10] = True
    source = from_frame(bars_at(business()[kept]))
    assert source.warnings == ()
    with pytest.raises(bknb.GapError, match=r"\n.*told where the bars are read: sessions="):
        quiet(source)


def test_bars_of_three_days_have_no_trading_days() -> None:
    times = pd.to_datetime(np.arange(6600, 6609) * 3 * DAY_MS, unit="ms", utc=True)
    source = from_frame(bars_at(times.delete(4)))
    assert (source.base_interval, source.sessions, source.warnings) == ("3d", None, ())


def test_a_stray_row_among_longer_bars_is_refused() -> None:
    hours = pd.date_range("2024-01-01", periods=200, freq="h", tz="UTC")
    given = bars_at(hours.union(pd.DatetimeIndex(["2024-01-05 03:07"], tz="UTC")))
    with pytest.raises(
        bknb.DataError, match=r"bars of one length are needed, got candles spaced 1h(?s:.*)leave out the rows"
    ):
        from_frame(given)


def test_bars_that_never_end_while_their_market_is_open_are_refused() -> None:
    halves = pd.date_range("2024-01-01", periods=300, freq="12h", tz="UTC")
    with pytest.raises(bknb.UsageError, match="no 12h bar of X ends while its market is open"):
        quiet(from_frame(bars_at(halves), sessions="us-equities"), frame=("2024-01-12", "2024-03-01"))
