"""``ctx.candles(interval, since=...)`` and ``ctx.at``: candles of a span, and moments by the clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quick import first_quick
from scenarios import MINUTE, ORIGIN
from test_live_parity import live

import bknb
from bknb.domain.interval import interval_ms
from bknb.exchanges import from_frame
from bknb.market.newest_moment import newest_moment, newest_time
from bknb.market.session_at_moment import session_at
from bknb.market.sessions import as_sessions

FRAME = (ORIGIN, ORIGIN + 300 * MINUTE)
DAYS = 86_400_000
OF_NEW_YORK = bknb.Sessions.weekly("America/New_York", {"mon-fri": "09:30-16:00"})


def minutes(first: int, end: int, *, without: tuple[int, ...] = ()) -> pd.DataFrame:
    """Minutes from ``first`` to ``end`` around the origin; each closes at its own number."""
    at = np.array([each for each in range(first, end) if each not in without], dtype=np.int64)
    close = 1000.0 + at
    return pd.DataFrame(
        {
            "timestamp": ORIGIN + at * MINUTE,
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
            "volume": 1.0,
        }
    )


def run(get_signal: Any, table: pd.DataFrame, **options: Any) -> Any:
    given = {"interval": "15m", "exchange": from_frame(table, symbol="BTCUSDT"), "frame": FRAME} | options
    result = bknb.backtest("BTCUSDT", strategy=get_signal, **given)
    assert [failure.message for failure in result.errors if failure.kind != "warm-up"] == []
    return result


@pytest.mark.parametrize("interval", first_quick(["1m", "5m", "1h"]))
@pytest.mark.parametrize("gaps", [(), (20, 21, 47, 120, 121, 122, 123, 124)])
def test_candles_since_a_moment_are_those_that_opened_then_or_later_and_have_closed(
    interval: str, gaps: tuple[int, ...]
) -> None:
    table, step, compared = minutes(-200, 320, without=gaps), interval_ms(interval), 0

    def get_signal(ctx: Any) -> None:
        nonlocal compared
        for back in (0, 1, 14, 15, 61, 190):
            since = ctx.when_ms - back * MINUTE
            found = ctx.candles(interval, since=since)
            times = table["timestamp"] // step * step
            expected = times[(times >= since) & (times + step <= ctx.when_ms)].unique()
            assert found.timestamp.tolist() == expected.tolist()
            assert ctx.candles(interval, 3, since=since) == found[-3:]
            compared += len(found)

    run(get_signal, table, allow_gaps=bool(gaps))
    assert compared >= 50


def test_since_is_a_moment_or_a_span() -> None:
    def get_signal(ctx: Any) -> None:
        hour = ctx.candles("15m", 4)
        for since in ("1h", timedelta(hours=1), ctx.when_ms - 3_600_000, ctx.when - timedelta(hours=1)):
            assert ctx.candles("15m", since=since) == hour
        assert ctx.candles("15m", since=ctx.when_ms + 1) == bknb.Candles.empty()
        assert ctx.candles("15m", since=ctx.when) == bknb.Candles.empty()

    run(get_signal, minutes(-200, 320))


def test_candles_since_before_the_data_are_those_there_are() -> None:
    def get_signal(ctx: Any) -> None:
        found = ctx.candles("1m", since="90d")
        assert int(found.timestamp[0]) == ORIGIN - 50 * MINUTE
        assert int(found.timestamp[-1]) == ctx.when_ms - MINUTE

    run(get_signal, minutes(-50, 320))


@pytest.mark.parametrize("forming", [False, True])
@pytest.mark.parametrize("allow_gaps", [False, True])
def test_candles_since_before_data_without_a_closed_one_are_none(*, allow_gaps: bool, forming: bool) -> None:
    seen = []

    def get_signal(ctx: Any) -> None:
        found = ctx.candles("3d", since="20d", forming=forming)
        seen.append([(row["open"], row["close"]) for row in found])

    run(get_signal, minutes(-50, 320), allow_gaps=allow_gaps, interval="1h")
    assert seen == [[(950.0, 999.0 + 60 * hour)] if forming else [] for hour in range(5)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "say how many candles, such as 20, or since when"),
        ({"since": datetime(2024, 1, 1)}, "since must have a time zone"),
        ({"since": "yesterday"}, "since must be a span such as"),
        ({"since": 1.5}, "since in UTC milliseconds"),
        ({"since": "1h", "limit": 0}, "limit must be"),
        ({"limit": 2, "forming": "no"}, "forming must be True or False, got 'no'"),
        ({"since": "1h", "forming": 1}, "forming must be True or False, got 1"),
    ],
)
def test_what_is_no_span_is_refused(arguments: Any, words: str) -> None:
    def get_signal(ctx: Any) -> None:
        with pytest.raises(bknb.UsageError, match=words):
            ctx.candles("1m", **arguments)

    run(get_signal, minutes(-50, 320))


@pytest.mark.slow
def test_candles_since_leak_nothing() -> None:
    def get_signal(ctx: Any) -> Any:
        today = ctx.candles("15m", since=ctx.at("00:00"))
        if len(today) < 2 or today.close[-1] <= today.open[0]:
            return None
        price = ctx.price
        return bknb.Signal(position="long", price_take_profit=price * 1.01, price_stop_loss=price * 0.99)

    frame = ("2024-01-01", "2024-01-03")
    report = bknb.check_lookahead(get_signal, exchange="demo", frame=frame, interval="1h", moments=5)
    assert report.ok, report
    assert " x 15m of BTCUSDT" in report.looks_back


DEMO = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", ORIGIN - DAYS, 6 * 1440))


def rises(candles: Any) -> bool:
    return bool(len(candles)) and bool(candles.close[-1] > candles.close.mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        (lambda ctx: rises(ctx.candles("15m", since="6h")), set()),
        (lambda ctx: rises(ctx.candles("15m", since=ctx.session.open)), set()),
        (lambda ctx: rises(ctx.candles("15m", since="24h", forming=True)), set()),
        (lambda ctx: len(ctx.candles("15m", since=0)) % 7 > 3, {"history"}),  # all there is
    ],
)
def test_the_look_ahead_check_knows_candles_since_from_all_there_are(rule: Any, kinds: set[str]) -> None:
    def get_signal(ctx: Any) -> Any:
        sign = 1 if rule(ctx) else -1
        price = ctx.price
        return bknb.Signal(
            position="long" if sign > 0 else "short",
            price_take_profit=price * (1 + 0.02 * sign),
            price_stop_loss=price * (1 - 0.02 * sign),
        )

    exchange = from_frame(DEMO, symbol="BTCUSDT")
    frame = (ORIGIN + DAYS, ORIGIN + 4 * DAYS)
    report = bknb.check_lookahead(get_signal, exchange=exchange, frame=frame, interval="1h", moments=8)
    assert {finding.kind for finding in report.findings} == kinds, report


@pytest.mark.parametrize("gaps", first_quick([[7, 8, 31], []]))
def test_live_candles_since_are_those_of_a_backtest(gaps: list[int]) -> None:
    seen: dict[str, dict[int, list[Any]]] = {"live": {}, "backtest": {}}

    def get_signal(ctx: Any) -> None:
        since = ctx.at("00:00")
        seen[ctx.mode][ctx.when_ms] = [list(ctx.candles(each, since=since)) for each in ("1m", "3m")]

    strategy = bknb.add_strategy("since", interval="3m", get_signal=get_signal)
    exchange, until = from_frame(minutes(-60, 90, without=tuple(gaps)), symbol="BTCUSDT"), ORIGIN + 45 * MINUTE
    result = live(strategy, exchange, start=ORIGIN, until=until, allow_gaps=True)
    assert result.errors == []
    bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=(ORIGIN, until), allow_gaps=True)
    asked = [when for when in seen["live"] if when < until]
    assert len(asked) > 10
    assert all(seen["live"][when] == seen["backtest"][when] for when in asked)


# --- moments by the clock -----------------------------------------------------------------------------------------


@given(
    minute=st.integers(0, 1439),
    when=st.integers(1_600_000_000, 1_900_000_000),
    zone=st.sampled_from(["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_the_newest_time_of_day_is_the_last_of_all_days(minute: int, when: int, zone: str) -> None:
    moment = datetime.fromtimestamp(when, UTC)
    first = moment.date() - timedelta(days=5)
    shown = [
        datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=ZoneInfo(zone))
        for day in (first + timedelta(days=each) for each in range(10))
    ]
    expected = max(each.timestamp() for each in shown if each.timestamp() <= when)
    found = newest_time(f"{minute // 60:02d}:{minute % 60:02d} {zone}", when * 1000, "UTC")
    assert found.timestamp() == expected
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("when", "found"),
    [
        ("2024-03-10 12:00", "2024-03-10 07:30"),  # the clocks went from 02:00 to 03:00: at 03:30 of the new time
        ("2024-03-10 07:29", "2024-03-09 07:30"),
        ("2024-03-11 12:00", "2024-03-11 06:30"),
    ],
)
def test_a_time_that_clocks_skipped_is_so_much_later(when: str, found: str) -> None:
    moment = pd.Timestamp(when, tz="UTC")
    assert newest_time("02:30", moment.value // 10**6, "America/New_York") == pd.Timestamp(found, tz="UTC")


def test_a_time_without_a_zone_is_of_the_market() -> None:
    table = minutes(14 * 60, 21 * 60)
    table = table[OF_NEW_YORK.mask((table["timestamp"] + DAYS).to_numpy())].assign(timestamp=table["timestamp"] + DAYS)
    seen = []

    def get_signal(ctx: Any) -> None:
        seen.append((ctx.at("10:00").isoformat(), ctx.at("10:00 UTC").isoformat()))

    frame = (ORIGIN + DAYS + 15 * 60 * MINUTE, ORIGIN + DAYS + 17 * 60 * MINUTE)
    exchange = from_frame(table, symbol="BTCUSDT", sessions=OF_NEW_YORK)
    run(get_signal, table, exchange=exchange, frame=frame)
    assert seen[0] == ("2024-01-02T15:00:00+00:00", "2024-01-02T10:00:00+00:00")


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ("session_open", "2024-07-03 13:30"),
        (bknb.at.session_close(minutes=-30), "2024-07-02 19:30"),
        ("mon", "2024-07-01 13:30"),
        ("month", "2024-07-01 13:30"),
        ("09:30", "2024-07-03 13:30"),
        ("16:00", "2024-07-02 20:00"),
        ("00:00", "2024-07-03 04:00"),
    ],
)
def test_a_schedule_gives_its_newest_moment(given_: Any, found: str) -> None:
    when = pd.Timestamp("2024-07-03 13:30", tz="UTC")
    assert newest_moment(given_, when.value // 10**6, OF_NEW_YORK) == pd.Timestamp(found, tz="UTC")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("25:00", "at='25:00' is no schedule"),
        ("noon", "at='noon' is no schedule"),
        ("series news", "ctx.at does not look into series, got 'series news'\nwhen the newest row"),
        (bknb.at.any("mon", bknb.at.series("news")), "ctx.at does not look into series"),
        (930, "at must be a schedule or its text, got 930"),
        ("09:30 Mars/Base", "unknown time zone 'Mars/Base'"),
        ("09:30 /etc/passwd", "unknown time zone '/etc/passwd'"),
    ],
)
def test_what_is_no_time_of_day_is_refused(text: Any, words: str) -> None:
    with pytest.raises(bknb.UsageError, match=words):
        newest_moment(text, ORIGIN, None)


# --- sessions -----------------------------------------------------------------------------------------------------

IN_TOKYO = bknb.Sessions.weekly("Asia/Tokyo", {"mon-fri": "09:00-11:30, 12:30-15:00"})
FX = as_sessions("fx")
OF_SHARES = as_sessions("us-equities")


@pytest.mark.parametrize(
    ("sessions", "when", "day", "opened", "closes", "passed", "bars"),
    [
        (None, "2024-07-03 15:10", "2024-07-03", "2024-07-03 00:00", "2024-07-04 00:00", 910, 60),
        (None, "2024-07-03 00:00", "2024-07-03", "2024-07-03 00:00", "2024-07-04 00:00", 0, 0),
        (OF_SHARES, "2024-07-03 16:59", "2024-07-03", "2024-07-03 13:30", "2024-07-03 17:00", 209, 13),  # a half day
        (OF_SHARES, "2024-07-03 17:00", "2024-07-03", "2024-07-03 13:30", "2024-07-03 17:00", 210, 14),
        (
            OF_SHARES,
            "2024-07-05 13:29",
            "2024-07-03",
            "2024-07-03 13:30",
            "2024-07-03 17:00",
            210,
            14,
        ),
        (OF_SHARES, "2024-07-05 13:30", "2024-07-05", "2024-07-05 13:30", "2024-07-05 20:00", 0, 0),
        (OF_SHARES, "2024-03-11 14:00", "2024-03-11", "2024-03-11 13:30", "2024-03-11 20:00", 30, 2),  # summer time
        (FX, "2024-01-07 22:20", "2024-01-08", "2024-01-07 22:00", "2024-01-08 22:00", 20, 1),
        (FX, "2024-01-06 12:00", "2024-01-05", "2024-01-04 22:00", "2024-01-05 22:00", 1440, 96),
        (IN_TOKYO, "2024-07-03 03:00", "2024-07-03", "2024-07-03 00:00", "2024-07-03 06:00", 150, 10),  # in the break
        (IN_TOKYO, "2024-07-03 03:45", "2024-07-03", "2024-07-03 00:00", "2024-07-03 06:00", 165, 11),
    ],
)
def test_the_session_of_a_moment(
    sessions: Any, when: str, day: str, opened: str, closes: str, passed: int, bars: int
) -> None:
    found = session_at(sessions, pd.Timestamp(when, tz="UTC").value // 10**6, 900_000)
    assert str(found.day) == day
    assert (found.open, found.close) == (pd.Timestamp(opened, tz="UTC"), pd.Timestamp(closes, tz="UTC"))
    assert (found.minutes, found.bars) == (passed, bars)


@pytest.mark.parametrize("sessions", [OF_SHARES, FX, IN_TOKYO, None], ids=["shares", "fx", "tokyo", "always"])
@pytest.mark.parametrize("interval", [60_000, 900_000, 3_600_000, 86_400_000])
def test_bars_of_a_session_are_its_candles_with_an_open_minute(sessions: Any, interval: int) -> None:
    rng = np.random.default_rng(2)
    for when in (ORIGIN + rng.integers(0, 500_000, size=12) * MINUTE).tolist():
        found = session_at(sessions, when, interval)
        opened, closes = (round(each.timestamp() * 1000) for each in (found.open, found.close))
        inside = np.arange(opened, min(when, closes), MINUTE, dtype=np.int64)
        inside = inside if sessions is None else inside[sessions.mask(inside)]
        ends = np.unique(inside // interval + 1) * interval
        is_day = sessions is not None and interval == 86_400_000  # whose one candle is the session
        assert (found.minutes, found.bars) == (len(inside), int(when >= closes if is_day else (ends <= when).sum()))


def test_a_strategy_sees_its_session_and_the_candles_since_its_open() -> None:
    shift = ORIGIN + DAYS
    table = minutes(14 * 60, 21 * 60).assign(timestamp=lambda each: each["timestamp"] + DAYS)
    table = table[OF_NEW_YORK.mask(table["timestamp"].to_numpy())]
    seen = []

    def get_signal(ctx: Any) -> None:
        session = ctx.session
        opening = ctx.candles("1m", since=session.open)
        assert len(opening) == session.minutes
        assert ctx.at("session_open") == session.open
        seen.append((str(session.day), session.bars, len(ctx.candles("15m", since=session.open))))

    exchange = from_frame(table, symbol="BTCUSDT", sessions=OF_NEW_YORK)
    run(get_signal, table, exchange=exchange, frame=(shift + 15 * 60 * MINUTE, shift + 20 * 60 * MINUTE))
    assert seen[:3] == [("2024-01-02", 2, 2), ("2024-01-02", 3, 3), ("2024-01-02", 4, 4)]
