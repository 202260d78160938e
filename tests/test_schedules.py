"""Schedules: moments by the clock of a market, against loops over exchange_calendars and zoneinfo."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_rows import Row, at, forex_rows, rows_of, utc_rows
from quick import rest_long

import bknb
from bknb.domain.calendar_protocol import ALWAYS_OPEN, SessionDay
from bknb.domain.schedule_text import as_schedule
from bknb.domain.schedules import Listed
from bknb.market.sessions import Sessions, as_sessions

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
A_DAY = timedelta(days=1)


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def of(name: str) -> Sessions:
    sessions = as_sessions(name)
    assert sessions is not None
    return sessions


def shown(moments: list[int], zone: str = "UTC") -> list[str]:
    return [f"{datetime.fromtimestamp(each / 1000, ZoneInfo(zone)):%Y-%m-%d %H:%M}" for each in moments]


US = of("us-equities")
FX = of("fx")
TOKYO = Sessions.weekly("Asia/Tokyo", {"mon-fri": "09:00-11:30, 12:30-15:00"}, closed=["2024-01-01", "2024-01-02"])

# schedule, market, since, until (local dates), zone they are shown in -> moments
TABLE: list[tuple[str, Sessions | None, str, str, str, list[str]]] = [
    # no session on Thanksgiving; on the half day after it the close is at 13:00
    ("session_open+30m", US, "2024-11-27", "2024-12-02", "America/New_York", ["2024-11-27 10:00", "2024-11-29 10:00"]),
    ("session_close-5m", US, "2024-11-27", "2024-12-02", "America/New_York", ["2024-11-27 15:55", "2024-11-29 12:55"]),
    ("session_close", US, "2024-11-27", "2024-12-02", "America/New_York", ["2024-11-27 16:00", "2024-11-29 13:00"]),
    # a session of 210 minutes has no 240th
    ("session_open+240m", US, "2024-11-27", "2024-12-02", "America/New_York", ["2024-11-27 13:30"]),
    ("session_close-240m", US, "2024-11-27", "2024-12-02", "America/New_York", ["2024-11-27 12:00"]),
    # a time at which the market is closed is none of its moments
    ("14:00 America/New_York", US, "2024-11-27", "2024-12-02", "America/New_York", ["2024-11-27 14:00"]),
    ("13:00 America/New_York", US, "2024-11-29", "2024-11-30", "America/New_York", ["2024-11-29 13:00"]),
    ("09:29 America/New_York", US, "2024-11-27", "2024-12-02", "America/New_York", []),
    ("12:00 Asia/Tokyo", TOKYO, "2024-01-04", "2024-01-06", "Asia/Tokyo", []),
    ("11:30 Asia/Tokyo", TOKYO, "2024-01-04", "2024-01-05", "Asia/Tokyo", ["2024-01-04 11:30"]),
    # daylight saving: 1 h apart where only one of two places has changed its clocks
    ("14:30 Europe/London", US, "2024-03-08", "2024-03-13", "America/New_York",
     ["2024-03-08 09:30", "2024-03-11 10:30", "2024-03-12 10:30"]),
    # 01:30 does not exist on 31 March in London: as much later as the clocks go forward; and it comes twice on
    # 27 October: the first
    ("01:30 Europe/London", None, "2024-03-30", "2024-04-02", "UTC",
     ["2024-03-30 01:30", "2024-03-31 01:30", "2024-04-01 00:30"]),
    ("01:30 Europe/London", None, "2024-10-26", "2024-10-29", "UTC",
     ["2024-10-26 00:30", "2024-10-27 00:30", "2024-10-28 01:30"]),
    ("mon 09:30 America/New_York", US, "2024-05-20", "2024-06-04", "America/New_York",
     ["2024-05-20 09:30", "2024-06-03 09:30"]),  # 27 May is Memorial Day
    ("mon", FX, "2024-01-06", "2024-01-16", "America/New_York", ["2024-01-07 17:00", "2024-01-14 17:00"]),
    ("session_open", FX, "2024-01-06", "2024-01-10", "America/New_York",
     ["2024-01-07 17:00", "2024-01-08 17:00", "2024-01-09 17:00"]),
    ("fri", None, "2024-01-01", "2024-01-14", "UTC", ["2024-01-05 00:00", "2024-01-12 00:00"]),
    ("month", US, "2024-01-01", "2024-04-01", "America/New_York",
     ["2024-01-02 09:30", "2024-02-01 09:30", "2024-03-01 09:30"]),
    ("month 15", US, "2024-01-01", "2024-04-01", "America/New_York",
     ["2024-01-16 09:30", "2024-02-15 09:30", "2024-03-15 09:30"]),  # 15 January is a holiday
    ("month 31", US, "2024-01-01", "2024-06-01", "America/New_York", ["2024-01-31 09:30", "2024-05-31 09:30"]),
    ("month_end", US, "2024-03-01", "2024-05-01", "America/New_York", ["2024-03-28 09:30", "2024-04-30 09:30"]),
    # the session of Friday, 1 March bears that date, and opens in February
    ("month", FX, "2024-02-15", "2024-03-15", "America/New_York", ["2024-02-29 17:00"]),
    ("session_open, session_close-5m", US, "2024-07-03", "2024-07-05", "America/New_York",
     ["2024-07-03 09:30", "2024-07-03 12:55"]),
    ("07:00 UTC, session_open+420m", None, "2024-01-01", "2024-01-02", "UTC", ["2024-01-01 07:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "market", "since", "until", "zone", "expected"), TABLE)
def test_the_moments_of_a_schedule(
    text: str, market: Sessions | None, since: str, until: str, zone: str, expected: list[str]
) -> None:
    schedule = as_schedule(text)
    assert shown(schedule.moments(ms(since, zone), ms(until, zone), market), zone) == expected
    assert as_schedule(str(schedule)) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule  # noqa: S301 - what was written just now
    assert hash(schedule) == hash(as_schedule(text))


WRONG = [
    ("session_end", "did you mean 'session_open'?"),
    ("session_open+30", r"a distance is written \+30m, -5m or \+1h"),
    ("session_open-5m", r"session_open\(minutes=\) takes a whole number from 0 to 1440"),
    ("session_close+5m", r"takes a whole number from -1440 to 0, got 5"),
    ("07:00", "07:00 needs the name of a time zone behind it, such as '07:00 UTC'"),
    ("mon 07:00", "07:00 needs the name of a time zone behind it"),
    ("25:00", "a time is written '07:00', from 00:00 to 23:59, got '25:00'"),
    ("25:00 UTC", "from 00:00 to 23:59, got '25:00'"),
    ("07:00 Europe/Lodnon", "unknown time zone 'Europe/Lodnon'"),
    ("07:00 ../../etc/passwd", "unknown time zone"),
    ("monthly", "did you mean 'month'?"),
    ("month 32", "a day of the month, 1 to 31, got 32"),
    ("mon after 0", "from 1 to 1000, got 0"),
    ("", "it is empty"),
    ("month,", "it is empty"),
    (5, "at must be a schedule or its text, got 5"),
    (None, "at must be a schedule or its text, got None"),
]


@pytest.mark.parametrize(("given_text", "fault"), WRONG)
def test_a_wrong_spelling_says_what_is_expected(given_text: object, fault: str) -> None:
    with pytest.raises(bknb.UsageError, match=fault) as refused:
        as_schedule(given_text)
    assert "expected 'session_open+30m', 'session_close-5m', '07:00 Europe/London'" in str(refused.value)


CALLS: list[tuple[Callable[[], object], str]] = [
    (lambda: bknb.at.session_open(minutes=-5), "asked while the market is open"),
    (lambda: bknb.at.session_close(minutes=5), r"session_close\(minutes=-5\)"),
    (lambda: bknb.at.session_open(minutes=True), "got True"),
    (lambda: bknb.at.session_open(minutes=1.5), "got 1.5"),  # type: ignore[arg-type]
    (lambda: bknb.at.week("monday"), "one of mon tue wed thu fri sat sun, got 'monday'"),
    (lambda: bknb.at.week("mon", "09:30"), "a time and its zone"),
    (lambda: bknb.at.week("mon", after=0), "from 1 to 1000, got 0"),
    (lambda: bknb.at.week("mon", after=True), "got True"),
    (lambda: bknb.at.clock("7", "UTC"), "a time is written '07:00'"),
    (lambda: bknb.at.month(day=0), "1 to 31, got 0"),
    (lambda: bknb.at.series(""), "the name of a series"),
    (bknb.at.any, "got none"),
    (lambda: bknb.at.any("never"), "no schedule"),
    (lambda: bknb.at.series("news").moments(0, 1), "known in a run alone"),
]


@pytest.mark.parametrize(("call", "fault"), CALLS)
def test_a_wrong_call_says_what_is_expected(call: Callable[[], object], fault: str) -> None:
    with pytest.raises(bknb.UsageError, match=fault):
        call()


def test_the_functions_make_what_the_spellings_mean() -> None:
    at = bknb.at
    assert at.session_open(minutes=30) == as_schedule("session_open+30m")
    assert at.session_open(minutes=60) == as_schedule("session_open+1h")
    assert at.session_close(minutes=-5) == as_schedule("session_close-5m")
    assert at.clock("07:00", "Europe/London") == as_schedule("07:00 Europe/London")
    assert at.week("mon", "09:30", "America/New_York") == as_schedule("Mon 09:30 America/New_York")
    assert at.week("mon", after=4) == as_schedule("mon after 4")
    assert at.month() == as_schedule("month")
    assert at.month(day=15) == as_schedule("month 15")
    assert at.month_end() == as_schedule("month_end")
    assert at.series("news") == as_schedule("series news")
    assert at.series("my news after 2") == as_schedule(str(at.series("my news after 2")))
    assert at.any("mon", at.month()) == as_schedule("mon, month")
    assert as_schedule(at.month()) is not None


def test_after_counts_moments_that_the_market_has() -> None:
    monday = ms("2024-05-20", "America/New_York")
    fourth = bknb.at.week("mon", after=4).next_after(monday + 12 * HOUR, US)
    assert fourth is not None
    assert shown([fourth], "America/New_York") == ["2024-06-24 09:30"]  # 27 May is none: 3, 10, 17, 24 June
    assert bknb.at.week("mon", after=4).moments(monday, monday + 20 * DAY, US) == bknb.at.week("mon").moments(
        monday, monday + 20 * DAY, US
    )


def test_a_schedule_whose_moments_end_has_no_next() -> None:
    assert Listed((5, 7)).next_after(5) == 7
    assert Listed((5, 7)).next_after(7) is None
    assert bknb.at.clock("09:00", "America/New_York").next_after(0, US) is None  # never while it trades
    assert bknb.at.any("09:00 America/New_York", "month").next_after(ms("2024-01-01"), US) == ms("2024-01-02 14:30")


def test_bars_of_a_day_are_fine_enough_for_opens_and_closes_alone() -> None:
    texts = ("session_open", "session_close", "mon", "month", "month_end", "mon after 4", "month, mon")
    assert all(as_schedule(text).by_day for text in texts)
    finer = ("session_open+30m", "session_close-5m", "07:00 UTC", "mon 07:00 UTC", "month, 07:00 UTC", "series news")
    assert not any(as_schedule(text).by_day for text in finer)


# --- days of a market ---------------------------------------------------------------------------------------------


def test_forex_has_five_days_a_week_and_no_sunday() -> None:
    days = FX.session_days(ms("2024-01-01"), ms("2025-01-01"))
    assert {day.day.weekday() for day in days} == {0, 1, 2, 3, 4}
    assert {day.minutes for day in days} == {1440}
    assert all(later.open >= day.close for day, later in pairwise(days))


DAYS: list[tuple[dict[str, str], str, list[str]]] = [
    # hours of a week -> when each day begins and the date it bears, local
    ({"mon-fri": "09:30-16:00"}, "America/New_York", ["Mon from Mon 09:30", "Tue from Tue 09:30"]),
    ({"mon": "10:00-16:00", "tue-fri": "09:30-16:00"}, "America/New_York",
     ["Mon from Mon 10:00", "Tue from Tue 09:30"]),
    ({"sun": "18:00-24:00", "mon-thu": "00:00-17:00, 18:00-24:00", "fri": "00:00-17:00"}, "America/New_York",
     ["Mon from Sun 18:00", "Tue from Mon 18:00"]),
    ({"sun": "17:00-24:00", "mon-thu": "00:00-24:00", "fri": "00:00-17:00"}, "America/New_York",
     ["Mon from Sun 17:00", "Tue from Mon 17:00"]),
    ({"mon-fri": "00:00-24:00"}, "UTC", ["Mon from Mon 00:00", "Tue from Tue 00:00"]),
    ({"mon-sun": "00:00-24:00"}, "Europe/London", ["Mon from Mon 00:00", "Tue from Tue 00:00"]),
    ({"mon-fri": "14:30-21:00"}, "UTC", ["Mon from Mon 14:30", "Tue from Tue 14:30"]),
]  # fmt: skip


@pytest.mark.parametrize(("hours", "zone", "expected"), DAYS)
def test_which_date_a_session_bears(hours: dict[str, str], zone: str, expected: list[str]) -> None:
    days = Sessions.weekly(zone, hours).session_days(ms("2024-01-06", zone), ms("2024-01-13", zone))
    found = [f"{day.day:%a} from {datetime.fromtimestamp(day.open / 1000, ZoneInfo(zone)):%a %H:%M}" for day in days]
    assert [each for each in found if each[:3] in ("Mon", "Tue")] == expected


@pytest.mark.parametrize("market", [US, FX, TOKYO])
@settings(max_examples=40, deadline=None)
@given(since=st.integers(ms("2023-12-01"), ms("2024-12-31")), length=st.integers(0, 400 * HOUR))
def test_days_are_whole_and_cover_what_is_open(market: Sessions, since: int, length: int) -> None:
    until = since + length
    days = market.session_days(since, until)
    opened = [span for day in days for span in day.spans]
    inside = [(max(first, since), min(end, until)) for first, end in opened]
    assert sum(end - first for first, end in inside if end > first) == sum(
        end - first for first, end in market.open_ranges(since, until)
    )
    assert days == [day for day in market.session_days(since - 9 * DAY, until + 9 * DAY) if overlaps(day, since, until)]


def overlaps(day: SessionDay, since: int, until: int) -> bool:
    return since < until and day.close > since and day.open < until


SCHEDULES = st.sampled_from([text for text, *_ in TABLE])


@settings(max_examples=60, deadline=None)
@given(
    text=SCHEDULES,
    market=st.sampled_from([US, FX, TOKYO, None]),
    since=st.integers(ms("2024-01-01"), ms("2024-12-01")),
    length=st.integers(0, 60 * 24 * HOUR),
    cut=st.floats(0, 1),
)
def test_a_span_has_the_moments_of_its_parts(
    text: str, market: Sessions | None, since: int, length: int, cut: float
) -> None:
    schedule, until, middle = as_schedule(text), since + length, since + int(length * cut)
    found = schedule.moments(since, until, market)
    assert found == sorted(set(found))
    assert all(since <= each < until for each in found)
    assert found == schedule.moments(since, middle, market) + schedule.moments(middle, until, market)
    walked: list[int] = []
    following = schedule.next_after(since - 1, market)
    while following is not None and following < until and len(walked) <= len(found):
        walked.append(following)
        following = schedule.next_after(following, market)
    assert walked == found


# --- ten years, against loops that know nothing of bknb ---------------------------------------------------------------


def expected_of(rows: list[Row], first: int, last: int) -> Iterator[tuple[str, list[int]]]:
    """Schedules, and their moments in some years found by loops over rows of sessions and over local days."""
    yield "session_open", [row[1] for row in rows]
    yield "session_open+30m", [row[1] + 30 * MINUTE for row in rows]
    yield "session_close", [row[2] for row in rows]
    yield "session_close-5m", [row[2] - 5 * MINUTE for row in rows]
    yield "session_close-300m", [row[2] - 300 * MINUTE for row in rows if row[2] - row[1] >= 300 * MINUTE]
    yield "wed", [row[1] for row in rows if row[0].isoweekday() == 3]
    by_month: dict[str, list[Row]] = {}
    for row in rows:
        by_month.setdefault(f"{row[0]:%Y-%m}", []).append(row)
    yield "month", [month[0][1] for month in by_month.values()]
    yield "month_end", [month[-1][1] for month in by_month.values()]
    late = [[row for row in month if row[0].day >= 20] for month in by_month.values()]
    yield "month 20", [days[0][1] for days in late if days]
    for text, zone, hour, minute, weekday in (
        ("10:15 Europe/London", "Europe/London", 10, 15, None),
        ("14:30 America/New_York", "America/New_York", 14, 30, None),
        ("00:45 Europe/London", "Europe/London", 0, 45, None),
        ("01:30 Europe/London", "Europe/London", 1, 30, None),
        ("02:30 America/New_York", "America/New_York", 2, 30, None),
        ("fri 10:30 Asia/Tokyo", "Asia/Tokyo", 10, 30, 4),
    ):
        times, day = [], date(first, 1, 1) - A_DAY
        while day.year <= last or day == date(last + 1, 1, 1):
            if weekday is None or day.weekday() == weekday:
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(zone))
                times.append(at(local))
            day += A_DAY
        spans = [span for row in rows for span in row[3]]
        here, found = 0, []
        for each in times:
            while here < len(spans) and spans[here][1] < each:
                here += 1
            if here < len(spans) and spans[here][0] <= each:
                found.append(each)
        yield text, found


def check_years(rows: list[Row], market: Sessions | None, first: int, last: int) -> int:
    calendar = ALWAYS_OPEN if market is None else market
    since, until = ms(f"{first}-01-15"), ms(f"{last}-12-15")
    listed = [day for day in rows if day[2] > since and day[1] < until]
    days = calendar.session_days(since, until)
    assert [(day.day, day.open, day.close, list(day.spans)) for day in days] == listed
    count = 0
    for text, moments in expected_of(rows, first, last):
        expected = [each for each in moments if since <= each < until]
        assert as_schedule(text).moments(since, until, market) == expected, text
        count += len(expected)
    return count


YEARS = (2015, 2024)


@pytest.mark.parametrize(("rows", "market"), [(forex_rows, FX), (utc_rows, None)])
def test_two_years_of_markets_without_a_calendar(
    rows: Callable[[int, int], list[Row]], market: Sessions | None
) -> None:
    assert check_years(rows(2023, 2024), market, 2023, 2024) > 3_000


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_long(["XNYS", "XTKS", "CMES", "XLON", "XHKG"], kept=3))
def test_ten_years_of_exchanges(name: str) -> None:
    """Half days, breaks, changes of the hours, sessions over midnight; both changes of the clocks in each year."""
    pytest.importorskip("exchange_calendars")
    assert check_years(rows_of(name, *YEARS), Sessions.of_exchange(name), *YEARS) > 15_000


@pytest.mark.slow
def test_ten_years_by_the_rules_of_the_united_states() -> None:
    pytest.importorskip("exchange_calendars")
    assert check_years(rows_of("XNYS", *YEARS), US, *YEARS) > 15_000
