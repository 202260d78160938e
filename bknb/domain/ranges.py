"""Sets of moments as sorted half-open ranges ``[first, end)``, in UTC milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]
Ranges: TypeAlias = tuple[Range, ...]


def merged(ranges: Iterable[Range]) -> Ranges:
    """The same moments as few ranges as possible, in order; empty ones are left out.

    Examples
    --------
    >>> merged([(5, 7), (0, 2), (2, 3), (6, 9), (4, 4)])
    ((0, 3), (5, 9))
    """
    found: list[Range] = []
    for first, end in sorted(ranges):
        if first >= end:
            continue
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((first, end))
    return tuple(found)


def without(ranges: Iterable[Range], taken: Iterable[Range]) -> Ranges:
    """What is in ``ranges`` and not in ``taken``.

    Examples
    --------
    >>> without([(0, 10)], [(2, 3), (5, 20)])
    ((0, 2), (3, 5))
    """
    holes = merged(taken)
    found: list[Range] = []
    at = 0
    for first, end in merged(ranges):
        while at < len(holes) and holes[at][1] <= first:
            at += 1
        later = at
        while later < len(holes) and holes[later][0] < end:
            if holes[later][0] > first:
                found.append((first, holes[later][0]))
            first = max(first, holes[later][1])  # noqa: PLW2901 -- what is left of this range
            later += 1
        if first < end:
            found.append((first, end))
    return tuple(found)


def common(ranges: Iterable[Range], others: Iterable[Range]) -> Ranges:
    """What is in both.

    Examples
    --------
    >>> common([(0, 4), (6, 9)], [(2, 7)])
    ((2, 4), (6, 7))
    """
    both = merged(ranges)
    return without(both, without(both, others))


def within(ranges: Iterable[Range], since: int, until: int) -> Ranges:
    """What of ``ranges`` lies in ``[since, until)``.

    Examples
    --------
    >>> within([(0, 4), (6, 9)], 2, 7)
    ((2, 4), (6, 7))
    """
    return merged((max(first, since), min(end, until)) for first, end in ranges)


def length(ranges: Iterable[Range]) -> int:
    """How much time they hold together, in milliseconds.

    Examples
    --------
    >>> length([(0, 4), (6, 9)])
    7
    """
    return sum(end - first for first, end in ranges)
