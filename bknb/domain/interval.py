"""Candle intervals and UTC alignment. All times are UTC milliseconds."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from ..errors import UsageError

Interval: TypeAlias = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"]

MINUTE: Final = "1m"
MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1440
DAY_MS: Final = DAY_MINUTES * MINUTE_MS
WEEK: Final = "1w"
"""Its slots begin on Monday at 00:00 UTC, or on another day of the week that bars have; only where bars are as long."""
WEEK_MS: Final = 7 * DAY_MS
SHORTEST_MONTH_MS: Final = 28 * DAY_MS
EPOCH_DAY: Final = 719_163
"""The ordinal of 1 January 1970, as ``date.toordinal`` counts."""

INTERVAL_MS: Final[dict[str, int]] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    WEEK: WEEK_MS,
}


def interval_ms(interval: str) -> int:
    """Length of an interval in milliseconds.

    Raises
    ------
    UsageError
        When the interval is not one of the known ones.

    Examples
    --------
    >>> interval_ms("15m")
    900000
    """
    try:
        return INTERVAL_MS[interval]
    except (KeyError, TypeError):
        known = " ".join(INTERVAL_MS)
        if interval == "1M":
            raise UsageError(
                f"1M has no one length: candles of months are made of shorter ones where a strategy asks, as in "
                f"ctx.candles('1M', 12)\nexpected here one of {known}"
            ) from None
        raise UsageError(f"unknown interval {interval!r}; expected one of {known}") from None


def least_ms(interval: str) -> int:
    """The least length of a candle of an interval, ``1M`` as well, in milliseconds.

    Examples
    --------
    >>> least_ms("1M") // DAY_MS, least_ms("15m") // MINUTE_MS
    (28, 15)
    """
    return SHORTEST_MONTH_MS if interval == "1M" else interval_ms(interval)


def candles_since_1970(interval: str, when: int) -> int:
    """At most so many candles of an interval, ``1M`` as well, are there up to a moment (UTC ms).

    Examples
    --------
    >>> candles_since_1970("1d", 40 * DAY_MS), candles_since_1970("1M", 40 * DAY_MS)
    (40, 2)
    """
    return -(-when // least_ms(interval))


def floor_to(when: int, step: int) -> int:
    """The newest multiple of ``step`` (ms since the epoch, UTC) at or before ``when``.

    Examples
    --------
    >>> floor_to(1_640_991_725_000, 60_000)
    1640991720000
    """
    return when - when % step


def slot_after(when: int, slot_ms: int) -> int:
    """The begin of the slot after the one that ``when`` lies in, UTC ms; slots of ``slot_ms`` begin at the epoch.

    A strategy is asked once per slot of its interval: after a question at ``when``, from then on again.

    Examples
    --------
    >>> slot_after(1_640_991_600_000, 3_600_000) - 1_640_991_600_000
    3600000
    """
    return when - when % slot_ms + slot_ms


def ceil_to(when: int, step: int) -> int:
    """The oldest multiple of ``step`` at or after ``when``.

    Examples
    --------
    >>> ceil_to(1_640_991_725_000, 60_000)
    1640991780000
    """
    return -(-when // step) * step


def candles_text(base: str) -> str:
    """What base bars are called.

    Examples
    --------
    >>> candles_text("1m"), candles_text("1d")
    ('one-minute candles', '1d bars')
    """
    return "one-minute candles" if base == MINUTE else f"{base} bars"


def bar_text(base: str) -> str:
    """What one base bar is called.

    Examples
    --------
    >>> bar_text("1m"), bar_text("1h")
    ('minute', '1h bar')
    """
    return "minute" if base == MINUTE else f"{base} bar"


def count_text(count: int, base: str) -> str:
    """A number of base bars in words.

    Examples
    --------
    >>> count_text(1, "1m"), count_text(2, "1m"), count_text(2, "1h")
    ('1 minute', '2 minutes', '2 bars of 1h')
    """
    name, of = ("minute", "") if base == MINUTE else ("bar", f" of {base}")
    return f"{count} {name}{'' if count == 1 else 's'}{of}"
