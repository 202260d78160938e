"""Markets that close: at night, at the weekend, on holidays, with the clocks of their own city."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quick import first_quick

import bknb
from bknb.config import Settings
from bknb.engine.plan import plan_backtest
from bknb.errors import GapError, UnknownName, UsageError
from bknb.exchanges.dataframe_source import FrameSource
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.market.feed import Feed
from bknb.market.resample import resample, resample_plainly
from bknb.market.sessions import Sessions, as_sessions
from bknb.market.us_holidays import us_closed_days, us_short_days
from bknb.sweeps.prepared_candles import prepare

MINUTE = 60_000
HOUR = 60 * MINUTE


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


FX = as_sessions("fx")
US = as_sessions("us-equities")
assert FX is not None
assert US is not None
LUNCH = Sessions.weekly("Asia/Tokyo", {"mon-fri": "09:00-11:30, 12:30-15:00"}, short={"2024-12-30": "10:00"})


# --- when is it open? ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sessions", "moment", "is_open"),
    [
        (FX, "2024-01-05 21:59", True),  # Friday, 16:59 in New York
        (FX, "2024-01-05 22:00", False),
        (FX, "2024-01-07 21:59", False),
        (FX, "2024-01-07 22:00", True),  # Sunday, 17:00
        (FX, "2024-07-05 20:59", True),  # in summer an hour earlier
        (FX, "2024-07-05 21:00", False),
        (US, "2024-01-05 14:29", False),
        (US, "2024-01-05 14:30", True),
        (US, "2024-01-05 20:59", True),
        (US, "2024-01-05 21:00", False),
        (US, "2024-07-05 13:30", True),
        (US, "2024-03-08 14:30", True),  # the last day of winter time ...
        (US, "2024-03-11 13:30", True),  # ... and the first of summer time
        (US, "2024-03-11 20:00", False),
        (US, "2024-07-04 15:00", False),
        (US, "2024-11-29 17:59", True),  # the day after Thanksgiving ends at 13:00
        (US, "2024-11-29 18:00", False),
        (LUNCH, "2024-01-05 02:29", True),
        (LUNCH, "2024-01-05 02:30", False),
        (LUNCH, "2024-01-05 03:30", True),
        (LUNCH, "2024-12-30 00:59", True),
        (LUNCH, "2024-12-30 01:00", False),
    ],
)
def test_hours_follow_the_clock_of_the_market(sessions: Sessions, moment: str, is_open: bool) -> None:  # noqa: FBT001
    assert sessions.is_open(ms(moment)) is is_open


def plainly_open(sessions: Sessions, moment: int) -> bool:
    """The definition: read the wall clock there."""
    there = datetime.fromtimestamp(moment / 1000, ZoneInfo(sessions.zone))
    minute = there.hour * 60 + there.minute
    closed, short = set(sessions.closed), dict(sessions.short)
    if sessions.holidays == "us":
        closed, short = closed | us_closed_days(there.year), {**us_short_days(there.year), **short}
    if there.date() in closed or minute >= short.get(there.date(), 1440):
        return False
    return any(first <= minute < end for first, end in sessions.hours[there.weekday()])


@pytest.mark.parametrize("sessions", [FX, US, LUNCH], ids=["fx", "us", "lunch"])
@given(st.integers(ms("2019-12-28 00:00") // MINUTE, ms("2026-01-05 00:00") // MINUTE), st.integers(1, 3000))
def test_minutes_are_counted_as_the_wall_clock_says(sessions: Sessions, first: int, count: int) -> None:
    moments = [(first + n) * MINUTE for n in range(0, count, 7)]
    assert sessions.mask(np.array(moments)).tolist() == [plainly_open(sessions, moment) for moment in moments]
    starts = np.arange(first, first + count, 60) * MINUTE
    counted = sessions.open_minutes(starts, HOUR)
    at = len(starts) // 2
    assert counted[at] == sum(plainly_open(sessions, int(starts[at]) + n * MINUTE) for n in range(60))


@pytest.mark.parametrize("change", ["2024-03-10", "2024-11-03", "2023-03-26", "2023-10-29"])
def test_every_minute_around_a_change_of_the_clocks(change: str) -> None:
    around = np.arange(ms(change) - 36 * HOUR, ms(change) + 60 * HOUR, MINUTE)
    always = Sessions.weekly("Europe/London", {"mon-sun": "00:00-24:00"})
    assert always.mask(around).all()
    for sessions in (FX, Sessions.weekly("Europe/Berlin", {"mon-sun": "01:30-03:30"})):
        assert sessions.mask(around).tolist() == [plainly_open(sessions, int(moment)) for moment in around]


def test_known_holidays() -> None:
    def days(year: int) -> list[str]:
        return sorted(day.strftime("%m-%d") for day in us_closed_days(year))

    # as published by the exchange
    assert days(2024) == [
        "01-01", "01-15", "02-19", "03-29", "05-27", "06-19", "07-04", "09-02", "11-28", "12-25",
    ]  # fmt: skip
    assert days(2022) == ["01-17", "02-21", "04-15", "05-30", "06-20", "07-04", "09-05", "11-24", "12-26"]
    assert days(2021) == ["01-01", "01-18", "02-15", "04-02", "05-31", "07-05", "09-06", "11-25", "12-24"]
    assert days(2025) == [
        "01-01", "01-09", "01-20", "02-17", "04-18", "05-26", "06-19", "07-04", "09-01", "11-27", "12-25",
    ]  # fmt: skip
    assert sorted(us_short_days(2021)) == [date(2021, 11, 26)]
    assert sorted(us_short_days(2023)) == [date(2023, 7, 3), date(2023, 11, 24)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Sessions.weekly("New York", {"mon": "09:30-16:00"}), "unknown time zone"),
        (lambda: Sessions.weekly("UTC", {"monday": "09:30-16:00"}), "days are written"),
        (lambda: Sessions.weekly("UTC", {"mon": "9-17"}), "hours are written"),
        (lambda: Sessions.weekly("UTC", {"mon": "16:00-09:30"}), "must end after they begin"),
        (lambda: Sessions.weekly("UTC", {}), "need hours"),
        (lambda: Sessions.weekly("UTC", {"mon": "09:30-16:00"}, closed=["Christmas"]), "a day is written"),
    ],
)
def test_wrong_use_is_reported(wrong: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        wrong()
    with pytest.raises(UnknownName, match="did you mean 'us-equities'"):
        as_sessions("us-equity")


# --- candles -------------------------------------------------------------------------------------------------------


def market(sessions: Sessions, first: str, end: str, *, without: tuple[str, ...] = ()) -> Candles:
    """The demo market as far as it is open."""
    since, until = ms(first), ms(end)
    candles = asyncio.run(DemoSource().get_candles("EURUSD", "1m", since, (until - since) // MINUTE))
    keep = sessions.mask(candles.timestamp) & ~np.isin(candles.timestamp, [ms(text) for text in without])
    return Candles(candles.block[:, np.flatnonzero(keep)])


def fetched(source: Any, first: str, end: str, interval: str = "1m") -> tuple[Candles, list[str]]:
    notes: list[str] = []
    feed = Feed(source, Settings(), warn=notes.append)
    return asyncio.run(feed.fetch("EURUSD", interval, ms(first), ms(end))), notes


@pytest.mark.parametrize(("sessions", "name"), [(FX, "fx"), (US, "us-equities")])
def test_a_closed_market_is_no_gap(sessions: Sessions, name: str) -> None:
    candles = market(sessions, "2024-03-01 00:00", "2024-03-20 00:00")
    frame = candles.to_pandas()
    got, notes = fetched(bknb.exchanges.from_frame(frame, sessions=name), "2024-03-01 00:00", "2024-03-20 00:00")
    assert got == candles
    assert notes == []
    with pytest.raises(GapError):
        fetched(bknb.exchanges.from_frame(frame), "2024-03-01 00:00", "2024-03-20 00:00")


def test_a_minute_that_is_missing_while_it_is_open_is_a_gap() -> None:
    candles = market(FX, "2024-03-01 00:00", "2024-03-06 00:00", without=("2024-03-04 10:30",))
    with pytest.raises(GapError, match="1 candles are missing: 2024-03-04 10:30 UTC"):
        fetched(FrameSource(candles, sessions=FX), "2024-03-01 00:00", "2024-03-06 00:00")


def test_a_candle_of_a_closed_market_is_left_out_and_told() -> None:
    candles = asyncio.run(DemoSource().get_candles("EURUSD", "1m", ms("2024-03-01 00:00"), 5 * 1440))
    got, notes = fetched(FrameSource(candles, sessions=FX), "2024-03-01 00:00", "2024-03-06 00:00")
    assert got == market(FX, "2024-03-01 00:00", "2024-03-06 00:00")
    assert len(notes) == 1
    assert "left out, outside the trading sessions: 2880 candles, the first at 2024-03-01 22:00 UTC" in notes[0]


@pytest.mark.slow
def test_a_run_tells_once_for_each_symbol_how_many_candles_were_left_out() -> None:
    """Its strategy looks further and further back, and each stretch holds candles of closed hours."""
    given = asyncio.run(DemoSource().get_candles("EURUSD", "1m", ms("2024-02-20 00:00"), 20 * 1440))
    source = FrameSource({"EURUSD": given, "GBPUSD": given}, sessions=FX)

    def get_signal(ctx: Any) -> None:
        ctx.candles("1h", 4 + 10 * ctx.when.hour)
        bknb.get_candles("GBPUSD", "1m", 300 * (1 + ctx.when.hour))

    run = {"strategy": get_signal, "interval": "1h", "exchange": source, "frame": ("2024-03-05", "2024-03-05 20:00")}
    result = bknb.backtest("EURUSD", **run)
    told = [text for text in result.warnings if "left out, outside the trading sessions" in text]
    assert [text.split()[0] for text in told] == ["EURUSD", "GBPUSD"]
    count, first = told[0].split("sessions: ")[1].removesuffix(" UTC").split(" candles, the first at ")
    closed = [t for t in given.timestamp.tolist() if ms(first) <= t < ms("2024-03-05 20:00") and not FX.is_open(t)]
    assert int(count) == len(closed) > 2880  # two weekends, of which the strategy looks back at one after the other

    notes: list[str] = []
    plan = plan_backtest("EURUSD", lambda candles: None, source, run["frame"], "1h")
    asyncio.run(prepare(plan, notes.append))  # for a sweep
    assert sum("left out, outside" in text for text in notes) == 1


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["5m", "30m", "1h", "4h", "1d"])
@pytest.mark.parametrize("sessions", [FX, US, LUNCH], ids=["fx", "us", "lunch"])
def test_a_longer_candle_needs_the_open_minutes_only(sessions: Sessions, interval: str) -> None:
    span = ("2024-02-28 00:00", "2024-03-05 00:00")
    candles = market(sessions, *span, without=("2024-03-04 15:00",))
    known = {"since": ms(span[0]), "until": ms(span[1]), "sessions": sessions}
    made = resample(candles, interval, **known)  # type: ignore[arg-type]
    assert made == resample_plainly(candles, interval, **known)  # type: ignore[arg-type]
    days = {str(np.datetime64(int(time), "ms"))[:10] for time in made.timestamp}
    assert "2024-02-29" in days
    if interval == "1d" and sessions is not LUNCH:
        assert "2024-03-04" not in days


@given(st.integers(0, 20 * 1440), st.sampled_from([MINUTE, 5 * MINUTE, HOUR, 24 * HOUR]), st.integers(1, 400))
def test_looking_back_finds_that_many_candles(minutes: int, step: int, count: int) -> None:
    when = ms("2024-03-01 00:00") + minutes * MINUTE
    since = US.reach_back(when, step, count)
    slots = np.arange(since, when - when % step, step)
    open_slots = slots[US.open_minutes(slots, step) > 0]
    assert len(open_slots) == count
    assert open_slots[0] == since


# --- a run ---------------------------------------------------------------------------------------------------------


def asked_moments(sessions: Sessions, interval: str, frame: tuple[str, str], **more: Any) -> list[datetime]:
    seen: list[datetime] = []

    def get_signal(ctx: Any) -> None:
        seen.append(ctx.when)
        assert len(ctx.candles("1m", 300)) == 300

    early = (datetime.fromisoformat(frame[0]) - timedelta(days=12)).isoformat()
    late = (datetime.fromisoformat(frame[1]) + timedelta(days=1)).isoformat()
    source = FrameSource(market(sessions, early, late), sessions=sessions)
    strategy = bknb.add_strategy("watch", interval=interval, get_signal=get_signal)
    result = bknb.backtest("EURUSD", strategy=strategy, exchange=source, frame=frame, **more)
    assert result.warnings == []
    assert result.errors == []
    return seen


def test_nothing_is_asked_while_the_market_is_closed() -> None:
    seen = asked_moments(FX, "15m", ("2024-03-08", "2024-03-11"))
    assert all(FX.is_open(int(when.timestamp() * 1000)) for when in seen)
    after = [when for when in seen if when >= datetime(2024, 3, 9, tzinfo=UTC)]
    # the clocks change that Sunday: 17:00 in New York is 21:00 UTC; the first price of the week is five minutes later
    assert after[0] == datetime(2024, 3, 10, 21, 5, tzinfo=UTC)
    assert after[1] == datetime(2024, 3, 10, 21, 15, tzinfo=UTC)
    assert len(asked_moments(US, "1h", ("2024-03-07", "2024-03-12"))) == 2 * 7 + 7


def test_a_daily_strategy_is_asked_once_each_open_day() -> None:
    seen = asked_moments(US, "1d", ("2024-03-07", "2024-03-13"))
    assert [when.strftime("%a %H:%M") for when in seen] == [
        "Thu 14:30", "Fri 14:30", "Mon 13:30", "Tue 13:30",
    ]  # fmt: skip


@pytest.mark.parametrize("execution", first_quick(["pessimistic", "touch", "vwap"]))
def test_nothing_is_filled_while_closed_and_the_next_candle_is_a_gap_open(execution: str) -> None:
    friday, sunday = ms("2024-01-05 21:59"), ms("2024-01-07 22:00")
    rows = []
    for moment in range(ms("2024-01-05 20:00"), ms("2024-01-08 00:00"), MINUTE):
        if FX.is_open(moment):
            price = 100.0 if moment <= friday else 90.0  # it opens far below the stop
            rows.append((moment, price, price + 0.05, price - 0.05, price, 10.0))
    source = FrameSource(Candles.from_rows(rows), sessions="fx")

    def get_signal(ctx: Any) -> Any:
        if ctx.when < datetime(2024, 1, 5, 21, tzinfo=UTC) or ctx.when > datetime(2024, 1, 6, tzinfo=UTC):
            return None
        return bknb.Signal(position="long", price_take_profit=103.0, price_stop_loss=98.0, minute_estimated_time=1440)

    strategy = bknb.add_strategy("hold", interval="1h", get_signal=get_signal)
    frame = ("2024-01-05 20:30", "2024-01-07 23:30")
    result = bknb.backtest("EURUSD", strategy=strategy, exchange=source, frame=frame, execution=execution)
    trade = result.trades.iloc[0]
    assert int(trade["closed_at"].timestamp() * 1000) >= sunday
    if execution == "pessimistic":
        # The time ran out on Saturday: the first candle after it decides, and there the deadline comes first.
        assert trade["close_reason"] == "time_expired"
    assert all(FX.is_open(int(moment.timestamp() * 1000)) for moment in result.trades["closed_at"])


@pytest.mark.slow
def test_a_stop_is_filled_at_the_open_after_the_weekend() -> None:
    rows = []
    for moment in range(ms("2024-01-05 20:00"), ms("2024-01-08 00:00"), MINUTE):
        if FX.is_open(moment):
            price = 100.0 if moment < ms("2024-01-06 00:00") else 90.0
            rows.append((moment, price, price + 0.05, price - 0.05, price, 10.0))

    def get_signal(ctx: Any) -> Any:
        if ctx.when > datetime(2024, 1, 6, tzinfo=UTC):
            return None
        return bknb.Signal(position="long", price_take_profit=103.0, price_stop_loss=98.0, minute_estimated_time=5000)

    strategy = bknb.add_strategy("hold", interval="1h", get_signal=get_signal)
    result = bknb.backtest(
        "EURUSD",
        strategy=strategy,
        exchange=FrameSource(Candles.from_rows(rows), sessions="fx"),
        frame=("2024-01-05 21:00", "2024-01-07 23:30"),
        settings={"max_signal_lifetime_minutes": 6000},
    )
    trade = result.trades.iloc[0]
    assert trade["close_reason"] == "stop_loss"
    assert str(trade["closed_at"])[:16] == "2024-01-07 22:00"
    assert trade["price_close"] == 90.0


def test_sessions_can_be_declared_for_any_source(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    candles = market(US, "2024-03-01 00:00", "2024-03-09 00:00")

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Candles:
        times = candles.timestamp
        first, end = np.searchsorted(times, [since, since + limit * MINUTE])
        return candles[int(first) : int(end)]

    source = bknb.exchanges.in_sessions(get_candles, "us-equities")
    assert source.name == "get_candles"
    got, notes = fetched(source, "2024-03-01 00:00", "2024-03-09 00:00")
    assert (got, notes) == (candles, [])
    kept = bknb.exchanges.stored(source, folder=tmp_path)
    done = bknb.download("SPY", exchange=kept, start="2024-03-01", end="2024-03-09", warmup_minutes=0, progress=False)
    assert done.series[0].candles == len(candles)
    assert done.series[0].absent == ()
