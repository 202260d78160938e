"""Sentences about the legs of a portfolio, each told once with the legs it holds for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMED: Final = 3


def grouped_by_leg(told: Iterable[tuple[str, str]], *, legs: int) -> list[str]:
    """Each different sentence once, in order, with the legs that it was said of.

    Parameters
    ----------
    told
        Name of a leg and a sentence about it.
    legs
        How many legs there are.

    Examples
    --------
    >>> grouped_by_leg([("a on X", "no volume"), ("a on X", "stopped"), ("a on Y", "no volume")], legs=2)
    ['no volume (all 2 legs)', 'stopped (a on X)']
    """
    found: dict[str, list[str]] = {}
    for leg, text in told:
        names = found.setdefault(text, [])
        if leg not in names:
            names.append(leg)
    return [_line(text, names, legs) for text, names in found.items()]


def _line(text: str, names: list[str], legs: int) -> str:
    if len(names) == 1:
        return f"{text} ({names[0]})"
    if len(names) == legs:
        return f"{text} (all {legs:,} legs)"
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{text} ({len(names):,} of {legs:,} legs: {', '.join(names[:_NAMED])}{more})"
