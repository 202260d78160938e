"""When the strategy of a result was asked, and what it missed, for its report."""

from __future__ import annotations

from typing import Any


def asked(result: Any) -> tuple[str, str]:
    """When the strategy was asked."""
    at = result.run_record.plan.strategy.at
    return ("Interval", str(result.interval)) if at is None else ("Asked at", str(at))


def missed(result: Any) -> tuple[str, ...]:
    """How many moments of its schedule it could not be asked at."""
    if not result.missed:
        return ()
    times = "1 moment was" if result.missed == 1 else f"{result.missed:,} moments were"
    at = result.run_record.plan.strategy.at
    return (f"{times} missed of those of at={str(at)!r}: something was open, or no bar opened in time",)
