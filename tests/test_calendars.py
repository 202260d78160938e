"""Calendars of exchanges, and the rule of our own for the United States, which must say the same without them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import first_quick

import bknb
import bknb.exchanges
from bknb.errors import DataError, MissingDependency, UnknownName, UsageError
from bknb.market.sessions import Sessions, as_sessions
from bknb.market.us_holidays import us_closed_days, us_short_days

MINUTE = 60_000
DAY = 1440 * MINUTE
LAST = 2040  # the calendar XNYS has no end; that far its rules are held against ours


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@contextmanager
def of_pandas_for_the_package() -> Iterator[None]:
    """Without warnings that are meant for the authors of exchange_calendars."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def known(name: str) -> Sessions:
    sessions = as_sessions(name)
    assert sessions is not None
    return sessions


# --- the United States, by rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "ends"),
    [
        # as the exchange announced them: minute after midnight, None for a whole day, 0 for none at all
        ("1994-04-27", 0),
        ("1997-01-20", None),  # Martin Luther King Jr. is a holiday from 1998 on
        ("1998-01-19", 0),
        ("2001-09-10", None),
        ("2001-09-11", 0),
        ("2001-09-14", 0),
        ("2004-06-11", 0),
        ("2007-01-02", 0),
        ("2012-10-29", 0),
        ("2012-10-30", 0),
        ("2018-12-05", 0),
        ("2025-01-09", 0),
        ("2021-06-18", None),  # Juneteenth is one from 2022 on
        ("2022-06-20", 0),
        ("1991-11-29", None),  # the day after Thanksgiving
        ("1992-11-27", 14 * 60),
        ("1993-11-26", 13 * 60),
        ("1992-12-24", 14 * 60),
        ("1993-12-24", 0),
        ("1996-07-03", None),
        ("1996-07-05", 13 * 60),
        ("1997-12-26", 13 * 60),
        ("1999-12-31", 13 * 60),
        ("2002-07-03", None),
        ("2002-07-05", 13 * 60),
        ("2003-12-26", 13 * 60),
        ("2013-07-03", 13 * 60),
        ("2024-07-03", 13 * 60),
    ],
)
def test_days_that_were_announced(day: str, ends: int | None) -> None:
    there = date.fromisoformat(day)
    assert (there in us_closed_days(there.year)) is (ends == 0)
    assert us_short_days(there.year).get(there, None if ends != 0 else 0) == ends


@pytest.mark.slow
def test_the_rule_is_the_calendar_of_the_exchange_from_1990_on() -> None:
    pytest.importorskip("exchange_calendars")
    since, until = ms("1990-01-01 00:00"), ms(f"{LAST}-01-01 00:00")
    ours, theirs = (known(name).open_ranges(since, until) for name in ("us-equities", "XNYS"))
    assert len(ours) > 12_000
    differing = {datetime.fromtimestamp(span[0] / 1000, UTC).date().isoformat() for span in {*ours} ^ {*theirs}}
    assert sorted(differing) == []


