"""Validation of exits beyond one stop and one target: ladders, trailing stops, break-even, memos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from ..config import Settings
from .declared_exits import Breakeven, Ladder, Trailing
from .pnl import breakeven_price
from .position_fills import DUST
from .signal_events import Reason
from .text import shown

_LONGEST_MEMO: Final = 16_384  # bytes of JSON
_WHOLE: Final = 100  # percent


def is_finite_number(value: object) -> bool:
    """Whether a value is a finite int or float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number no float can hold
        return False


def is_positive(value: object) -> bool:
    """Whether a value is a finite number above 0."""
    return isinstance(value, (int, float)) and is_finite_number(value) and value > 0


def read_ladder(value: object, name: str = "price_take_profit", *, negative: bool = False) -> Ladder | Reason:
    """A ladder of targets as pairs of price, or percent, and share, or why it is none.

    ``name`` is that of its field, ``negative`` whether its prices may be at or below zero.

    Examples
    --------
    >>> read_ladder([(104, 0.5), [108, 0.25]])
    ((104.0, 0.5), (108.0, 0.25))
    >>> read_ladder([104, 108]).text
    'a ladder in price_take_profit is a list of pairs (price, share), such as [(104.0, 0.5), (108.0, 0.25)], got 104'
    """
    levels: list[tuple[float, float]] = []
    unit, example = ("price", "[(104.0, 0.5), (108.0, 0.25)]")
    if name == "target_percent":
        unit, example = "percent", "[(4.0, 0.5), (8.0, 0.25)]"
    what = f"a ladder in {name} is a list of pairs ({unit}, share), such as {example}"
    if isinstance(value, Mapping):
        return Reason("ladder", f"{what}, got a mapping: {shown(dict(value), 80)}; list(….items()) makes pairs of it")
    assert isinstance(value, list | tuple)  # the caller looked  # noqa: S101
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return Reason("ladder", f"{what}, got {shown(pair, 80)}")
        price, share = (each.item() if hasattr(each, "item") else each for each in pair)
        if not (is_finite_number(price) if negative else is_positive(price)):
            above = "" if negative else " above 0"
            return Reason("ladder", f"each {unit} of a ladder must be a finite number{above}, got {shown(price, 80)}")
        if not is_positive(share) or share > 1 + DUST:
            text = "each share of a ladder must be above 0 and at most 1, a part of the first size"
            return Reason("ladder", f"{text}, got {shown(share, 80)}")
        levels.append((float(price), float(share)))
    if not levels:
        return Reason("ladder", f"a ladder in {name} needs a level; None means no target")
    total = math.fsum(share for _, share in levels)
    if total > 1 + DUST:
        text = f"the shares of a ladder add up to {total:g}; at most 1, the first size, can be closed"
        return Reason("ladder", f"{text}; make them smaller")
    return tuple(levels)


def sorted_ladder(levels: Ladder, sign: int) -> Ladder:
    """A ladder with the level nearest to the entry first; ``sign`` is 1 for a long and -1 for a short."""
    return tuple(sorted(levels, key=lambda level: sign * level[0]))


def broken_trailing(trailing: object, *, sign: int, price: float | None, what: str) -> list[Reason]:
    """What is wrong with a trailing stop of a long (``sign`` 1) or a short (-1).

    The distance of a long's must be below ``price`` (quote currency), which is ``what``: behind a wider one its stop is
    a price that cannot be. ``None``: it is not known, or prices may be at or below zero.

    Examples
    --------
    >>> broken_trailing(Trailing(percent=1.0), sign=1, price=100.0, what="its entry")
    []
    >>> broken_trailing(Trailing(), sign=1, price=100.0, what="its entry")[0].text
    'trailing needs percent or distance, and not both: bknb.Trailing(percent=1.0), got percent=None, distance=None'
    """
    if not isinstance(trailing, Trailing):
        got = f"got {type(trailing).__name__}: {shown(trailing, 60)}"
        return [Reason("trailing", f"trailing must be bknb.Trailing(percent=…, after=…) or None, {got}")]
    found: list[Reason] = []
    percent, distance = trailing.percent, trailing.distance
    if (percent is None) == (distance is None):
        text = "trailing needs percent or distance, and not both: bknb.Trailing(percent=1.0)"
        found.append(Reason("trailing", f"{text}, got percent={shown(percent, 80)}, distance={shown(distance, 80)}"))
    elif percent is not None and not (is_positive(percent) and percent < _WHOLE):
        text = "percent of a trailing stop must be above 0 and below 100"
        found.append(Reason("trailing", f"{text}, got {shown(percent, 80)}"))
    elif distance is not None and not is_positive(distance):
        text = "distance of a trailing stop must be a finite number above 0, in quote currency"
        found.append(Reason("trailing", f"{text}, got {shown(distance, 80)}"))
    elif distance is not None and sign > 0 and price is not None and distance >= price:
        text = f"distance of a trailing stop of a long must be below {what} {price:g}"
        found.append(Reason("trailing", f"{text}, got {shown(distance, 80)}"))
    if not is_finite_number(trailing.after) or trailing.after < 0:
        text = "after of a trailing stop must be a percentage of at least 0"
        found.append(Reason("trailing", f"{text}, got {shown(trailing.after, 80)}"))
    return found


