"""Numbers and moments as a printed page has them: a true minus, a narrow space before %, zero without a sign.

Plus signs stand on results and differences, never on levels. What is not available is a dash; the reason stands below.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

from .interval import DAY_MINUTES, MINUTE_MS

DASH: Final = "\u2013"
"""What stands where there is no value."""
_MINUS: Final = "\u2212"
_NARROW: Final = "\u202f"
_NEGATIVE: Final = re.compile(r"(?<![\w.)\-])-(?=[\d.])")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LARGEST: Final = 1e15


def printed_number(value: float | None, decimals: int = 2, *, signed: bool = False) -> str:
    """A number with commas between thousands; ``signed`` gives what is above zero a plus sign.

    Examples
    --------
    >>> printed_number(-1719.4, 0), printed_number(0.0251, signed=True), printed_number(-0.001), printed_number(None)
    ('\u22121,719', '+0.03', '0.00', '\u2013')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) >= _LARGEST:
        return f"{value:{'+' if signed else ''}.3g}".replace("-", _MINUS, 1)
    text = f"{value:z,.{decimals}f}"
    if text.startswith("-"):
        return _MINUS + text[1:]
    return f"+{text}" if signed and any(digit in "123456789" for digit in text) else text


def printed_percent(value: float | None, decimals: int = 1, *, signed: bool = False) -> str:
    """A percentage, a narrow no-break space before its sign.

    Examples
    --------
    >>> printed_percent(-11.72), printed_percent(5.18, signed=True), printed_percent(-0.04, signed=True)
    ('\u221211.7\u202f%', '+5.2\u202f%', '0.0\u202f%')
    """
    text = printed_number(value, decimals, signed=signed)
    return text if text == DASH else f"{text}{_NARROW}%"


def printed_words(text: str) -> str:
    """A sentence with a true minus before its numbers and a narrow space before each per cent sign.

    Examples
    --------
    >>> printed_words("held -0.25 % on 2024-01-01, x-1")
    'held \u22120.25\u202f% on 2024-01-01, x-1'
    """
    return _NEGATIVE.sub(_MINUS, text).replace(" %", f"{_NARROW}%")


def printed_span(minutes: float | None) -> str:
    """A span of minutes, as short as it can be told.

    Examples
    --------
    >>> printed_span(52), printed_span(504), printed_span(1728), printed_span(216_000), printed_span(None)
    ('52 min', '8.4 h', '1.2 d', '150 d', '\u2013')
    """
    if minutes is None or not math.isfinite(minutes):
        return DASH
    if minutes < 60:
        return f"{minutes:.0f} min"
    if minutes < DAY_MINUTES:
        return f"{minutes / 60:.{1 if minutes < 600 else 0}f} h"
    return f"{minutes / DAY_MINUTES:,.{1 if minutes < 10 * DAY_MINUTES else 0}f} d"


def printed_day(when: int, *, year: bool = False) -> str:
    """The day (UTC) of a moment in UTC milliseconds.

    Examples
    --------
    >>> printed_day(1_713_052_800_000), printed_day(1_713_052_800_000, year=True)
    ('14 Apr', '14 Apr 2024')
    """
    day = datetime.fromtimestamp(when // 1000, UTC)
    return f"{day.day} {_MONTHS[day.month - 1]}{f' {day.year}' if year else ''}"


def printed_minute(when: int) -> str:
    """The day and the time (UTC) of a moment in UTC milliseconds.

    Examples
    --------
    >>> printed_minute(1_717_891_200_000)
    '9 Jun 00:00'
    """
    return f"{printed_day(when)} {datetime.fromtimestamp(when // MINUTE_MS * 60, UTC):%H:%M}"


def month_name(month: int) -> str:
    """The short name of a month, 1 to 12.

    Examples
    --------
    >>> month_name(12)
    'Dec'
    """
    return _MONTHS[month - 1]