def test_the_rule_needs_no_package() -> None:
    code = """
        import sys
        sys.modules["exchange_calendars"] = None
        from bknb.market.sessions import as_sessions
        us = as_sessions("us-equities")
        print(us.is_open(1_720_018_740_000), us.is_open(1_720_026_000_000))
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]  # 2024-07-03, before and after 13:00 in New York


# --- exchanges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "moment", "is_open"),
    first_quick(
        [
            ("XLON", "2024-12-24 12:29", True),  # Christmas Eve ends at 12:30
            ("XLON", "2024-12-24 12:30", False),
            ("XLON", "2024-12-26 12:00", False),
            ("XLON", "2022-09-19 12:00", False),  # a state funeral
            ("XLON", "2024-03-28 16:29", True),  # winter time ...
            ("XLON", "2024-04-02 15:29", True),  # ... and summer time
            ("XLON", "2024-04-02 15:30", False),
            ("LSE", "2024-12-24 12:29", True),
            ("XETR", "2024-12-24 12:00", False),
            ("XETR", "2024-10-03 12:00", True),
            ("XTKS", "2024-10-04 02:30", False),  # lunch
            ("XTKS", "2024-10-04 03:30", True),
            ("XTKS", "2024-11-01 06:15", False),  # it closed at 15:00 ...
            ("XTKS", "2024-11-05 06:15", True),  # ... and closes at 15:30
            ("XHKG", "2024-12-24 03:59", True),
            ("XHKG", "2024-12-24 06:00", False),
            ("CMES", "2024-01-07 22:59", False),  # Sunday, 17:00 in Chicago
            ("CMES", "2024-01-07 23:00", True),
            ("CMES", "2019-12-31 22:59", True),  # over the end of a year, and of a decade
            ("CMES", "2020-01-01 22:59", False),
            ("CMES", "2020-01-01 23:00", True),
            ("24/7", "2020-01-01 00:00", True),
            ("24/7", "2024-02-29 23:59", True),
        ],
        kept=7,
    ),
)
def test_the_days_of_an_exchange(name: str, moment: str, is_open: bool) -> None:  # noqa: FBT001
    pytest.importorskip("exchange_calendars")
    assert known(name).is_open(ms(moment)) is is_open


@pytest.mark.parametrize("name", first_quick(["XLON", "XHKG", "XTKS", "CMES", "24/5"]))
def test_sessions_are_those_of_the_package_minute_by_minute(name: str) -> None:
    package = pytest.importorskip("exchange_calendars")
    sessions, since = known(name), ms("2019-12-20 00:00")
    times = since + np.arange(0, 30 * DAY, 7 * MINUTE)
    with of_pandas_for_the_package():
        calendar = package.get_calendar(name, start="2019-01-01", end="2021-01-01", side="left")
        expected = [bool(calendar.is_trading_minute(datetime.fromtimestamp(int(at) / 1000, UTC))) for at in times]
    assert sessions.mask(times).tolist() == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("XHKG", "mon 09:30-12:00, 13:00-16:00; tue"),
        ("CMES", "fri 00:00-17:00; sun 17:00-24:00 (America/Chicago, CMES)"),
        ("IEPA", "mon 00:00-18:00, 20:00-24:00; tue"),
        ("24/7", "sat 00:00-24:00; sun 00:00-24:00 (UTC, 24/7)"),
    ],
)
def test_the_regular_week_is_described(name: str, text: str) -> None:
    pytest.importorskip("exchange_calendars")
    assert text in str(known(name))


def test_a_source_in_the_sessions_of_an_exchange() -> None:
    pytest.importorskip("exchange_calendars")
    source = bknb.exchanges.in_sessions(bknb.exchanges.demo(), "XLON")
    assert source.sessions == Sessions.of_exchange("XLON")
    assert source.sessions.zone == "Europe/London"
    seen: list[datetime] = []
    strategy = bknb.add_strategy("seen", interval="1h", get_signal=lambda ctx: seen.append(ctx.when))
    bknb.backtest("VOD", strategy=strategy, exchange=source, frame=("2024-12-23", "2024-12-28"))
    assert {f"{when:%m-%d}" for when in seen} == {"12-23", "12-24", "12-27"}
    assert max(when for when in seen if when.day == 24) == datetime(2024, 12, 24, 12, tzinfo=UTC)


def test_without_the_package_the_error_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(MissingDependency, match=r"pip install 'bknb\[calendars\]'"):
        as_sessions("XBUD")
    with pytest.raises(UnknownName, match="known: fx, us-equities"):
        as_sessions("us-futures")


def test_an_unknown_calendar_is_refused() -> None:
    pytest.importorskip("exchange_calendars")
    with pytest.raises(UnknownName, match=r"no exchange calendar is called 'XLOM'; did you mean .*'XLON'"):
        as_sessions("XLOM")
    with pytest.raises(UsageError, match="'XLON'"):
        bknb.exchanges.in_sessions(bknb.exchanges.demo(), None)  # type: ignore[arg-type]


def test_what_a_calendar_does_not_cover_is_refused() -> None:
    pytest.importorskip("exchange_calendars")
    shanghai = known("XSHG")
    assert shanghai.is_open(ms("1990-12-19 02:00"))
    with pytest.raises(DataError, match=r"the calendar 'XSHG' covers 1990-12-03 00:00 UTC .. "):
        shanghai.is_open(ms("1990-12-02 23:59"))
    with pytest.raises(DataError, match=r"not 2199-01-05 .*\n.*pip install --upgrade exchange_calendars"):
        shanghai.open_ranges(ms("2199-01-05 00:00"), ms("2199-01-06 00:00"))


def test_a_calendar_on_which_the_package_fails() -> None:
    package = pytest.importorskip("exchange_calendars")

    with of_pandas_for_the_package():
        always = type(package.get_calendar("24/7"))

    class Ended(always):  # type: ignore[misc, valid-type]
        name = "XENDED"

        @classmethod
        def bound_max(cls) -> Any:
            return pd.Timestamp("2010-12-31")

    package.register_calendar_type("XENDED", Ended)
    try:
        with pytest.raises(DataError, match=r"cannot make the calendar 'XENDED'.*\n.*\n.*Sessions.weekly"):
            as_sessions("XENDED")
    finally:
        package.deregister_calendar("XENDED")


def test_a_break_that_was_abolished_is_none() -> None:
    package = pytest.importorskip("exchange_calendars")

    with of_pandas_for_the_package():
        always = type(package.get_calendar("24/7"))

    class NoLunch(always):  # type: ignore[misc, valid-type]
        name = "XNOLUN"
        break_start_times = ((None, time(11, 30)), (pd.Timestamp("2000-05-22"), None))
        break_end_times = ((None, time(12, 30)), (pd.Timestamp("2000-05-22"), None))

    package.register_calendar_type("XNOLUN", NoLunch)
    try:
        assert bknb.Sessions.of_exchange("XNOLUN").hours[0] == ((0, 24 * 60),)
    finally:
        package.deregister_calendar("XNOLUN")


@pytest.mark.long  # its calendar takes two seconds to make
def test_lunch_in_seoul_was_abolished() -> None:
    pytest.importorskip("exchange_calendars")
    assert bknb.Sessions.of_exchange("XKRX").hours[0] == ((9 * 60, 15 * 60 + 30),)
