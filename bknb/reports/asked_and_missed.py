"""When the strategy of a result was asked, with which parameters, and what it missed or found no place for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain.text import shown


def asked(result: Any) -> tuple[tuple[str, str], ...]:
    """When the strategy was asked, and its parameters, where it has some, as facts of the report."""
    at = result.run_record.plan.strategy.at
    when = ("Interval", str(result.interval)) if at is None else ("Asked at", str(at))
    given = parameters_text(result.parameters)
    return (when, ("Parameters", given)) if given else (when,)


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """Parameters in one line, each with at most 60 characters of its value.

    Examples
    --------
    >>> parameters_text({"fast": 5, "kind": "ema"})
    "fast=5, kind='ema'"
    """
    return ", ".join(f"{name}={' '.join(shown(value, 60).split())}" for name, value in parameters.items())


def missed(result: Any) -> tuple[str, ...]:
    """How many moments of its schedule it could not be asked at, and how many signals found no place."""
    return _missed(result) + _without_place(result)


def _without_place(result: Any) -> tuple[str, ...]:
    left_out = result.run_record.records.places_taken
    if not left_out:
        return ()
    signals = "1 signal was" if left_out == 1 else f"{left_out:,} signals were"
    return (f"{signals} left out: the place was taken, or none was free",)


def _missed(result: Any) -> tuple[str, ...]:
    if not result.missed:
        return ()
    times = "1 moment was" if result.missed == 1 else f"{result.missed:,} moments were"
    at = result.run_record.plan.strategy.at
    return (f"{times} missed of those of at={str(at)!r}: something was open, or no bar opened in time",)
