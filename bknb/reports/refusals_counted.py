"""Signals that did not become orders because a rule or a risk profile refused them, counted by reason."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ..domain.sweep_trial import by_codes

if TYPE_CHECKING:
    from collections.abc import Iterable

REJECTED: Final = "Rejected signals"
REFUSED: Final = "Refused by a risk profile"

_SHOWN: Final = 3  # reasons beside a headline
_NUMBER: Final = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,:-]\d+)*(?!\w)")
"""A number, a date or a time of day that stands alone: digits of a name are part of it."""

Counts = tuple[tuple[str, int], ...]
"""Reasons with their counts, most frequent first, then by name."""


def counted(reasons: Iterable[str]) -> Counts:
    """Count reasons.

    Examples
    --------
    >>> counted(["b", "a", "b"])
    (('b', 2), ('a', 1))
    """
    return tuple(sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0])))


def rejected_by_rule(results: Iterable[Any]) -> Counts:
    """The rejections of results by the rules that were broken, each with the message of its first.

    The messages hold prices, so no two of them are alike.
    """
    return by_rule(
        (_joined(rules, ", "), _joined(reasons, "; "), 1)
        for result in results
        for rules, reasons in zip(result.rejected["codes"], result.rejected["reasons"], strict=True)
    )


def by_rule(refusals: Iterable[tuple[str, str, int]]) -> Counts:
    """Refusals by the codes of the rules that were broken, each with the message of its first.

    Examples
    --------
    >>> by_rule([("take_profit_near", "0.1 %", 2), ("minutes_limit", "90", 5), ("take_profit_near", "0.2 %", 4)])
    (('take_profit_near (first: 0.1 %)', 6), ('minutes_limit (first: 90)', 5))
    """
    ordered = sorted(by_codes(refusals), key=lambda found: (-found[2], found[0]))
    return tuple((f"{codes} (first: {first})", count) for codes, first, count in ordered)


def refused_by_rule(results: Iterable[Any]) -> Counts:
    """What the risk profiles of results refused, by profile and rule, and then what their accounts did.

    What an account says holds amounts: it is counted by what stands before them.
    """
    refused = sorted((event for result in results for event in result.refused), key=lambda event: event.when)
    profiles = ((f"{event.risk}: {event.note}", "") for event in refused if event.risk)
    accounts = (event.note.partition(": ") for event in refused if not event.risk)
    return (*by_kind(profiles), *by_kind((f"account: {rule}", amounts) for rule, _, amounts in accounts))


def by_kind(told: Iterable[tuple[str, str]]) -> Counts:
    """Count texts that say the same but for their numbers, each with what the newest of them says.

    Parameters
    ----------
    told
        What is counted, and what is said beside it and not counted by; oldest first.

    Examples
    --------
    >>> by_kind([("limits: 2 open, at most 1", ""), ("limits: 3 open, at most 1", ""), ("limits: rests", "")])
    (('limits: 3 open, at most 1 (newest)', 2), ('limits: rests', 1))
    >>> by_kind([("account: too small", "4 of 5"), ("account: too small", "3 of 5")])
    (('account: too small (newest: 3 of 5)', 2),)
    """
    found: dict[str, tuple[str, str, int, bool]] = {}
    for text, beside in told:
        kind = _NUMBER.sub("#", text)
        before, _, count, differ = found.get(kind, (text, "", 0, False))
        found[kind] = (text, beside, count + 1, differ or before != text)
    ordered = sorted(found.values(), key=lambda each: (-each[2], each[0]))
    return tuple((f"{text}{_newest(beside, differ=differ)}", count) for text, beside, count, differ in ordered)


def _newest(beside: str, *, differ: bool) -> str:
    if beside:
        return f" (newest: {beside})"
    return " (newest)" if differ else ""


def _joined(texts: Any, separator: str) -> str:
    return texts if isinstance(texts, str) else separator.join(str(text) for text in texts)


def refusal_pairs(results: Iterable[Any]) -> list[tuple[str, str]]:
    """The refusals of results for a headline: a label and a text for each kind that there was; empty for none."""
    results = list(results)
    kinds = ((REJECTED, rejected_by_rule(results)), (REFUSED, refused_by_rule(results)))
    return [(label, counts_text(counts)) for label, counts in kinds if counts]


def counts_text(counts: Counts) -> str:
    """The number of refusals, and the most frequent reasons.

    Examples
    --------
    >>> counts_text((("minutes_limit", 1200), ("take_profit_near", 3)))
    '1,203: 1,200 x minutes_limit, 3 x take_profit_near'
    >>> counts_text((("a", 4), ("b", 3), ("c", 2), ("d", 1)))
    '10: 4 x a, 3 x b, 2 x c, 1 for other reasons'
    """
    text = reasons_text(counts[:_SHOWN])
    others = sum(count for _, count in counts[_SHOWN:])
    return f"{total(counts):,}: {text}" + (f", {others:,} for other reasons" if others else "")


def reasons_text(counts: Iterable[tuple[str, int]]) -> str:
    """Reasons with their counts in one line."""
    return ", ".join(f"{count:,} x {reason}" for reason, count in counts)


def total(counts: Iterable[tuple[str, int]]) -> int:
    """The sum of the counts."""
    return sum(count for _, count in counts)
