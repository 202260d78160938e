"""The sessions of markets, listed by loops that know nothing of bknb."""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

DAY = 86_400_000
A_DAY = timedelta(days=1)

Row = tuple[date, int, int, list[tuple[int, int]]]  # date, open, close, spans


def at(moment: datetime) -> int:
    return round(moment.timestamp()) * 1000


def rows_of(name: str, first: int, last: int) -> list[Row]:
    """The sessions of an exchange as its calendar lists them."""
    return list(_listed(name, first, last))


@cache
def _listed(name: str, first: int, last: int) -> list[Row]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about code of exchange_calendars
        import exchange_calendars

        table = exchange_calendars.get_calendar(name, start=f"{first}-01-01", end=f"{last}-12-31").schedule
    rows = []
    for label, row in table.iterrows():
        opened, closed = at(row["open"]), at(row["close"])
        spans = [(opened, closed)]
        if row["break_start"] == row["break_start"]:  # not a NaT
            spans = [(opened, at(row["break_start"])), (at(row["break_end"]), closed)]
        rows.append((label.date(), opened, closed, spans))
    return rows


def forex_rows(first: int, last: int) -> list[Row]:
    zone, rows = ZoneInfo("America/New_York"), []
    day = date(first, 1, 1)
    while day.year <= last:
        if day.weekday() < 5:
            opened = datetime(day.year, day.month, day.day, 17, tzinfo=zone) - A_DAY
            closed = datetime(day.year, day.month, day.day, 17, tzinfo=zone)
            span = (at(opened), at(closed))
            rows.append((day, *span, [span]))
        day += A_DAY
    return rows


def utc_rows(first: int, last: int) -> list[Row]:
    rows, day = [], date(first, 1, 1)
    while day.year <= last:
        opened = at(datetime(day.year, day.month, day.day, tzinfo=UTC))
        rows.append((day, opened, opened + DAY, [(opened, opened + DAY)]))
        day += A_DAY
    return rows
