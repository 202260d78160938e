"""The text of a progress line: percent, facts, speed, time left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING

from ..domain.formatting import MISSING, failure_text, percent_text
from ..domain.interval import MINUTE_MS, interval_ms
from ..metrics.reasons import ADDS, BELOW_ZERO

if TYPE_CHECKING:
    from ..domain.signal_events import Closed


def interval_minutes(interval: str) -> float:
    """Minutes of history between two moments of an interval.

    Examples
    --------
    >>> interval_minutes("4h")
    240.0
    """
    return interval_ms(interval) / MINUTE_MS


def minutes_between(start: int, end: int) -> float:
    """Minutes from one moment to another (UTC ms).

    Examples
    --------
    >>> minutes_between(0, 90_000)
    1.5
    """
    return (end - start) / MINUTE_MS


def failed_text(error: BaseException) -> str:
    """The state of a run that failed, as a line.

    Examples
    --------
    >>> failed_text(ValueError("no price"))
    'failed: ValueError: no price'
    """
    return f"failed: {failure_text(error)}"


def speed_text(minutes_per_second: float | None) -> str:
    """Minutes of history per second; empty while unknown.

    Examples
    --------
    >>> speed_text(3_100_000.0), speed_text(45_000.0), speed_text(None)
    ('3.1 M minutes/s', '45 k minutes/s', '')
    """
    if minutes_per_second is None:
        return ""
    if minutes_per_second >= 1e6:
        return f"{minutes_per_second / 1e6:.1f} M minutes/s"
    if minutes_per_second >= 1e4:
        return f"{minutes_per_second / 1e3:.0f} k minutes/s"
    return f"{minutes_per_second:,.0f} minutes/s"


def compounded(results: Iterable[float]) -> float:
    """The result of trades made one after the other with the whole account, in percent; -100 once nothing is left.

    Parameters
    ----------
    results : iterable of float
        The net result of each, in percent.

    Examples
    --------
    >>> round(compounded([10.0, 10.0]), 9), compounded([-150.0, -150.0]), compounded([])
    (21.0, -100.0, 0.0)
    """
    return (prod((max(1 + each / 100, 0.0) for each in results), start=1.0) - 1) * 100


def total_text(closed: Sequence[Closed], *, needs_capital: bool) -> str:
    """What closed trades brought: compounded, or where a position was added to the sum of their results.

    Where one opened at or below zero there is none: ``N/A``.

    Parameters
    ----------
    closed
        The closed trades.
    needs_capital
        Whether a position of the run was added to, one that is still open included.

    Examples
    --------
    >>> total_text([], needs_capital=False)
    '0.00 % compounded'
    """
    if any(trade.pnl.points is not None for trade in closed):
        return f"{MISSING} compounded, {BELOW_ZERO}"
    results = [trade.pnl.pnl_percentage for trade in closed]
    if needs_capital:
        return f"{percent_text(sum(results))} summed, of the first fill of each (compounded: {MISSING}, {ADDS})"
    return f"{percent_text(compounded([trade.of_equity for trade in closed]))} compounded"


def clock_text(seconds: float) -> str:
    """A span of seconds as ``m:ss``.

    Examples
    --------
    >>> clock_text(2.4), clock_text(75), clock_text(7200)
    ('0:02', '1:15', '120:00')
    """
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def left_text(seconds: float | None) -> str:
    """The time left, from 100 minutes on in hours; empty while unknown.

    Examples
    --------
    >>> left_text(2.4), left_text(75.0), left_text(7200.0), left_text(None)
    ('0:02 left', '1:15 left', '2.0 h left', '')
    """
    if seconds is None:
        return ""
    return f"{clock_text(seconds)} left" if round(seconds) < 6000 else f"{seconds / 3600:.1f} h left"


def progress_text(fraction: float, *, seconds: float, facts: list[str]) -> tuple[int, str]:
    """Whole percent (never 100), and the progress line with facts and the time left.

    Parameters
    ----------
    fraction : float
        The part behind, 0 to 1.
    seconds : float
        How long it took so far.
    facts : list of str
        Further facts for the line.

    Examples
    --------
    >>> progress_text(0.25, seconds=1.0, facts=["3 tried"])
    (25, '25 % · 3 tried · 0:03 left')
    """
    percent = min(int(100 * fraction), 99)
    left = left_text(seconds * (1 - fraction) / fraction) if fraction > 0 else ""
    return percent, " · ".join(part for part in (f"{percent} %", *facts, left) if part)
