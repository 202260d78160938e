"""Weights: what a strategy wants to hold, as a part of the equity, and the answers that lead there.

A weight of 0.5 is a long worth half of the equity, -1 a short worth all of it, 0 nothing. Every change is an answer
that the lifecycle knows already: a signal, or for what is open an add, a reduction, or a close with or without a
signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from .exit_validation import is_positive
from .manage_answers import Add, Cancel, Close, Move, PositionAnswer, Reduce
from .position_book import PositionOrder
from .position_fills import DUST, Fill
from .position_seen_by_manage import HeldPosition
from .risk_request_and_verdict import WeightLimits
from .signal import Position, ScheduledSignal, Signal, sign_of
from .signal_events import Reason
from .text import shown
from .weight_with_levels import Weight

_EXACT: Final = 1e-9  # as much more than the most is arithmetic
_MOST: Final = 1e9  # a larger weight is no part of an equity: something was divided by nearly nothing
_ISOLATED: Final = ", mode='isolated'"  # what legs of a portfolio need
_SHOWN: Final = 10  # symbols in a message
_ROUNDS: Final = 20  # how often costs that are functions of the order are asked again for smaller ones


def read_weight(answer: object, limits: WeightLimits | None = None) -> Weight | Reason:
    """A weight, or the reason why an answer is none; ``limits`` are those of the account, where it is known.

    Examples
    --------
    >>> read_weight(0.5).weight, read_weight(float("nan")).text
    (0.5, 'get_weight returns None, or a finite number such as 0.5, -1 or 0; got float: nan')
    >>> read_weight(1.5, WeightLimits()).text
    'weight 1.5: all of the equity is 1, and the account has no leverage; give account=bknb.Margin(leverage=2)'
    """
    if isinstance(answer, Weight):
        read = read_weight(answer.weight, limits)
        if isinstance(read, Reason):
            return read
        return _broken_percent(answer) or replace(answer, weight=read.weight)
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
    return Weight(weight)


def _broken_percent(answer: Weight) -> Reason | None:
    """What is wrong with the stop of a weight that is a percentage."""
    percent: object = answer.stop_percent
    if percent is None:
        return None
    if answer.price_stop_loss is not None:
        return Reason("weight", "a weight has price_stop_loss and stop_percent; give one of them")
    if is_positive(percent) and (answer.weight < 0.0 or answer.stop_percent < 100.0):  # type: ignore[operator]
        return None
    text = "stop_percent must be a number above 0, and below 100 for a long, such as 2 for 2 % below what was paid"
    return Reason("weight", f"{text}; got {shown(percent, 60)}")


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


def weight_signal(wanted: Weight) -> Signal | None:
    """The signal that opens a weight where nothing is held; ``None``: it is 0.

    Examples
    --------
    >>> weight_signal(Weight(-0.5)).position, weight_signal(Weight(-0.5)).size, weight_signal(Weight(0.0))
    ('short', 0.5, None)
    """
    if wanted.weight == 0.0:
        return None
    return Signal(
        position="long" if wanted.weight > 0.0 else "short",
        size=abs(wanted.weight),
        price_stop_loss=wanted.price_stop_loss,
        stop_percent=wanted.stop_percent,
        trailing=wanted.trailing,
        breakeven=wanted.breakeven,
        note=wanted.note,
    )


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
    """What one leg holds: its weight, below 0 for a short, its size in units of the first, and its orders.

    ``price_stop_loss`` is the stop that is in force (quote currency).
    """

    weight: float
    size: float
    waiting: tuple[PositionOrder | ScheduledSignal, ...] = ()
    price_stop_loss: float | None = None

    @property
    def sign(self) -> int:
        """1 for a long, -1 for a short."""
        return -1 if self.weight < 0.0 else 1

    @property
    def position(self) -> Position:
        """The side of what is held."""
        return "short" if self.weight < 0.0 else "long"


def read_weights(answer: object, limits: Mapping[str, WeightLimits]) -> dict[str, Weight | None] | tuple[Reason, ...]:
    """The weight that each symbol is to have, or everything that is wrong with an answer.

    A symbol that is not named is to have 0, and ``None`` leaves it as it is. Together weights take
    the sum of each divided by its leverage, at most 1.

    Parameters
    ----------
    answer
        What ``get_weights`` returned.
    limits
        Of each symbol's account.

    Examples
    --------
    >>> limits = {"A": WeightLimits(), "B": WeightLimits(leverage=2), "C": WeightLimits()}
    >>> read = read_weights({"A": 0.5, "B": None}, limits)
    >>> read["A"].weight, read["B"], read["C"].weight
    (0.5, None, 0.0)
    >>> [reason.text[:45] for reason in read_weights({"A": 0.75, "B": -1.0}, limits)]
    ['weights of 1.75 together take 1.25 of the equ']
    """
    if not isinstance(answer, Mapping):
        text = "get_weights returns None, or a mapping from symbols to weights such as {'A': 0.6, 'B': 0.4}"
        hint = "; write .to_dict() behind it" if callable(getattr(answer, "to_dict", None)) else ""
        return (Reason("weight", f"{text}; got {type(answer).__name__}: {shown(answer, 80)}{hint}"),)
    reasons: list[Reason] = []
    found: dict[str, Weight | None] = dict.fromkeys(limits, Weight(0.0))
    for symbol, weight in answer.items():
        if symbol not in found:
            known = ", ".join([*limits][:_SHOWN]) + (", …" if len(limits) > _SHOWN else "")
            reasons.append(Reason("weight", f"{shown(symbol, 60)} is no symbol of this strategy; its symbols: {known}"))
            continue
        if weight is None:
            found[symbol] = None
            continue
        read = read_weight(weight, limits[symbol]._replace(leverage=math.inf))
        if isinstance(read, Reason):
            reasons.append(Reason("weight", f"{symbol}: {read.text.replace('get_weight returns', 'a weight is')}"))
        else:
            found[symbol] = read
    sizes = {symbol: abs(wanted.weight) for symbol, wanted in found.items() if wanted is not None}
    if (much := _too_much_together(sizes, limits)) is not None:
        reasons.append(Reason("weight", much))
    return tuple(reasons) or found


def _too_much_together(sizes: Mapping[str, float], limits: Mapping[str, WeightLimits]) -> str | None:
    """What is wrong with weights, without their signs, that take more than the equity; ``None``: they do not."""
    total, takes = sum(sizes.values()), sum(size / limits[symbol].leverage for symbol, size in sizes.items())
    if takes <= 1 + _EXACT:
        return None
    what = f"a weight of {total:g}" if len(limits) == 1 else f"weights of {total:g} together"
    leverages = {each.leverage for each in limits.values()}
    if len(leverages) == 1:
        return f"{what}: {_too_much(total, leverages.pop(), _ISOLATED)}"
    each = [f"{symbol} {size:g} / {limits[symbol].leverage:g}" for symbol, size in sizes.items() if size]
    each = each[:_SHOWN] + (["…"] if len(each) > _SHOWN else [])
    return (
        f"{what} take {takes:g} of the equity as margin, and all of it is 1: {', '.join(each)} "
        "(weight / leverage of its account); give smaller weights"
    )


def weight_changes(wanted: Weight, position: HeldPosition | HeldWeight, tolerance: float) -> list[PositionAnswer]:
    """The answers that bring what is held to a weight; none where it is near enough.

    Parameters
    ----------
    wanted
        The weight, with its stop.
    position
        What is held, with its ``weight`` now.
    tolerance
        Up to so much, in percent of the equity, nothing is changed, unless all is to be closed or the side changes.

    Examples
    --------
    >>> held = HeldWeight(0.5, 1.0)
    >>> [weight_changes(Weight(weight), held, 5.0) for weight in (0.25, 1.0, 0.52)]
    [[Reduce(share=0.5, of='now', note='')], [Add(share=1.0, price_open=None, only_better=False, note='')], []]
    >>> weight_changes(Weight(0.0), held, 0.0), weight_changes(Weight(0.5, price_stop_loss=95.0), held, 0.0)
    ([Close(note='', at='market')], [Move(price_stop_loss=95.0, loosen=False)])
    """
    if not position.size:
        return _instead_of(position.waiting, wanted, tolerance)
    if any(getattr(order, "reason", "") == "manual" for order in position.waiting):
        return []  # what was ordered by hand fills first
    if wanted.weight * position.sign <= 0.0:
        turned = weight_signal(wanted)
        close = Close(note=wanted.note)
        return [close] if turned is None else [close, turned]
    changes = _resized(wanted, position, tolerance)
    stop, before = wanted.price_stop_loss, position.price_stop_loss
    if stop is not None and (before is None or not is_positive(stop) or position.sign * (stop - before) > 0):
        changes.append(Move(price_stop_loss=stop))
    return changes


def _resized(wanted: Weight, position: HeldPosition | HeldWeight, tolerance: float) -> list[PositionAnswer]:
    """The part or add that brings what is held on one side to a weight on it, in place of an add that waits."""
    now = position.weight
    assert now is not None  # it is asked about weights only  # noqa: S101
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
    if abs(wanted.weight - now) * 100 <= tolerance and math.isfinite(now):
        return replaced
    part = wanted.weight / now
    if abs(part - 1) * left <= DUST:
        return replaced
    if part < 1:
        return [*replaced, Reduce(1 - part, note=wanted.note)]
    return [*replaced, Add(left * (part - 1), note=wanted.note)]


def _instead_of(waiting: Sequence[object], wanted: Weight, tolerance: float) -> list[PositionAnswer]:
    """What is ordered for a weight in place of an entry that no candle has filled; nothing where it is near enough."""
    order = next((each for each in waiting if isinstance(each, ScheduledSignal)), None)
    if order is None:
        return []  # nothing is left of it
    ordered, near = signed_weight(order), max(tolerance / 100, _EXACT)
    same = order.entry == "market" and has_stop(order, wanted)
    if same and wanted.weight * ordered > 0.0 and abs(wanted.weight - ordered) <= near:
        return []
    signal = weight_signal(wanted)
    return [Cancel()] if signal is None else [Cancel(), signal]


def has_stop(order: ScheduledSignal, wanted: Weight | Signal) -> bool:
    """Whether an entry that was ordered has the stop of another answer."""
    if order.stop_percent is not None or wanted.stop_percent is not None:
        return order.stop_percent == wanted.stop_percent
    return order.price_stop_loss == wanted.price_stop_loss


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
