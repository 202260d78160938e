"""Weights: what a strategy wants to hold, as a part of the equity, and the answers that lead there.

A weight of 0.5 is a long worth half of the equity, -1 a short worth all of it, 0 nothing. Every change is an answer
that the lifecycle knows already: a signal, or for what is open an add, a reduction, or a close with or without a
signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from .manage_answers import Add, Cancel, Close, PositionAnswer, Reduce
from .position_book import PositionOrder
from .position_fills import DUST, Fill
from .position_view import HeldPosition
from .risk import WeightLimits
from .signal import Position, ScheduledSignal, Signal, sign_of
from .signal_events import Reason
from .text import shown

_EXACT: Final = 1e-9  # as much more than the most is arithmetic
_MOST: Final = 1e9  # a larger weight is no part of an equity: something was divided by nearly nothing
_ISOLATED: Final = ", mode='isolated'"  # what legs of a portfolio need
_ROUNDS: Final = 20  # how often costs that are functions of the order are asked again for smaller ones


def read_weight(answer: object, limits: WeightLimits | None = None) -> float | Reason:
    """A weight as a float, or the reason why it is none; ``limits`` are those of the account, where it is known.

    Examples
    --------
    >>> read_weight(0.5), read_weight(float("nan")).text
    (0.5, 'get_weight returns None, or a finite number such as 0.5, -1 or 0; got float: nan')
    >>> read_weight(1.5, WeightLimits()).text
    'weight 1.5: all of the equity is 1, and the account has no leverage; give account=bknb.Margin(leverage=2)'
    """
    plain = answer
    if hasattr(answer, "item") and getattr(answer, "ndim", 0) == 0:
        plain = answer.item()
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not abs(plain) <= _MOST:
        hint = _hint(answer)
        text = "get_weight returns None, or a finite number such as 0.5, -1 or 0"
        return Reason("weight", f"{text}; got {type(answer).__name__}: {shown(answer, 80)}{hint}")
    weight = float(plain)
    if limits is not None:
        if weight < 0.0 and not limits.shorts:
            text = f"weight {weight:g}: a spot account has no shorts"
            return Reason("weight", f"{text}; give account=bknb.Margin(), or a weight of at least 0")
        if abs(weight) > limits.leverage * (1 + _EXACT):
            return Reason("weight", f"weight {weight:g}: {_too_much(weight, limits.leverage)}")
    return weight


def _hint(answer: object) -> str:
    if isinstance(answer, bool) or type(answer).__name__ in ("bool_", "bool"):
        return "; write 1 or 0"
    if isinstance(answer, dict):
        return "; weights of several symbols are answered by a get_weights of bknb.weights"
    if isinstance(answer, int | float) and _MOST < abs(answer) < math.inf:
        return f"; a weight is at most {_MOST:g}: perhaps something was divided by nearly 0"
    if isinstance(answer, str) or type(answer).__name__ in ("Decimal", "Fraction"):
        return "; write float(…)"
    if hasattr(answer, "__len__"):
        return "; give one number, such as the last: values[-1]"
    return ""


def _too_much(weight: float, most: float, mode: str = "") -> str:
    wanted = math.ceil(abs(weight) * (1 - _EXACT))
    advice = f"give account=bknb.Margin(leverage={wanted}{mode})"
    if most == 1.0:
        return f"all of the equity is 1, and the account has no leverage; {advice}"
    return f"the account has a leverage of {most:g}; {advice}, or a smaller weight"


def marked_weight(
    fills: Iterable[Fill], *, sign: int, opened_with: float, left: float, mark: float, slippage: float, fee: float
) -> float:
    """What an open position is worth as a part of the equity, both at ``mark``; below 0 for a short.

    The equity is that of an account whose positions come one after the other, with the costs of what has filled booked.
    Where nothing of it is left the weight is infinite.

    Parameters
    ----------
    fills
        Of the position, in order.
    sign
        1 for a long, -1 for a short.
    opened_with
        The part of the equity that the first of them took.
    left
        What is open, in units of the first fill.
    mark
        Quote currency.
    slippage, fee
        Of each side, percent.

    Examples
    --------
    >>> entry = Fill(number=0, kind="entry", at=0, share=1.0, price=100.0)
    >>> marked_weight([entry], sign=1, opened_with=0.5, left=1.0, mark=200.0, slippage=0.0, fee=0.0)
    0.6666666666666666
    """
    moved = turned = first = 0.0
    for fill in fills:
        enters = sign if fill.enters else -sign
        value = fill.share * fill.price * (1 + enters * slippage / 100)
        first = first or value
        moved -= enters * value
        turned += value
    value = sign * left * mark
    gained = (moved + value - turned * fee / 100) / first
    equity = 1 + opened_with * gained
    return opened_with * value / first / equity if equity > 0.0 else sign * math.inf


def weight_signal(weight: float) -> Signal | None:
    """The signal that opens a weight where nothing is held; ``None``: it is 0.

    Examples
    --------
    >>> weight_signal(-0.5).position, weight_signal(-0.5).size, weight_signal(0.0)
    ('short', 0.5, None)
    """
    if weight == 0.0:
        return None
    return Signal(position="long" if weight > 0.0 else "short", size=abs(weight))


def signed_weight(signal: Signal | ScheduledSignal) -> float:
    """The weight that a signal opens, below 0 for a short.

    Examples
    --------
    >>> signed_weight(Signal(position="short", size=0.25))
    -0.25
    """
    assert signal.position is not None  # weights say it  # noqa: S101
    return sign_of(signal.position) * (1.0 if signal.size is None else signal.size)


def sides_of_weights(weights: Mapping[int, float]) -> dict[int, int]:
    """The side that each weight takes, 1 or -1 by its moment (UTC ms), in their order.

    Where all are on one side, and not the same, those above their median take the long side and those below it the
    short one.

    Examples
    --------
    >>> sides_of_weights({0: 0.5, 1: -1.0}), sides_of_weights({0: 0.25, 1: 0.5, 2: 0.75})
    ({0: 1, 1: -1}, {0: -1, 2: 1})
    """
    values = sorted(weights.values())
    one_side = bool(values) and values[0] * values[-1] > 0.0 and values[0] < values[-1]
    middle = values[len(values) // 2] if one_side else 0.0
    return {when: 1 if weight > middle else -1 for when, weight in sorted(weights.items()) if weight != middle}


class HeldWeight(NamedTuple):
    """What one leg of a book holds: its weight, below 0 for a short, its size in units of the first, and its orders."""

    weight: float
    size: float
    waiting: tuple[PositionOrder | ScheduledSignal, ...] = ()

    @property
    def sign(self) -> int:
        """1 for a long, -1 for a short."""
        return -1 if self.weight < 0.0 else 1

    @property
    def position(self) -> Position:
        """The side of what is held."""
        return "short" if self.weight < 0.0 else "long"


def read_weights(
    answer: object, symbols: Sequence[str], limits: WeightLimits
) -> dict[str, float | None] | tuple[Reason, ...]:
    """The weight that each symbol of a book is to have, or everything that is wrong with an answer.

    A symbol that is not named is to have 0, and ``None`` leaves it as it is.

    Examples
    --------
    >>> read_weights({"A": 0.5, "B": None}, ["A", "B", "C"], WeightLimits())
    {'A': 0.5, 'B': None, 'C': 0.0}
    >>> [reason.text[:46] for reason in read_weights({"A": 0.75, "B": -0.5}, ["A", "B"], WeightLimits())]
    ['weights of 1.25 together: all of the equity is']
    """
    if not isinstance(answer, Mapping):
        text = "get_weights returns None, or a mapping from symbols to weights such as {'A': 0.6, 'B': 0.4}"
        hint = "; write .to_dict() behind it" if callable(getattr(answer, "to_dict", None)) else ""
        return (Reason("weight", f"{text}; got {type(answer).__name__}: {shown(answer, 80)}{hint}"),)
    reasons: list[Reason] = []
    found: dict[str, float | None] = dict.fromkeys(symbols, 0.0)
    for symbol, weight in answer.items():
        if symbol not in found:
            known = ", ".join(symbols[:10]) + (", …" if len(symbols) > 10 else "")
            reasons.append(Reason("weight", f"{shown(symbol, 60)} is no symbol of this strategy; its symbols: {known}"))
            continue
        if weight is None:
            found[symbol] = None
            continue
        read = read_weight(weight, limits._replace(leverage=math.inf))
        if isinstance(read, Reason):
            reasons.append(Reason("weight", f"{symbol}: {read.text.replace('get_weight returns', 'a weight is')}"))
        else:
            found[symbol] = read
    total = sum(abs(weight) for weight in found.values() if weight is not None)
    if total > limits.leverage * (1 + _EXACT):
        what = f"a weight of {total:g}" if len(symbols) == 1 else f"weights of {total:g} together"
        reasons.append(Reason("weight", f"{what}: {_too_much(total, limits.leverage, _ISOLATED)}"))
    return tuple(reasons) or found


def weight_changes(weight: float, position: HeldPosition | HeldWeight, tolerance: float) -> list[PositionAnswer]:
    """The answers that bring what is held to a weight; none where it is near enough.

    Parameters
    ----------
    weight
        What is wanted.
    position
        What is held, with its ``weight`` now.
    tolerance
        Up to so much, in percent of the equity, nothing is changed, unless all is to be closed or the side changes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> held = SimpleNamespace(weight=0.5, size=1.0, sign=1, waiting=())
    >>> weight_changes(0.25, held, 0.0), weight_changes(1.0, held, 0.0), weight_changes(0.52, held, 5.0)
    ([Reduce(share=0.5, of='now', note='')], [Add(share=1.0, price_open=None, only_better=False, note='')], [])
    >>> weight_changes(0.0, held, 0.0)
    [Close(note='', at='market')]
    """
    if not position.size:
        return _instead_of(position.waiting, weight, tolerance)
    if any(getattr(order, "reason", "") == "manual" for order in position.waiting):
        return []  # what was ordered by hand fills first
    now = position.weight
    assert now is not None  # it is asked about weights only  # noqa: S101
    if weight * position.sign <= 0.0:
        turned = weight_signal(weight)
        return [Close()] if turned is None else [Close(), turned]
    replaced: list[PositionAnswer] = []
    size, ordered = position.size, 0.0
    for order in position.waiting:  # no candle could fill it since it was ordered
        if getattr(order, "kind", "") == "reduce":
            ordered += order.share  # type: ignore[union-attr]  # it is an order on the position
        else:
            replaced = [Cancel()]
    left = size - ordered
    if left <= DUST:
        return replaced
    now *= left / size
    if abs(weight - now) * 100 <= tolerance and math.isfinite(now):
        return replaced
    part = weight / now
    if abs(part - 1) * left <= DUST:
        return replaced
    return [*replaced, Reduce(1 - part) if part < 1 else Add(left * (part - 1))]


def _instead_of(waiting: Sequence[object], weight: float, tolerance: float) -> list[PositionAnswer]:
    """What is ordered for a weight in place of an entry that no candle has filled; nothing where it is near enough."""
    signal = next((order for order in waiting if isinstance(order, ScheduledSignal)), None)
    if signal is None:
        return []  # nothing is left of it
    ordered = signed_weight(signal)
    near = max(tolerance / 100, _EXACT)
    if signal.entry == "market" and weight * ordered > 0.0 and abs(weight - ordered) <= near:
        return []
    turned = weight_signal(weight)
    return [Cancel()] if turned is None else [Cancel(), turned]


def part_paid_for(takes: Callable[[float], float], free: float) -> float:
    """The largest part of all increases that what is free pays for, 0 to 1.

    ``takes`` is what a part of them takes of it with its costs, in the same unit: more for a larger one.

    Examples
    --------
    >>> round(part_paid_for(lambda part: 2000.0 * part + 10.0, 1000.0), 9), part_paid_for(lambda part: part, -5.0)
    (0.495, 0.0)
    """
    part, needed, fixed = 1.0, takes(1.0), takes(_EXACT)
    for _ in range(_ROUNDS):
        if needed <= free * (1 + _EXACT):
            return part
        if free <= fixed or needed <= fixed:
            return 0.0
        part = _EXACT + (part - _EXACT) * (free - fixed) / (needed - fixed)
        needed = takes(part)
    return 0.0