def broken_breakeven(breakeven: object, *, sign: int, settings: Settings) -> list[Reason]:
    """What is wrong with a break-even stop of a long (``sign`` 1) or a short (-1).

    Examples
    --------
    >>> broken_breakeven(Breakeven(after=0.2), sign=1, settings=Settings())[0].text
    "after 0.2 % of breakeven is not beyond the round-trip costs of 0.401 %: the stop would lie beyond the market; \
give a higher after, or plus=''"
    """
    if not isinstance(breakeven, Breakeven):
        got = f"got {type(breakeven).__name__}: {shown(breakeven, 60)}"
        return [Reason("breakeven", f"breakeven must be bknb.Breakeven(after=…) or None, {got}")]
    found: list[Reason] = []
    after: object = breakeven.after
    if not is_positive(breakeven.after):
        found.append(Reason("breakeven", f"after of breakeven must be a percentage above 0, got {shown(after, 80)}"))
    plus: object = breakeven.plus
    if plus not in ("costs", ""):
        found.append(Reason("breakeven", f"plus of breakeven must be 'costs' or '', got {shown(plus, 60)}"))
    if found or plus == "":
        return found
    slippage, fee = settings.percent_slippage, settings.percent_fee
    costs = sign * (breakeven_price("long" if sign > 0 else "short", 100.0, slippage, fee) - 100.0)
    if breakeven.after <= costs:
        text = f"after {breakeven.after:g} % of breakeven is not beyond the round-trip costs of {costs:.3f} %"
        advice = "the stop would lie beyond the market; give a higher after, or plus=''"
        return [Reason("breakeven_costs", f"{text}: {advice}")]
    return []


def memo_text(memo: object) -> str | Reason:
    """A memo as JSON text, empty for ``None``; or why it is none.

    Examples
    --------
    >>> memo_text({"leg": 2}), memo_text(None)
    ('{"leg":2}', '')
    """
    if memo is None:
        return ""
    if not isinstance(memo, Mapping):
        return Reason("memo", f"memo must be a mapping that JSON can hold, got {type(memo).__name__}")
    try:
        if fault := _not_in_json(memo, "memo"):
            return Reason("memo", f"memo must be a mapping that JSON can hold, with texts as keys: {fault}")
        text = msgspec.json.encode(memo)
    except RecursionError:
        return Reason("memo", "memo must be a mapping that JSON can hold, and not contain itself")
    except (ValueError, msgspec.MsgspecError) as error:  # a text that cannot be written
        return Reason("memo", f"memo must be a mapping that JSON can hold: {error}")
    if len(text) > _LONGEST_MEMO:
        return Reason("memo", f"memo must be at most {_LONGEST_MEMO} bytes of JSON, got {len(text)}")
    return text.decode()


def _not_in_json(value: object, name: str) -> str:
    """What of a value would not come back from JSON as it is, with what to write; empty: nothing but tuples."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                return f"{name} has the key {shown(key, 60)} ({type(key).__name__}); write {shown(str(key), 60)}"
            if fault := _not_in_json(each, f"{name}[{shown(key, 60)}]"):
                return fault
        return ""
    if isinstance(value, list | tuple):
        return next((fault for at, each in enumerate(value) if (fault := _not_in_json(each, f"{name}[{at}]"))), "")
    if value is None or isinstance(value, bool | str) or is_finite_number(value):
        return ""
    return (
        f"{name} is {shown(value, 60)} ({type(value).__name__}); "
        "write a text, a finite number, True, False, None or a list"
    )
