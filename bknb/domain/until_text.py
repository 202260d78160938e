"""Moments and lengths of time as users write them, each as one text: that is how they are kept, on disk as well."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from .schedules import Schedule
from .signal_events import Reason
from .text import shown

SESSION_END: Final = re.compile(r"session_end(?:\s*-\s*([1-9][0-9]{0,3})(m|h))?")
MINUTES: Final = re.compile(r"([1-9][0-9]{0,8})m")
EXAMPLES: Final = "minutes, a datetime with a time zone, 'session_end', 'session_end-5m' or a time of the day: '16:00'"


def moment_text(value: object, name: str) -> str | Reason:
    """A moment or a length of time that a user wrote as the text it is kept as; the reason where it is neither.

    Examples
    --------
    >>> moment_text(90, "until"), moment_text("session_end - 5m", "until")
    ('90m', 'session_end-5m')
    >>> moment_text(datetime(2024, 1, 2, 21, tzinfo=UTC), "until")
    '2024-01-02T21:00:00+00:00'
    >>> moment_text(0, "until").text
    'until in minutes must be a whole number above 0, got 0'
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            text = f"{name} must have a time zone, got {value.isoformat()}, which has none"
            return reason_of(name, f"{text}; write {name}=….replace(tzinfo=datetime.UTC), or the zone that it is of")
        try:
            return value.astimezone(UTC).isoformat()
        except OverflowError:
            advice = "give a moment within some years, or None"
            return reason_of(name, f"{name} {value.isoformat()} is out of range; {advice}")
    if isinstance(value, Schedule):
        return str(value)
    if isinstance(value, str):
        return _plain_text(value, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < 10**9 or value != int(value):
            return reason_of(name, f"{name} in minutes must be a whole number above 0, got {shown(value, 60)}")
        return f"{int(value)}m"
    return reason_of(name, f"{name} must be {EXAMPLES}, got {type(value).__name__}: {shown(value, 60)}")


def reason_of(name: str, text: str) -> Reason:
    """The reason for what is wrong with an argument; its code is the first word of ``name``."""
    return Reason(name.split(maxsplit=1)[0], text)


def _plain_text(value: str, name: str) -> str | Reason:
    text = value.strip()
    if (found := SESSION_END.fullmatch(text)) is not None:
        return f"session_end-{found[1]}{found[2]}" if found[1] else "session_end"
    if text.startswith("session_end"):
        advice = f"{name}='session_end' is the close itself, and 'session_end-5m' five minutes before it"
        return reason_of(name, f"{name} {shown(value, 60)} is not understood: {advice}")
    if not text:
        return reason_of(name, f"{name} must be {EXAMPLES}, got an empty text")
    try:
        moment = datetime.fromisoformat(text) if re.match(r"[0-9]{4}-", text) else None
    except ValueError as error:
        advice = "write a datetime with a time zone, or such as '2024-01-31T16:00+00:00'"
        return reason_of(name, f"{name} {shown(value, 60)} is no date and time: {error}; {advice}")
    return text if moment is None else moment_text(moment, name)


def instant_of(text: str) -> int | None:
    """The moment (UTC ms) of a text that is a date and a time; ``None`` for another.

    Examples
    --------
    >>> instant_of("1970-01-01T00:01:00+00:00"), instant_of("16:00")
    (60000, None)
    """
    return round(datetime.fromisoformat(text).timestamp() * 1000) if re.match(r"[0-9]{4}-", text) else None
