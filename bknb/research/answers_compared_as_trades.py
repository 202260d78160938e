"""What a strategy answered as plain values, and whether two answers make the same trade."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET

from ..domain.formatting import failure_text, plain_number
from ..domain.manage_answers import read_answers
from ..domain.signal import Signal, entry_price
from ..domain.signal_validation import is_list, read_answer, target_prices
from ..user_code import where_it_failed

Answer: TypeAlias = tuple[Any, ...]
"""``("long", take_profit, stop_loss, minutes, price_open)``, ``("nothing",)`` or ``("error", text)``."""

NOTHING: Final[Answer] = ("nothing",)
SAME: Final = 1e-9
SAME_HISTORY: Final = 1e-6  # averages that never forget differ a little with the length of the past
MANAGED: Final = "manage"
ORDERS: Final = ("long", "short", "list")
MODEL: Final = "model"
_UNCOMPARED: Final = ("note", "id")


def as_answer(answer: object, *, negative: bool = False) -> Answer:
    """What ``get_signal`` answered: side and levels, then what else it declares; a note is not compared.

    ``negative``: whether prices may be at or below zero.
    """
    if answer is None:
        return NOTHING
    if is_list(answer):
        parts = [part for one in answer if one is not None for part in as_answer(one, negative=negative)]
        return ("list", *parts) if parts else NOTHING
    signal = read_answer(answer, negative=negative)
    if not isinstance(signal, Signal):
        return ("refused", signal.code)
    prices = target_prices(signal)
    levels = (prices[-1] if prices else None, signal.price_stop_loss, signal.minute_estimated_time, entry_price(signal))
    plain = (signal.position, *(None if level is None else float(level) for level in levels))
    ladder = signal.price_take_profit if isinstance(signal.price_take_profit, tuple) else ()
    timed = (signal.until, signal.bars, None if signal.valid is UNSET else ("valid", signal.valid))
    declared = (*ladder, signal.trailing, signal.breakeven, *timed, "close" if signal.entry == "close" else None)
    declared += () if signal.size is None else (("size", signal.size),)
    declared += (signal.price_open,) if isinstance(signal.price_open, tuple) else ()
    percents = (("stop_percent", signal.stop_percent), ("target_percent", signal.target_percent))
    declared += tuple((name, percent) for name, percent in percents if percent is not None)
    declared += () if signal.place is None else (("place", signal.place),)
    return (*plain, *map(repr, declared)) if any(declared) else plain


def as_managed(answer: object, *, negative: bool = False) -> Answer:
    """What ``manage`` answered, as names and values one after the other; a note is not compared.

    ``negative``: whether prices may be at or below zero.
    """
    if answer is None:
        return NOTHING
    answers, faults, _ = read_answers(answer, negative=negative)
    parts: list[Any] = []
    for one in answers:
        parts.append(type(one).__name__)
        parts += as_answer(one, negative=negative) if isinstance(one, Signal) else _given(one)
    parts += [fault.code for fault in faults]
    return (MANAGED, *parts) if parts else NOTHING


def _given(answer: msgspec.Struct) -> list[Any]:
    """Names and values of an answer, where they are not what they are by default."""
    found: list[Any] = []
    for item in msgspec.structs.fields(answer):
        value = getattr(answer, item.name)
        if item.name not in _UNCOMPARED and value != item.default:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            found += [item.name, float(value) if number else repr(value)]
    return found


def same(one: Answer, other: Answer, *, tolerance: float = SAME) -> bool:
    """Whether two answers make the same trade.

    Examples
    --------
    >>> same(("long", 110.0, 90.0, 60.0, None), ("long", 110.0 + 1e-12, 90.0, 60.0, None))
    True
    """
    if len(one) != len(other):
        return False
    return all(_equal(a, b, tolerance) for a, b in zip(one, other, strict=True))


def _equal(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance * max(abs(a), abs(b)) or (a != a and b != b)
    return bool(a == b)


def answer_text(answer: Answer) -> str:
    """An answer in a few words.

    Examples
    --------
    >>> answer_text(("long", 110.0, 90.0, 60.0, None)), answer_text(NOTHING)
    ('long, target 110, stop 90', 'nothing')
    """
    if answer[0] not in ("long", "short"):
        return " ".join(str(part) for part in answer)
    limit = "" if answer[4] is None else f" at {plain_number(answer[4])}"
    target, stop = ("none" if level is None else plain_number(level) for level in answer[1:3])
    return f"{answer[0]}{limit}, target {target}, stop {stop}"


def change_text(before: Answer, after: Answer) -> str:
    """A changed answer in words."""
    return f"{answer_text(before)} became {answer_text(after)}"


def line_with_place(error: BaseException) -> str:
    """An error in one line, with the line of the user's code at which it arose."""
    where = where_it_failed(error)
    return f"{failure_text(error)} ({where})" if where else failure_text(error)
