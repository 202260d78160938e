"""Hours of the week as text: days, spans of a day, minutes after midnight.

What is written otherwise is a ``UsageError`` that shows how it is written.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from ..domain.calendar_protocol import WEEKDAYS
from ..errors import UsageError

_SPAN: Final = re.compile(r"\s*([0-2]?[0-9]):([0-5][0-9])\s*-\s*([0-2]?[0-9]):([0-5][0-9])\s*")


def weekdays(text: str) -> list[int]:
    """The days of the week that ``"mon"`` or ``"mon-fri"`` names, Monday 0.

    Examples
    --------
    >>> weekdays("fri-mon")
    [4, 5, 6, 0]
    """
    first, _, last = text.strip().lower().partition("-")
    try:
        low, high = WEEKDAYS.index(first.strip()), WEEKDAYS.index((last or first).strip())
    except ValueError:
        raise UsageError(f"days are written 'mon' or 'mon-fri', got {text!r}") from None
    return list(range(low, high + 1)) if low <= high else [*range(low, 7), *range(high + 1)]


def spans_of(text: str) -> list[tuple[int, int]]:
    """The spans that ``"09:00-11:30, 12:30-15:00"`` names, in minutes after midnight.

    Examples
    --------
    >>> spans_of("09:00-11:30, 12:30-15:00")
    [(540, 690), (750, 900)]
    """
    found = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part)
        if match is None:
            raise UsageError(f"hours are written '09:30-16:00', got {part.strip()!r}")
        first, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        if not first < end <= 24 * 60:
            raise UsageError(f"hours must end after they begin, at 24:00 at the latest, got {part.strip()!r}")
        found.append((first, end))
    return found


def minute_of(text: str) -> int:
    """The minute after midnight that ``"13:00"`` names; ``"24:00"`` is the end of the day.

    Examples
    --------
    >>> minute_of("13:00")
    780
    """
    return spans_of(f"00:00-{text}")[0][1]


def day_of(given: str | date) -> date:
    """A day, from one or from ``"2024-12-25"``.

    Examples
    --------
    >>> day_of("2024-12-25")
    datetime.date(2024, 12, 25)
    """
    try:
        return given if isinstance(given, date) else date.fromisoformat(given)
    except (TypeError, ValueError):
        raise UsageError(f"a day is written '2024-12-25', got {given!r}") from None
